// A key of this rank's own, put once; who finds it there comes after an agent that is gone.
#include "api/cli/shell/first_join.hpp"

#include <pmix.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace lockstep::cli::shell {
namespace {

constexpr const char* kKey = "lockstep.shell";

/// libpmix 4 lets only the first process of a rank into the job's data in shared memory. By the
/// other of its two ways any number gets in, also after a program of the script that was first.
void join_as_one_of_many(const Environment& environment) {
  const auto ways = environment.find("PMIX_GDS_MODULE");
  if (ways && ways->find("hash") != std::string::npos) setenv("PMIX_GDS_MODULE", "hash", 1);
}

bool is_there(const pmix_proc_t& self) {
  pmix_info_t at_once;  // otherwise the server waits until somebody puts the key
  PMIX_INFO_CONSTRUCT(&at_once);
  PMIX_INFO_LOAD(&at_once, PMIX_IMMEDIATE, nullptr, PMIX_BOOL);
  pmix_value_t* value = nullptr;
  const pmix_status_t status = PMIx_Get(&self, kKey, &at_once, 1, &value);
  PMIX_INFO_DESTRUCT(&at_once);
  if (value != nullptr) PMIX_VALUE_RELEASE(value);
  return status == PMIX_SUCCESS;
}

void put() {
  pmix_value_t value;
  PMIX_VALUE_CONSTRUCT(&value);
  value.type = PMIX_UINT32;
  value.data.uint32 = static_cast<std::uint32_t>(getpid());
  if (PMIx_Put(PMIX_LOCAL, kKey, &value) == PMIX_SUCCESS) PMIx_Commit();
}

}  // namespace

FirstJoin::FirstJoin(const Environment& environment) {
  if (!environment.find("PMIX_NAMESPACE") || !environment.find("PMIX_RANK") ||
      environment.find("LOCKSTEP_BOOTSTRAP") == "single") {
    return;
  }
  join_as_one_of_many(environment);
  pmix_proc_t self;
  // Why it fails the library says, with what to type, when it tries the same.
  if (PMIx_Init(&self, nullptr, 0) != PMIX_SUCCESS) return;
  is_attached_ = true;
  is_first_ = !is_there(self);
  if (is_first_) put();
}

FirstJoin::~FirstJoin() {
  // Counted: a session that stays attached does so.
  if (is_attached_) PMIx_Finalize(nullptr, 0);
}

}  // namespace lockstep::cli::shell

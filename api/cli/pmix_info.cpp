// PMIx_Info_load and PMIx_Value_destruct are functions from 4.2 on; their macros come and go.
#include "api/cli/pmix_info.hpp"

#include <cstring>

namespace lockstep::cli {

PmixInfoList::~PmixInfoList() {
  for (pmix_info_t& info : infos_) PMIx_Value_destruct(&info.value);
}

void PmixInfoList::add(const char* key, const void* value, pmix_data_type_t type) {
  pmix_info_t info{};
  PMIx_Info_load(&info, key, value, type);
  infos_.push_back(info);
}

void PmixInfoList::add_string(const char* key, const std::string& value) {
  add(key, value.c_str(), PMIX_STRING);
}

void PmixInfoList::add_u32(const char* key, std::uint32_t value) {
  add(key, &value, PMIX_UINT32);
}

void PmixInfoList::add_u16(const char* key, std::uint16_t value) {
  add(key, &value, PMIX_UINT16);
}

void PmixInfoList::add_rank(const char* key, pmix_rank_t value) {
  add(key, &value, PMIX_PROC_RANK);
}

void PmixInfoList::add_regex(const char* key, const char* value) {
  add(key, value, PMIX_REGEX);
}

void PmixInfoList::add_list(const char* key, PmixInfoList& list) {
  pmix_data_array_t array{};
  array.type = PMIX_INFO;
  array.size = list.size();
  array.array = list.data();
  add(key, &array, PMIX_DATA_ARRAY);  // a deep copy; `list` keeps its own
}

pmix_proc_t make_proc(const std::string& name_space, pmix_rank_t rank) {
  pmix_proc_t proc{};
  std::strncpy(proc.nspace, name_space.c_str(), PMIX_MAX_NSLEN);
  proc.rank = rank;
  return proc;
}

std::string pmix_text(pmix_status_t status) {
  const char* text = PMIx_Error_string(status);
  return text == nullptr ? "unknown status " + std::to_string(status) : text;
}

}  // namespace lockstep::cli

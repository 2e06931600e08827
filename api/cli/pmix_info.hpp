// A list of PMIx attributes with an owner; the one place that knows how releases of libpmix differ.
#pragma once

#include <pmix.h>
#include <pmix_server.h>

#include <cstdint>
#include <string>
#include <vector>

static_assert(PMIX_VERSION_MAJOR >= 4, "lockstep needs libpmix 4 or later");

namespace lockstep::cli {

/// Values are copied in. Lists nest: a list can be an attribute of another (a data array).
class PmixInfoList {
 public:
  PmixInfoList() = default;
  PmixInfoList(const PmixInfoList&) = delete;
  PmixInfoList& operator=(const PmixInfoList&) = delete;
  ~PmixInfoList();

  void add_string(const char* key, const std::string& value);
  void add_u32(const char* key, std::uint32_t value);
  void add_u16(const char* key, std::uint16_t value);
  void add_rank(const char* key, pmix_rank_t value);
  /// `value` comes from PMIx_generate_regex or PMIx_generate_ppn.
  void add_regex(const char* key, const char* value);
  void add_list(const char* key, PmixInfoList& list);

  [[nodiscard]] pmix_info_t* data() { return infos_.data(); }
  [[nodiscard]] std::size_t size() const { return infos_.size(); }

 private:
  void add(const char* key, const void* value, pmix_data_type_t type);

  std::vector<pmix_info_t> infos_;
};

/// A process name, filled without the macros that change from release to release.
[[nodiscard]] pmix_proc_t make_proc(const std::string& name_space, pmix_rank_t rank);

/// libpmix's text for a status, never null.
[[nodiscard]] std::string pmix_text(pmix_status_t status);

}  // namespace lockstep::cli

// The C API of byte strings: gather, and what one makes for all.
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "lockstep/bytes.h"
#include "runtime/c_api_support.hpp"
#include "runtime/collect.hpp"
#include "runtime/once.hpp"

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_gather(lockstep_group_t group, const void* bytes, size_t length,
                                  const lockstep_call_t* call, void** all_p, size_t* lengths) {
  if (!is_live(group)) return refuse(group);
  if (all_p == nullptr || lengths == nullptr) return invalid("all_p or lengths is NULL");
  if (bytes == nullptr && length > 0) return invalid("bytes is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    auto parts = gather_all(*of(group), make_call(Operation::gather, call),
                            {static_cast<const std::byte*>(bytes), length});
    if (!parts.ok()) return keep(parts.status());
    std::vector<std::byte> all;
    for (const auto& part : *parts) all.insert(all.end(), part.begin(), part.end());
    void* const copy = copy_out(all.data(), all.size());
    if (copy == nullptr) return keep({LOCKSTEP_E_RESOURCE, "out of memory"});
    for (std::size_t i = 0; i < parts->size(); ++i) lengths[i] = (*parts)[i].size();
    *all_p = copy;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_once(lockstep_group_t group, const lockstep_section_t* section,
                                lockstep_once_work_t* work, const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (work == nullptr || work->size != sizeof *work || work->produce == nullptr) {
    return invalid("work is NULL, has no produce, or its size is not sizeof(lockstep_once_work_t)");
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  SectionRules rules;
  if (const char* const wrong = read_section(section, rules)) return invalid(wrong);
  return guard([&] {
    const Call made = make_call(Operation::once, call);
    const Producer produce = [&](int descriptor) -> std::optional<Failure> {
      errno = 0;
      if (work->produce(descriptor, work->produce_context) == 0) return std::nullopt;
      const int error = errno;
      std::string text = work->text != nullptr ? work->text : "the producer gave up";
      if (work->text == nullptr && error != 0) text += std::string(": ") + std::strerror(error);
      return Failure{work->type != nullptr ? work->type : "", std::move(text)};
    };
    Consumer consume;
    if (work->consume != nullptr) {
      consume = [&](std::span<const std::byte> piece) -> Status {
        if (work->consume(piece.data(), piece.size(), work->consume_context) == 0) return {};
        return {LOCKSTEP_E_IO, fmt::format("{}: the consumer wanted no more", made.text())};
      };
    }
    return pass_on(once(*of(group), made, rules, produce, consume));
  });
}

}  // extern "C"

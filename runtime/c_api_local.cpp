// The C API of what needs no round: shares of work, printing, saving.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "runtime/c_api_support.hpp"
#include "runtime/collect.hpp"
#include "runtime/saving/part.hpp"
#include "runtime/saving/replace_file.hpp"

namespace lockstep::c_api {
namespace {

lockstep_status_t print_lines(std::string text) {
  text += '\n';
  // One write for the whole line, so that lines of several nodes do not mix inside.
  if (!write_all(STDOUT_FILENO, text)) {
    return keep({LOCKSTEP_E_IO, fmt::format("stdout: {}", std::strerror(errno))});
  }
  return LOCKSTEP_OK;
}

}  // namespace
}  // namespace lockstep::c_api

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_split_range(uint64_t total, uint32_t part, uint32_t parts,
                                       uint64_t* begin_p, uint64_t* end_p) {
  if (parts == 0 || part >= parts) return invalid("part must be below parts");
  if (begin_p == nullptr || end_p == nullptr) return invalid("begin_p or end_p is NULL");
  const uint64_t quotient = total / parts;
  const uint64_t remainder = total % parts;
  *begin_p = part * quotient + (part < remainder ? part : remainder);
  *end_p = *begin_p + quotient + (part < remainder ? 1 : 0);
  return LOCKSTEP_OK;
}

lockstep_status_t lockstep_print(lockstep_session_t session, lockstep_scope_t scope,
                                 const char* text) {
  if (!is_live(session)) return refuse(session);
  if (text == nullptr) return invalid("text is NULL");
  if (scope != LOCKSTEP_PER_JOB && scope != LOCKSTEP_PER_NODE)
    return invalid("printing is per job or per node");
  return guard([&] {
    const bool speaks = scope == LOCKSTEP_PER_JOB ? of(session)->identity().rank == 0
                                                  : of(session)->local_rank() == 0;
    return speaks ? print_lines(text) : LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_print_in_order(lockstep_group_t group, const char* text,
                                          const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  return guard([&] {
    const std::string_view mine = text != nullptr ? text : "";
    auto all = gather_all(*of(group), make_call(Operation::print_in_order, call),
                          std::as_bytes(std::span(mine)));
    if (!all.ok()) return keep(all.status());
    if (of(group)->rank() != 0) return LOCKSTEP_OK;
    std::string lines;
    for (const auto& part : all.value()) {
      if (part.empty()) continue;
      if (!lines.empty()) lines += '\n';
      lines.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    return lines.empty() ? LOCKSTEP_OK : print_lines(std::move(lines));
  });
}

lockstep_status_t lockstep_save(lockstep_session_t session, const char* path,
                                lockstep_writer_t writer, void* context) {
  if (!is_live(session)) return refuse(session);
  if (path == nullptr || *path == '\0' || writer == nullptr)
    return invalid("path or writer is empty");
  return guard([&] {
    if (of(session)->identity().rank != 0) return LOCKSTEP_OK;
    const Nanos start = now();
    const Status saved =
        saving::save_file(path, [&](int descriptor) { return writer(descriptor, context) == 0; });
    if (!saved.ok()) return keep(saved);
    of(session)->saw_save(path, now() - start);
    return LOCKSTEP_OK;
  });
}

}  // extern "C"

// lockstep's C++20 interface, its third part: groups of ranks that share something, and "at most k
// at a time". Part of lockstep/lockstep.hpp, and as thin.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include "lockstep/lockstep.hpp"

namespace lockstep {

inline Group Group::group_of(const Scope& scope, const Options& options, const Where& where) {
  const lockstep_call_t call = options.at(where);
  lockstep_group_t group = nullptr;
  detail::check(lockstep_group_of(handle_.get(), scope.scope(), scope.path().c_str(), &call, &group,
                                  nullptr));
  return borrowed(group);
}

inline std::uint32_t Group::count_of(const Scope& scope, const Options& options,
                                     const Where& where) {
  const lockstep_call_t call = options.at(where);
  lockstep_group_t group = nullptr;
  std::uint32_t count = 0;
  detail::check(
      lockstep_group_of(handle_.get(), scope.scope(), scope.path().c_str(), &call, &group, &count));
  return count;
}

/// If it throws, the caller gets its own exception, and all others FirstFailed with its text; who
/// has not begun by then does not run `f`.
template <std::invocable F>
std::invoke_result_t<F> Group::at_most(std::uint32_t k, F&& f, const Options& options,
                                       const Where& where) {
  const lockstep_call_t call = options.at(where);
  detail::check(lockstep_at_most_begin(handle_.get(), k, &call));
  const auto run = [&]() -> std::invoke_result_t<F> {
    try {
      return std::forward<F>(f)();
    } catch (...) {
      lockstep_at_most_end(handle_.get(), detail::Thrown::now().text.c_str());
      throw;
    }
  };
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    run();
    detail::check(lockstep_at_most_end(handle_.get(), nullptr));
  } else {
    auto result = run();
    detail::check(lockstep_at_most_end(handle_.get(), nullptr));
    return result;
  }
}

inline Group Session::group_of(const Scope& scope, const Options& options, const Where& where) {
  return job_.group_of(scope, options, where);
}

inline std::uint32_t Session::count_of(const Scope& scope, const Options& options,
                                       const Where& where) {
  return job_.count_of(scope, options, where);
}

template <std::invocable F>
std::invoke_result_t<F> Session::first(const Scope& scope, F&& f, const SectionOptions& options,
                                       const Where& where) {
  return group_of(scope, {.name = options.name}, where).first(std::forward<F>(f), options, where);
}

inline FirstScope Session::first(const Scope& scope, const SectionOptions& options,
                                 const Where& where) {
  return group_of(scope, {.name = options.name}, where).first(options, where);
}

template <std::invocable F>
std::invoke_result_t<F> Session::at_most(std::uint32_t k, const Scope& scope, F&& f,
                                         const Options& options, const Where& where) {
  return job_.group_of(scope, options, where).at_most(k, std::forward<F>(f), options, where);
}

}  // namespace lockstep

// A library that may be there or not, and the functions that it has.
#pragma once

#include <dlfcn.h>

#include <string>

namespace lockstep::cuda {

/// Loaded by its name and never unloaded: drivers start threads, and the program may use them, too.
class Library {
 public:
  /// On failure load() is false, and `why` is the linker's own text.
  bool load(const char* name, std::string& why) {
    handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return true;
    const char* const text = dlerror();
    why = text != nullptr ? text : name;
    return false;
  }
  /// @return Whether it has it.
  template <class Function>
  bool find(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, name));
    return function != nullptr;
  }

 private:
  void* handle_ = nullptr;
};

}  // namespace lockstep::cuda

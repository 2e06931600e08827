// Looks a function of libcuda up by the name that cuda.h means, in functions that return a status
// and have a text `why`. A macro, since cuda.h renames functions to their latest versions by
// macros.
#pragma once

#define LOCKSTEP_TEXT_OF(name) #name
#define LOCKSTEP_NAME_OF(function) LOCKSTEP_TEXT_OF(function)
#define LOCKSTEP_FIND(library, function, member)                         \
  if (!(library).find(LOCKSTEP_NAME_OF(function), member)) {             \
    why = "libcuda.so.1 has no " LOCKSTEP_NAME_OF(                       \
        function) ": the NVIDIA driver is too old; install a newer one"; \
    return LOCKSTEP_E_UNSUPPORTED;                                       \
  }

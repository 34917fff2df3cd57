// What libtorch throws, as a message. Functions that can fail return null when they succeed, else
// text that the caller frees with `covalign_free`.

#pragma once

#include <c10/util/Exception.h>

#include <cstring>

template <typename F>
char* guarded(F body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return strdup(error.what());
  }
}

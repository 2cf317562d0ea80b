#pragma once

// What stands between llama.cpp and the Python process: a failed GGML_ASSERT becomes an exception, log lines are kept
// for Python to fetch, and a long computation can be ended.

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rys {

// llama.cpp failed; the text is its own last error line where there is one
struct engine_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The memory of a context has no cells left for a batch. It is as it was before.
struct no_room_error : engine_error {
    using engine_error::engine_error;
};

// a request that cannot be right, seen before llama.cpp is asked
struct request_error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// the interrupt function asked to stop; Python has the reason
struct interrupted : std::runtime_error {
    interrupted() : std::runtime_error("interrupted") {}
};

// Install the abort and log callbacks of this copy of llama.cpp. Call once, when the module is loaded.
void install_callbacks();

// While one lives, a failed assertion on this thread throws engine_error, through ggml's frames, to the caller.
// With `single_threaded` that holds inside of the CPU kernels, too; otherwise an assertion there still ends the
// process, as the other threads of the computation cannot be unwound.
class guard {
  public:
    explicit guard(bool single_threaded);
    ~guard();

    guard(const guard &)             = delete;
    guard & operator=(const guard &) = delete;

    // the last line that llama.cpp logged as an error on this thread since the guard was made, or `fallback`
    std::string last_error(const std::string & fallback) const;

  private:
    bool single_before_;
};

// Lines of at least this ggml_log_level are kept (1 debug, 2 info, 3 warning, 4 error).
void set_log_level(int level);

// Take the kept lines, oldest first: (ggml_log_level, text without newline).
std::vector<std::pair<int, std::string>> drain_log();

// Returns true if the computation should end. Called every 100 ms at most, from the thread that computes.
using interrupt_fn = std::function<bool()>;

}  // namespace rys

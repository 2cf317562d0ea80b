#include "guard.h"

#include "ggml.h"
#include "llama.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>

namespace rys {

namespace {

thread_local int         n_guards = 0;
thread_local bool        single   = false;
thread_local std::string last_error_line;

std::atomic<int>                        log_level = GGML_LOG_LEVEL_WARN;
std::mutex                              log_mutex;
std::deque<std::pair<int, std::string>> log_lines;  // bounded: a model can log a lot while nobody drains
constexpr size_t                        n_log_lines_max = 4096;

void on_abort(const char * message) {
    // frames of a computation on several threads cannot be unwound: the others would wait for this one for ever
    const bool in_kernel = std::strstr(message, "ggml-cpu") != nullptr;
    if (n_guards > 0 && (single || !in_kernel)) {
        throw engine_error(message);
    }
    std::fprintf(stderr, "%s\n", message);
}

void on_log(ggml_log_level level, const char * text, void *) {
    thread_local int         current_level = GGML_LOG_LEVEL_NONE;
    thread_local std::string line;

    if (level != GGML_LOG_LEVEL_CONT) {
        current_level = level;
    }
    line += text;
    size_t end;
    while ((end = line.find('\n')) != std::string::npos) {
        const std::string whole = line.substr(0, end);
        line.erase(0, end + 1);
        if (whole.empty()) {
            continue;
        }
        // the reason comes first, then what could not be done for it
        if (current_level == GGML_LOG_LEVEL_ERROR && whole.find("failed to load model") == std::string::npos) {
            last_error_line = whole;
        }
        if (current_level >= log_level && current_level != GGML_LOG_LEVEL_NONE) {
            std::lock_guard<std::mutex> lock(log_mutex);
            if (log_lines.size() == n_log_lines_max) {
                log_lines.pop_front();
            }
            log_lines.emplace_back(current_level, whole);
        }
    }
}

}  // namespace

void install_callbacks() {
    ggml_set_abort_callback(on_abort);
    llama_log_set(on_log, nullptr);
}

guard::guard(bool single_threaded) : single_before_(single) {
    n_guards++;
    single = single_threaded;
    last_error_line.clear();
}

guard::~guard() {
    n_guards--;
    single = single_before_;
}

std::string guard::last_error(const std::string & fallback) const {
    return last_error_line.empty() ? fallback : last_error_line;
}

void set_log_level(int level) {
    log_level = level;
}

std::vector<std::pair<int, std::string>> drain_log() {
    std::lock_guard<std::mutex> lock(log_mutex);

    std::vector<std::pair<int, std::string>> lines(log_lines.begin(), log_lines.end());
    log_lines.clear();
    return lines;
}

}  // namespace rys

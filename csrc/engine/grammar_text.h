#pragma once

// A first look at a grammar, before llama.cpp reads it.

#include <string>

namespace rys {

// Throws request_error for what llama.cpp would not survive: a text that is too long or too deep, a repetition whose
// limits are the wrong way round, and more elements than fit into a reasonable memory once repetitions are written out.
// Other errors are left to llama.cpp.
void check_grammar_text(const std::string & text);

}  // namespace rys

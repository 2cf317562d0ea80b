#pragma once

// The texts of a vocabulary as code points, in their order.

#include "llama-grammar.h"

#include <cstdint>
#include <vector>

namespace rys {

// Whether a byte can go on with an unfinished character. llama.cpp's grammars also allow characters in more bytes than
// they need, which are not UTF-8.
bool continues_character(const llama_partial_utf8 & partial, uint8_t byte);

class token_texts {
  public:
    struct text {
        llama_token        token;
        uint32_t           begin;    // in code_points
        llama_partial_utf8 partial;  // an unfinished character at the end
    };

    // all texts of a vocabulary that a grammar could allow; not those of tokens that end a generation
    explicit token_texts(const llama_vocab * vocab);

    // sorted by their code points
    const std::vector<text> & texts() const { return texts_; }

    bool has(llama_token token) const { return has_[token]; }

    // the code points of a text, with a 0 at the end
    const uint32_t * code_points(const text & text) const { return code_points_.data() + text.begin; }

  private:
    std::vector<text>     texts_;
    std::vector<uint32_t> code_points_;
    std::vector<bool>     has_;  // by token
};

}  // namespace rys

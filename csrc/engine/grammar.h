#pragma once

// A grammar that a generation follows: llama.cpp's, within limits, and fast for choices of thousands of words.

#include "token_texts.h"

#include <memory>
#include <string>
#include <vector>

namespace rys {

class grammar {
  public:
    // GBNF with a rule "root". Both others must outlive this. Throws request_error if the text cannot be read, or would
    // take too long.
    grammar(const llama_vocab * vocab, const token_texts & texts, const std::string & text);
    ~grammar();

    // Whether a token may come next. Like the next two it throws std::runtime_error if that would take too long.
    bool allows(llama_token token) const;

    // Set the logits of all tokens that may not come next to -infinity; the candidates are the whole vocabulary, in
    // order.
    void mask(std::vector<llama_token_data> & candidates) const;

    // Go on behind a token that is allowed.
    void accept(llama_token token);

  private:
    const llama_vocab * vocab_;
    const token_texts & texts_;

    std::unique_ptr<llama_grammar, void (*)(llama_grammar *)> grammar_;

    bool is_unfinished() const { return grammar_->partial_utf8.n_remain != 0; }

    bool continues_character(llama_token token) const;
};

}  // namespace rys

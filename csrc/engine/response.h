#pragma once

// One request and what has become of it: rows of logits in, a result out.

#include "model.h"
#include "requests.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rys {

// number of leading tokens that have to be evaluated: the last one of a continuation is only scored
uint32_t n_evaluated(const request & request);

// the first token whose logits the request wants
uint32_t first_output(const request & request);

class response {
  public:
    // `n_ctx` is the largest number of tokens that one request may have: one with a longer prompt is done at once, as
    // `context_full`, and a generation ends in time. Throws request_error if the request cannot be right.
    response(request_id id, std::shared_ptr<const model> model, request request, uint32_t n_ctx);

    request_id id() const { return id_; }

    request_kind kind() const { return request_.kind; }

    // the tokens to evaluate, and behind them the last one of a continuation
    const std::vector<llama_token> & tokens() const { return request_.tokens; }

    // tokens(), and behind them those that a generation has chosen
    std::vector<llama_token> all_tokens() const;

    uint32_t n_evaluated() const { return rys::n_evaluated(request_); }

    uint32_t first_output() const { return rys::first_output(request_); }

    // cells that a generation needs beyond tokens(): the last token that it chooses is not evaluated
    uint32_t n_cells_generated() const;

    bool is_done() const { return result_.state != finish::none; }

    finish state() const { return result_.state; }

    // The clock starts, if it does not run yet; `n_shared` tokens of the prompt are evaluated for others anyway.
    void start(uint32_t n_shared);

    // Take the logits after the token at `pos`, which must be from first_output() on and in order. A generation
    // chooses its next token.
    void read(uint32_t pos, const float * logits);

    // the token that a generation has chosen and that has yet to be evaluated
    llama_token next_token() const { return generation_->next; }

    // Forget what was read from the token at `pos` on; those tokens are evaluated again.
    void rewind(uint32_t pos);

    // Go back to the state before a result that was not finite, or before an evaluation that was lost: a generation
    // goes on after the tokens that it has chosen, which are then part of tokens(), everything else begins again.
    void resume();

    // End with an error.
    void fail(const std::string & error);

    // the bytes of a generation's text, from `begin` on, that later tokens cannot take back
    std::string settled_text(size_t begin) const;

    // Give the result away. Nothing but tokens() may be asked for afterwards.
    result take();

  private:
    using clock = std::chrono::steady_clock;

    struct generation {
        token_sampler sampler;
        llama_token   next = LLAMA_TOKEN_NULL;
    };

    request_id                             id_;
    std::shared_ptr<const model>           model_;
    request                                request_;
    result                                 result_;
    std::optional<generation>              generation_;
    std::optional<clock::time_point>       started_;
    std::string                            spelled_;  // the text with the names of control tokens, for stop strings
    std::vector<std::pair<size_t, size_t>> hidden_;   // begin and size of those names in it
    uint32_t                               n_resumed_ = 0;  // chosen tokens that are part of request_.tokens

    void   validate() const;
    void   read_token(const float * logits);
    bool   append_text(llama_token token);
    size_t n_visible(size_t n) const;
    void   end(finish state);
};

}  // namespace rys

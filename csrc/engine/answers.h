#pragma once

// The requests of a run and what has become of them: rows of logits in, results out.

#include "model.h"
#include "requests.h"

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

namespace rys {

class answers {
  public:
    // `n_ctx` is the largest number of tokens that one request may have: one with a longer prompt fails alone, as
    // `context_full`, and generations end in time. Throws request_error if a request cannot be right.
    answers(std::shared_ptr<const model> model, std::vector<request> requests, uint32_t n_ctx);

    const std::vector<request> & requests() const { return requests_; }

    const std::vector<result> & results() const { return results_; }

    uint32_t n_done() const { return n_done_; }

    bool all_done() const { return n_done_ == requests_.size(); }

    bool is_done(uint32_t request) const { return results_[request].state != finish::none; }

    bool any_not_finite() const { return any_not_finite_; }

    // The clock of a request starts; `n_shared` tokens of its prompt are evaluated for others anyway.
    void start(uint32_t request, uint32_t n_shared);

    // Take the logits after the token at `pos`, which must be from first_output() on and in order. A generation
    // chooses its next token.
    void read(uint32_t request, uint32_t pos, const float * logits);

    // the token that a generation has chosen and that has yet to be evaluated
    llama_token next_token(uint32_t request) const { return generations_[request]->next; }

    // number of leading bytes of a generation's text that later tokens cannot take back
    size_t n_text_settled(uint32_t request) const;

  private:
    using clock = std::chrono::steady_clock;

    struct generation {
        token_sampler sampler;
        llama_token   next = LLAMA_TOKEN_NULL;
    };

    std::shared_ptr<const model>           model_;
    std::vector<request>                   requests_;
    std::vector<result>                    results_;
    std::vector<std::optional<generation>> generations_;
    std::vector<clock::time_point>         started_;
    uint32_t                               n_done_         = 0;
    bool                                   any_not_finite_ = false;

    void validate(const request & request) const;
    void read_token(uint32_t request, const float * logits);
    bool append_text(uint32_t request, llama_token token);
    void finish_request(uint32_t request, finish state);
};

}  // namespace rys

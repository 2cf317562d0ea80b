#pragma once

// From a row of logits to a token, its log-probability, or both.

#include "grammar.h"
#include "llama-cpp.h"
#include "model.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace rys {

struct sampling_params {
    float       temperature    = 0.0f;  // 0 = greedy
    int32_t     top_k          = 40;    // 0 = all
    float       top_p          = 0.95f;
    float       min_p          = 0.05f;
    float       repeat_penalty = 1.0f;
    int32_t     repeat_last_n  = 64;  // tokens that the penalty looks back on
    uint32_t    seed           = 0;
    std::string grammar;              // GBNF, empty = none
};

// log(sum(exp(logits))); NaN or infinite if the row tells nothing: a NaN, an infinite maximum, or one value throughout
double log_sum_exp(const float * logits, uint32_t n_vocab);

// Chooses the next token of one sequence.
class token_sampler {
  public:
    // Throws request_error if the grammar cannot be read.
    token_sampler(const model & model, const sampling_params & params);

    // Returns the chosen token, or LLAMA_TOKEN_NULL if the row tells nothing.
    llama_token sample(const float * logits);

  private:
    uint32_t                      n_vocab_;
    bool                          plain_greedy_;
    llama_sampler_ptr             chain_;
    std::unique_ptr<grammar>      grammar_;  // may be null
    std::vector<llama_token_data> candidates_;

    llama_token pick(const float * logits, bool constrained);
};

}  // namespace rys

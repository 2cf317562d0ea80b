#pragma once

// What an evaluator asks of a model, in tokens, and what it gets.

#include "sampling.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rys {

// of a request in a scheduler; never used twice
using request_id = uint64_t;

enum class request_kind { generate, loglikelihood, next_token, logits };

struct request {
    request_kind kind;

    // generate, next_token, logits: the prompt. loglikelihood: the context followed by the continuation.
    std::vector<llama_token> tokens;

    uint32_t n_context = 0;  // loglikelihood: number of leading tokens that are not scored, at least 1

    // generate
    uint32_t                 max_tokens = 0;  // 0 = until the context is full
    std::vector<std::string> stop;
    sampling_params          sampling;
    bool                     logprobs = false;

    // next_token: the tokens to report, empty = all
    std::vector<llama_token> allowed;
};

enum class finish { none, eos, stop, length, context_full, not_finite, failed };

struct result {
    finish      state = finish::none;   // `length` also for requests that do not generate
    std::string error;                  // of `failed`

    std::string              text;      // generate: bytes, cut before the stop string
    std::vector<llama_token> tokens;    // generate: without the end-of-generation token
    std::vector<float>       logprobs;  // generate, on request: of `tokens`; loglikelihood: of the continuation
    std::vector<uint8_t>     greedy;    // loglikelihood: whether the token was the most probable one
    std::vector<float>       logits;    // next_token: [allowed or n_vocab]; logits: [n_tokens, n_vocab]
    double                   log_sum_exp = 0.0;  // next_token: of the whole row

    uint32_t n_prompt = 0;                       // tokens of the prompt
    uint32_t n_shared = 0;  // of these, evaluated once together with other requests, and counted there
    double   seconds  = 0.0;
};

}  // namespace rys

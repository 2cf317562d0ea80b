#pragma once

// One sequence in one pass, in a context of its own.

#include "context.h"

#include <vector>

namespace rys {

// The logits and, if asked for, the residual stream of every token.
// For models without a KV cache this is the only way to run.
struct evaluation {
    std::vector<float> logits;  // [n_tokens, n_vocab]
    std::vector<float> hidden;  // [n_slot + 1, n_tokens, n_stream*n_embd], empty if not asked for

    // Exactly one of `tokens` and `embd` ([n_tokens, n_embd], the residual stream before slot 0) is not empty.
    static evaluation run(std::shared_ptr<const model>     model,
                          context_params                   params,
                          const std::vector<llama_token> & tokens,
                          const std::vector<float> &       embd,
                          bool                             want_logits,
                          bool                             want_hidden,
                          const interrupt_fn &             interrupt);
};

}  // namespace rys

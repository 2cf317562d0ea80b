#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rys {

// exp(x) for x <= 0 without a call, so that the compiler vectorises the loop around it; relative error below 3e-7
static inline float exp_negative(float x) {
    x = std::max(x, -87.0f);

    const float t = x * 1.44269504088896341f;
    const float r = std::floor(t + 0.5f);
    const float f = (t - r) * 0.693147180559945309f;  // |f| <= 0.35

    float p = 1.0f / 5040.0f;
    p       = p * f + 1.0f / 720.0f;
    p       = p * f + 1.0f / 120.0f;
    p       = p * f + 1.0f / 24.0f;
    p       = p * f + 1.0f / 6.0f;
    p       = p * f + 0.5f;
    p       = p * f + 1.0f;
    p       = p * f + 1.0f;

    const int32_t bits = ((int32_t) r + 127) << 23;
    float         scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

// largest logit, or NaN if there is a NaN among them
static float max_logit(const float * logits, uint32_t n_vocab) {
    float max   = -std::numeric_limits<float>::infinity();
    int   n_nan = 0;
    for (uint32_t i = 0; i < n_vocab; ++i) {
        n_nan += logits[i] != logits[i];
        max = logits[i] > max ? logits[i] : max;
    }
    return n_nan > 0 ? std::numeric_limits<float>::quiet_NaN() : max;
}

double log_sum_exp(const float * logits, uint32_t n_vocab) {
    const float max = max_logit(logits, n_vocab);
    if (!std::isfinite(max)) {
        return max;
    }
    double sum = 0.0;
    for (uint32_t i0 = 0; i0 < n_vocab; i0 += 256) {
        const uint32_t n = std::min(256u, n_vocab - i0);

        float    partial[8] = {};
        uint32_t i          = 0;
        for (; i + 8 <= n; i += 8) {
            for (uint32_t j = 0; j < 8; ++j) {
                partial[j] += exp_negative(logits[i0 + i + j] - max);
            }
        }
        for (; i < n; ++i) {
            partial[0] += exp_negative(logits[i0 + i] - max);
        }
        for (const float value : partial) {
            sum += value;
        }
    }
    return max + std::log(sum);
}

token_sampler::token_sampler(const llama_vocab * vocab, const sampling_params & params) :
    n_vocab_(llama_vocab_n_tokens(vocab)),
    plain_greedy_(params.temperature <= 0.0f && params.repeat_penalty == 1.0f && params.grammar.empty()) {
    if (plain_greedy_) {
        return;
    }
    chain_.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    if (params.repeat_penalty != 1.0f) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_penalties(n_vocab_, params.repeat_last_n,
                                                                           params.repeat_penalty, 0.0f, 0.0f));
    }
    if (params.temperature <= 0.0f) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_greedy());
    } else {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_k(params.top_k));
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_p(params.top_p, 1));
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_min_p(params.min_p, 1));
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_temp(params.temperature));
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_dist(params.seed));
    }
    if (!params.grammar.empty()) {
        guard guard(/* single_threaded */ true);
        grammar_.reset(llama_sampler_init_grammar(vocab, params.grammar.c_str(), "root"));
        if (!grammar_) {
            throw request_error("the grammar cannot be read: " + guard.last_error("no reason given"));
        }
    }
}

llama_token token_sampler::pick(const float * logits, bool constrained) {
    candidates_.resize(n_vocab_);
    for (uint32_t i = 0; i < n_vocab_; ++i) {
        candidates_[i] = { (llama_token) i, logits[i], 0.0f };
    }
    llama_token_data_array array = { candidates_.data(), candidates_.size(), -1, false };
    if (constrained) {
        llama_sampler_apply(grammar_.get(), &array);
    }
    llama_sampler_apply(chain_.get(), &array);
    return array.data[array.selected].id;
}

llama_token token_sampler::sample(const float * logits) {
    const float max = max_logit(logits, n_vocab_);
    if (!std::isfinite(max)) {
        return LLAMA_TOKEN_NULL;
    }
    if (plain_greedy_) {
        return std::find(logits, logits + n_vocab_, max) - logits;
    }

    llama_token token = pick(logits, false);
    if (grammar_) {
        // the grammar is slow on a whole vocabulary, so ask it about the chosen token first
        llama_token_data       single = { token, 1.0f, 0.0f };
        llama_token_data_array array  = { &single, 1, -1, false };
        llama_sampler_apply(grammar_.get(), &array);
        if (single.logit == -std::numeric_limits<float>::infinity()) {
            token = pick(logits, true);
        }
        llama_sampler_accept(grammar_.get(), token);
    }
    llama_sampler_accept(chain_.get(), token);
    return token;
}

}  // namespace rys

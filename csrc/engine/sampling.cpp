#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rys {

// sum of exp(x[i] - max) for n <= N values none of which is above max. Loops without a call or a branch, which the
// compiler vectorises: a row has a vocabulary of values, and libm would take longer than a small model's layer.
// Relative error below 3e-7.
template <uint32_t N> static float sum_exp(const float * x, uint32_t n, float max) {
    constexpr float round = 12582912.0f;  // 1.5*2^23: adding it leaves the nearest integer in the low bits

    float   t[N];
    float   value[N];
    int32_t exponent[N];
    for (uint32_t i = 0; i < n; ++i) {
        const float y = x[i] - max;
        value[i]      = y < -87.0f ? -87.0f : y;
        t[i]          = value[i] * 1.44269504088896341f + round;
    }
    std::memcpy(exponent, t, n * sizeof(float));
    for (uint32_t i = 0; i < n; ++i) {
        const float f = value[i] - (t[i] - round) * 0.693147180559945309f;  // |f| <= 0.35

        float p     = 1.0f / 5040.0f;
        p           = p * f + 1.0f / 720.0f;
        p           = p * f + 1.0f / 120.0f;
        p           = p * f + 1.0f / 24.0f;
        p           = p * f + 1.0f / 6.0f;
        p           = p * f + 0.5f;
        p           = p * f + 1.0f;
        p           = p * f + 1.0f;
        value[i]    = p;
        exponent[i] = (exponent[i] - 0x4B400000 + 127) << 23;
    }
    std::memcpy(t, exponent, n * sizeof(float));

    float sum[8] = {};
    for (uint32_t i = 0; i + 8 <= n; i += 8) {
        for (uint32_t j = 0; j < 8; ++j) {
            sum[j] += value[i + j] * t[i + j];
        }
    }
    for (uint32_t i = n - n % 8; i < n; ++i) {
        sum[0] += value[i] * t[i];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

// Largest logit, or NaN if the row tells nothing: with a NaN in it, or with one value throughout, which is what the
// output norm makes of a residual stream whose square overflows.
static float max_logit(const float * logits, uint32_t n_vocab) {
    constexpr uint32_t n_lane = 16;

    float   max[n_lane];
    float   min[n_lane];
    int32_t n_nan[n_lane] = {};
    std::fill(max, max + n_lane, -std::numeric_limits<float>::infinity());
    std::fill(min, min + n_lane, std::numeric_limits<float>::infinity());

    const uint32_t n_whole = n_vocab - n_vocab % n_lane;
    for (uint32_t i = 0; i < n_whole; i += n_lane) {
        for (uint32_t j = 0; j < n_lane; ++j) {
            const float logit = logits[i + j];
            n_nan[j] += logit != logit;
            max[j] = logit > max[j] ? logit : max[j];
            min[j] = logit < min[j] ? logit : min[j];
        }
    }
    for (uint32_t i = n_whole; i < n_vocab; ++i) {
        n_nan[0] += logits[i] != logits[i];
        max[0] = std::max(max[0], logits[i]);
        min[0] = std::min(min[0], logits[i]);
    }
    const float largest  = *std::max_element(max, max + n_lane);
    const float smallest = *std::min_element(min, min + n_lane);
    const bool  any_nan  = std::any_of(n_nan, n_nan + n_lane, [](int32_t n) { return n > 0; });
    return any_nan || (n_vocab > 1 && largest == smallest) ? std::numeric_limits<float>::quiet_NaN() : largest;
}

double log_sum_exp(const float * logits, uint32_t n_vocab) {
    const float max = max_logit(logits, n_vocab);
    if (!std::isfinite(max)) {
        return max;
    }
    constexpr uint32_t n_block = 256;

    double sum = 0.0;
    for (uint32_t i = 0; i < n_vocab; i += n_block) {
        sum += sum_exp<n_block>(logits + i, std::min(n_block, n_vocab - i), max);
    }
    return max + std::log(sum);
}

token_sampler::token_sampler(const model & model, const sampling_params & params) :
    n_vocab_(llama_vocab_n_tokens(model.vocab())),
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
        grammar_ = std::make_unique<grammar>(model.vocab(), model.source().token_texts(), params.grammar);
    }
}

llama_token token_sampler::pick(const float * logits, bool constrained) {
    candidates_.resize(n_vocab_);
    for (uint32_t i = 0; i < n_vocab_; ++i) {
        candidates_[i] = { (llama_token) i, logits[i], 0.0f };
    }
    if (constrained) {
        grammar_->mask(candidates_);
    }
    llama_token_data_array array = { candidates_.data(), candidates_.size(), -1, false };
    if (std::all_of(array.data, array.data + array.size,
                    [](const llama_token_data & candidate) { return std::isinf(candidate.logit); })) {
        throw engine_error("the grammar allows no token here");
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
        if (!grammar_->allows(token)) {
            token = pick(logits, true);
        }
        grammar_->accept(token);
    }
    llama_sampler_accept(chain_.get(), token);
    return token;
}

}  // namespace rys

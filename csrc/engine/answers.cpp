#include "answers.h"

#include "prefix_tree.h"

#include <algorithm>
#include <cmath>

namespace rys {

answers::answers(std::shared_ptr<const model> model, std::vector<request> requests, uint32_t n_ctx) :
    model_(std::move(model)),
    requests_(std::move(requests)),
    results_(requests_.size()),
    generations_(requests_.size()),
    started_(requests_.size(), clock::now()) {
    for (uint32_t ir = 0; ir < requests_.size(); ++ir) {
        request & request = requests_[ir];
        try {
            validate(request);
            if (request.kind == request_kind::generate) {
                generations_[ir].emplace(generation{ token_sampler(model_->vocab(), request.sampling) });
            }
        } catch (const request_error & error) {
            throw request_error("requests[" + std::to_string(ir) + "]: " + error.what());
        }

        const uint32_t n_prompt = n_evaluated(request);
        results_[ir].n_prompt   = n_prompt;
        if (n_prompt > n_ctx) {
            finish_request(ir, finish::context_full);
        } else if (request.kind == request_kind::generate) {
            // the last token is not evaluated, so it needs no room
            const uint32_t n_room = n_ctx - n_prompt + 1;
            request.max_tokens    = request.max_tokens == 0 ? n_room : std::min(request.max_tokens, n_room);
        }
    }
}

void answers::validate(const request & request) const {
    const auto check_tokens = [&](const std::vector<llama_token> & tokens) {
        for (const llama_token token : tokens) {
            if (token < 0 || (uint32_t) token >= model_->n_vocab()) {
                throw request_error("token " + std::to_string(token) +
                                    " is outside of the vocabulary, which has tokens 0.." +
                                    std::to_string(model_->n_vocab() - 1));
            }
        }
    };
    check_tokens(request.tokens);
    check_tokens(request.allowed);
    if (request.tokens.empty()) {
        throw request_error("a request needs at least one token");
    }
    if (request.kind == request_kind::loglikelihood &&
        (request.n_context == 0 || request.n_context >= request.tokens.size())) {
        throw request_error("a log-likelihood needs at least one token of context and one of continuation");
    }
}

void answers::start(uint32_t ir, uint32_t n_shared) {
    started_[ir]          = clock::now();
    results_[ir].n_shared = n_shared;
}

void answers::read(uint32_t ir, uint32_t pos, const float * logits) {
    const request & request = requests_[ir];
    result &        result  = results_[ir];
    const uint32_t  n_vocab = model_->n_vocab();

    switch (request.kind) {
        case request_kind::generate:
            read_token(ir, logits);
            return;
        case request_kind::logits:
            result.logits.insert(result.logits.end(), logits, logits + n_vocab);
            break;
        case request_kind::loglikelihood:
            {
                const float  logit = logits[request.tokens[pos + 1]];
                const double value = logit - log_sum_exp(logits, n_vocab);
                if (!std::isfinite(value)) {
                    finish_request(ir, finish::not_finite);
                    return;
                }
                result.logprobs.push_back(value);
                result.greedy.push_back(logit == *std::max_element(logits, logits + n_vocab));
                break;
            }
        case request_kind::next_token:
            result.log_sum_exp = log_sum_exp(logits, n_vocab);
            if (!std::isfinite(result.log_sum_exp)) {
                finish_request(ir, finish::not_finite);
                return;
            }
            if (request.allowed.empty()) {
                result.logits.assign(logits, logits + n_vocab);
            }
            for (const llama_token token : request.allowed) {
                result.logits.push_back(logits[token]);
            }
            break;
    }
    if (pos + 1 == n_evaluated(request)) {
        finish_request(ir, finish::length);
    }
}

void answers::read_token(uint32_t ir, const float * logits) {
    const request & request = requests_[ir];
    result &        result  = results_[ir];

    llama_token token;
    try {
        guard guard(/* single_threaded */ true);

        token = generations_[ir]->sampler.sample(logits);
    } catch (const std::exception & error) {
        // a grammar that allows nothing more, for one; the other requests go on
        result.error = error.what();
        finish_request(ir, finish::failed);
        return;
    }
    if (token == LLAMA_TOKEN_NULL) {
        finish_request(ir, finish::not_finite);
        return;
    }
    if (model_->has_tokenizer() && llama_vocab_is_eog(model_->vocab(), token)) {
        finish_request(ir, finish::eos);
        return;
    }
    generations_[ir]->next = token;
    result.tokens.push_back(token);
    if (request.logprobs) {
        result.logprobs.push_back(logits[token] - log_sum_exp(logits, model_->n_vocab()));
    }
    if (model_->has_tokenizer() && append_text(ir, token)) {
        finish_request(ir, finish::stop);
    } else if (result.tokens.size() == request.max_tokens) {
        finish_request(ir, finish::length);
    }
}

// returns whether the text has come to a stop string, before which it is then cut
bool answers::append_text(uint32_t ir, llama_token token) {
    std::string & text     = results_[ir].text;
    const size_t  n_before = text.size();

    char          piece[256];
    const int32_t n_piece = llama_token_to_piece(model_->vocab(), token, piece, sizeof(piece), 0, /* special */ false);
    if (n_piece >= 0) {
        text.append(piece, n_piece);
    } else {
        text.resize(n_before - n_piece);
        llama_token_to_piece(model_->vocab(), token, &text[n_before], -n_piece, 0, false);
    }

    size_t cut = std::string::npos;
    for (const std::string & stop : requests_[ir].stop) {
        const size_t from = n_before >= stop.size() ? n_before - stop.size() + 1 : 0;
        cut               = std::min(cut, text.find(stop, from));
    }
    if (cut == std::string::npos) {
        return false;
    }
    text.resize(cut);
    return true;
}

size_t answers::n_text_settled(uint32_t ir) const {
    const result & result = results_[ir];

    size_t n_open = 0;  // bytes at the end that could be the beginning of a stop string
    if (!is_done(ir)) {
        for (const std::string & stop : requests_[ir].stop) {
            for (size_t n = std::min(stop.size() - 1, result.text.size()); n > n_open; --n) {
                if (result.text.compare(result.text.size() - n, n, stop, 0, n) == 0) {
                    n_open = n;
                }
            }
        }
    }
    return result.text.size() - n_open;
}

void answers::finish_request(uint32_t ir, finish state) {
    results_[ir].state   = state;
    results_[ir].seconds = std::chrono::duration<double>(clock::now() - started_[ir]).count();
    any_not_finite_ |= state == finish::not_finite;
    generations_[ir].reset();
    n_done_++;
}

}  // namespace rys

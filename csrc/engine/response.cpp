#include "response.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace rys {

uint32_t n_evaluated(const request & request) {
    return request.tokens.size() - (request.kind == request_kind::loglikelihood ? 1 : 0);
}

uint32_t first_output(const request & request) {
    switch (request.kind) {
        case request_kind::logits:
            return 0;
        case request_kind::loglikelihood:
            return request.n_context - 1;
        default:
            return n_evaluated(request) - 1;
    }
}

response::response(request_id id, std::shared_ptr<const model> model, request request, uint32_t n_ctx) :
    id_(id),
    model_(std::move(model)),
    request_(std::move(request)) {
    validate();
    result_.n_prompt = n_evaluated();
    if (result_.n_prompt > n_ctx) {
        end(finish::context_full);
        return;
    }
    if (request_.kind == request_kind::generate) {
        // the last token is not evaluated, so it needs no room
        const uint32_t n_room = n_ctx - result_.n_prompt + 1;
        request_.max_tokens   = request_.max_tokens == 0 ? n_room : std::min(request_.max_tokens, n_room);
        generation_.emplace(generation{ token_sampler(*model_, request_.sampling) });
    }
}

void response::validate() const {
    const auto check_tokens = [&](const std::vector<llama_token> & tokens) {
        for (const llama_token token : tokens) {
            if (token < 0 || (uint32_t) token >= model_->n_vocab()) {
                throw request_error("token " + std::to_string(token) +
                                    " is outside of the vocabulary, which has tokens 0.." +
                                    std::to_string(model_->n_vocab() - 1));
            }
        }
    };
    check_tokens(request_.tokens);
    check_tokens(request_.allowed);
    if (request_.tokens.empty()) {
        throw request_error("a request needs at least one token");
    }
    if (request_.kind == request_kind::loglikelihood &&
        (request_.n_context == 0 || request_.n_context >= request_.tokens.size())) {
        throw request_error("a log-likelihood needs at least one token of context and one of continuation");
    }
}

uint32_t response::n_cells_generated() const {
    return request_.kind == request_kind::generate ? request_.max_tokens - n_resumed_ - 1 : 0;
}

std::vector<llama_token> response::all_tokens() const {
    std::vector<llama_token> tokens = request_.tokens;
    if (request_.kind == request_kind::generate) {
        tokens.insert(tokens.end(), result_.tokens.begin() + n_resumed_, result_.tokens.end());
    }
    return tokens;
}

void response::start(uint32_t n_shared) {
    if (!started_) {
        started_         = clock::now();
        result_.n_shared = n_shared;
    }
}

void response::read(uint32_t pos, const float * logits) {
    const uint32_t n_vocab = model_->n_vocab();

    switch (request_.kind) {
        case request_kind::generate:
            read_token(logits);
            return;
        case request_kind::logits:
            result_.logits.insert(result_.logits.end(), logits, logits + n_vocab);
            break;
        case request_kind::loglikelihood:
            {
                const float  logit = logits[request_.tokens[pos + 1]];
                const double value = logit - log_sum_exp(logits, n_vocab);
                if (!std::isfinite(value)) {
                    end(finish::not_finite);
                    return;
                }
                result_.logprobs.push_back(value);
                result_.greedy.push_back(logit == *std::max_element(logits, logits + n_vocab));
                break;
            }
        case request_kind::next_token:
            result_.log_sum_exp = log_sum_exp(logits, n_vocab);
            if (!std::isfinite(result_.log_sum_exp)) {
                end(finish::not_finite);
                return;
            }
            if (request_.allowed.empty()) {
                result_.logits.assign(logits, logits + n_vocab);
            }
            for (const llama_token token : request_.allowed) {
                result_.logits.push_back(logits[token]);
            }
            break;
    }
    if (pos + 1 == n_evaluated()) {
        end(finish::length);
    }
}

void response::read_token(const float * logits) {
    llama_token token;
    try {
        guard guard(/* single_threaded */ true);

        token = generation_->sampler.sample(logits);
    } catch (const std::exception & error) {
        // a grammar that allows nothing more, for one; the other requests go on
        fail(error.what());
        return;
    }
    if (token == LLAMA_TOKEN_NULL) {
        end(finish::not_finite);
        return;
    }
    if (model_->has_tokenizer() && llama_vocab_is_eog(model_->vocab(), token)) {
        end(finish::eos);
        return;
    }
    generation_->next = token;
    result_.tokens.push_back(token);
    if (request_.logprobs) {
        result_.logprobs.push_back(logits[token] - log_sum_exp(logits, model_->n_vocab()));
    }
    if (model_->has_tokenizer() && append_text(token)) {
        end(finish::stop);
    } else if (result_.tokens.size() == request_.max_tokens) {
        end(finish::length);
    }
}

static std::string token_text(const llama_vocab * vocab, llama_token token, bool special) {
    std::string   text(256, '\0');
    const int32_t n = llama_token_to_piece(vocab, token, text.data(), text.size(), 0, special);
    text.resize(std::abs(n));
    if (n < 0) {
        llama_token_to_piece(vocab, token, text.data(), text.size(), 0, special);
    }
    return text;
}

// returns whether the text has come to a stop string, before which it is then cut
bool response::append_text(llama_token token) {
    const std::string piece = token_text(model_->vocab(), token, /* special */ false);
    result_.text += piece;
    if (request_.stop.empty()) {
        return false;
    }
    // a control token has no text of its own, but its name may be in a stop string
    const std::string spelled  = piece.empty() ? token_text(model_->vocab(), token, /* special */ true) : piece;
    const size_t      n_before = spelled_.size();
    if (piece.empty() && !spelled.empty()) {
        hidden_.push_back({ n_before, spelled.size() });
    }
    spelled_ += spelled;

    size_t cut = std::string::npos;
    for (const std::string & stop : request_.stop) {
        const size_t from = n_before >= stop.size() ? n_before - stop.size() + 1 : 0;
        cut               = std::min(cut, spelled_.find(stop, from));
    }
    if (cut == std::string::npos) {
        return false;
    }
    result_.text.resize(n_visible(cut));
    return true;
}

// bytes of the text that the first n of spelled_ are
size_t response::n_visible(size_t n) const {
    size_t n_hidden = 0;
    for (const auto & [begin, size] : hidden_) {
        n_hidden += begin < n ? std::min(size, n - begin) : 0;
    }
    return n - n_hidden;
}

void response::rewind(uint32_t pos) {
    const uint32_t first  = first_output();
    const size_t   n_kept = pos > first ? pos - first : 0;

    if (request_.kind == request_kind::loglikelihood) {
        result_.logprobs.resize(std::min(n_kept, result_.logprobs.size()));
        result_.greedy.resize(result_.logprobs.size());
    }
    if (request_.kind == request_kind::logits) {
        result_.logits.resize(std::min(n_kept * model_->n_vocab(), result_.logits.size()));
    }
}

void response::resume() {
    result_.state = finish::none;
    rewind(0);
    if (request_.kind == request_kind::generate) {
        request_.tokens.insert(request_.tokens.end(), result_.tokens.begin() + n_resumed_, result_.tokens.end());
        n_resumed_ = result_.tokens.size();
    }
}

void response::fail(const std::string & error) {
    result_.error = error;
    end(finish::failed);
}

std::string response::settled_text(size_t begin) const {
    const std::string & text = result_.text;

    size_t end = text.size();
    if (!is_done() && !request_.stop.empty()) {
        size_t n_open = 0;  // bytes at the end that could be the beginning of a stop string
        for (const std::string & stop : request_.stop) {
            for (size_t n = std::min(stop.size() - 1, spelled_.size()); n > n_open; --n) {
                if (spelled_.compare(spelled_.size() - n, n, stop, 0, n) == 0) {
                    n_open = n;
                }
            }
        }
        end = n_visible(spelled_.size() - n_open);
    }
    return begin < end ? text.substr(begin, end - begin) : std::string();
}

result response::take() {
    generation_.reset();
    return std::move(result_);
}

void response::end(finish state) {
    result_.state   = state;
    result_.seconds = started_ ? std::chrono::duration<double>(clock::now() - *started_).count() : 0.0;
    if (state != finish::not_finite) {  // after which it may be evaluated again, see resume()
        generation_.reset();            // a sampler keeps a row of the vocabulary
    }
}

}  // namespace rys

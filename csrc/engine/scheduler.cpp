#include "scheduler.h"

#include <algorithm>
#include <cmath>

namespace rys {

// A prefix of its own costs a step in which its requests wait, and with a small model a step costs about as much as
// this many tokens.
static constexpr uint32_t n_min_saved = 32;

scheduler::scheduler(std::shared_ptr<context> context, std::vector<request> requests, uint32_t n_ctx) :
    context_(std::move(context)),
    requests_(std::move(requests)),
    results_(requests_.size()),
    n_ctx_(std::min(n_ctx, context_->n_ctx())),
    generations_(requests_.size()),
    started_(requests_.size()),
    n_cells_free_(context_->n_ctx()) {
    std::vector<uint32_t> indices;
    for (uint32_t ir = 0; ir < requests_.size(); ++ir) {
        request & request = requests_[ir];
        try {
            validate(request);
            if (request.kind == request_kind::generate) {
                generations_[ir].emplace(generation{ token_sampler(context_->source().vocab(), request.sampling) });
            }
        } catch (const request_error & error) {
            throw request_error("requests[" + std::to_string(ir) + "]: " + error.what());
        }

        const uint32_t n_prompt = n_evaluated(request);
        results_[ir].n_prompt   = n_prompt;
        if (n_prompt > n_ctx_) {
            finish_request(ir, finish::context_full);
            continue;
        }
        if (request.kind == request_kind::generate) {
            // the last token is not evaluated, so it needs no cell
            const uint32_t n_room = n_ctx_ - n_prompt + 1;
            request.max_tokens    = request.max_tokens == 0 ? n_room : std::min(request.max_tokens, n_room);
        }
        indices.push_back(ir);
    }

    // with one sequence there is none left to keep a prefix in
    const bool can_share = context_->n_seq_max() > 1;
    nodes_               = build_prefix_tree(requests_, std::move(indices), can_share ? n_min_saved : UINT32_MAX);
    states_.resize(nodes_.size());

    std::vector<uint32_t> roots;
    for (uint32_t in = 0; in < nodes_.size(); ++in) {
        for (const uint32_t ir : nodes_[in].ending) {
            for (int32_t above = in; above >= 0; above = nodes_[above].parent) {
                results_[ir].n_shared += nodes_[above].request != ir ? nodes_[above].end - nodes_[above].begin : 0;
            }
        }
        if (nodes_[in].parent < 0) {
            roots.push_back(in);
        }
    }
    std::sort(roots.begin(), roots.end(),
              [&](uint32_t a, uint32_t b) { return nodes_[a].request > nodes_[b].request; });
    for (const uint32_t in : roots) {
        queue_.push_back({ in, -1 });
    }
    for (uint32_t is = context_->n_seq_max(); is > 0; --is) {
        free_seqs_.push_back(is - 1);
    }
}

scheduler::~scheduler() {
    close();
}

void scheduler::close() {
    if (context_ && !context_->is_broken()) {
        // what a mask only hides must not outlive its request where it could still be read: a recurrent state, and a
        // NaN, which stays one when it is multiplied by 0
        const llama_model * model = context_->source().get();
        const bool          data = llama_model_is_recurrent(model) || llama_model_is_hybrid(model) || any_not_finite_ ||
                          n_done_ < requests_.size();
        llama_memory_clear(context_->memory(), data);
    }
    context_.reset();
}

void scheduler::validate(const request & request) const {
    const auto check_tokens = [&](const std::vector<llama_token> & tokens) {
        for (const llama_token token : tokens) {
            if (token < 0 || (uint32_t) token >= context_->source().n_vocab()) {
                throw request_error("token " + std::to_string(token) +
                                    " is outside of the vocabulary, which has tokens 0.." +
                                    std::to_string(context_->source().n_vocab() - 1));
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

size_t scheduler::n_text_settled(uint32_t ir) const {
    const result & result = results_[ir];
    size_t         n_open = 0;  // bytes at the end that could be the beginning of a stop string
    if (result.state == finish::none) {
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

bool scheduler::advance(double seconds, const interrupt_fn & interrupt) {
    if (!context_) {
        throw engine_error("the scheduler is closed");
    }
    const auto end = clock::now() + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds));
    while (n_done_ < requests_.size()) {
        start_queued();
        step(interrupt);
        if (clock::now() >= end) {
            break;
        }
    }
    return n_done_ == requests_.size();
}

// cells that a task needs beyond the tokens of its node
uint32_t scheduler::cells_of(const task & task) const {
    const prefix_node & node = nodes_[task.node];
    if (task.generates >= 0) {
        return requests_[task.generates].max_tokens - 1;
    }
    // a prompt of one generation goes on in the same sequence
    const bool goes_on = node.children.empty() && node.ending.size() == 1 && !states_[task.node].expanded;
    if (goes_on && requests_[node.ending[0]].kind == request_kind::generate) {
        return requests_[node.ending[0]].max_tokens - 1;
    }
    return 0;
}

bool scheduler::start(const task & task) {
    const prefix_node & node   = nodes_[task.node];
    const int32_t       prefix = task.generates >= 0 ? (int32_t) task.node : node.parent;

    const uint32_t n_span  = task.generates >= 0 || states_[task.node].n_users > 0 ? 0 : node.end - node.begin;
    const uint32_t n_cells = cells_of(task);
    const bool     inherit = prefix >= 0 && states_[prefix].n_left == 1;  // nobody else will fork from it
    if (n_span + n_cells > n_cells_free_ || (!inherit && free_seqs_.empty())) {
        return false;
    }

    sequence seq  = {};
    seq.node      = task.node;
    seq.generates = task.generates;
    seq.n_pos     = task.generates >= 0 ? node.end : node.begin;
    seq.n_cells   = n_cells;

    hold_ancestors(task.node, +1);
    n_cells_free_ -= n_cells;

    if (inherit) {
        seq.id              = states_[prefix].seq;
        states_[prefix].seq = -1;
        hold_ancestors(prefix, -1);
    } else {
        seq.id = free_seqs_.back();
        free_seqs_.pop_back();
        if (prefix >= 0) {
            llama_memory_seq_cp(context_->memory(), states_[prefix].seq, seq.id, -1, -1);
        }
    }
    if (prefix >= 0) {
        states_[prefix].n_left--;
    }
    if (task.generates < 0) {
        for (const uint32_t ir : node.ending) {
            started_[ir] = clock::now();
        }
    }
    active_.push_back(seq);
    return true;
}

void scheduler::start_queued() {
    while (!queue_.empty()) {
        const task    task   = queue_.back();
        const int32_t prefix = task.generates >= 0 ? (int32_t) task.node : nodes_[task.node].parent;

        if (prefix >= 0 && states_[prefix].seq < 0) {
            const bool on_its_way = std::any_of(active_.begin(), active_.end(), [&](const sequence & seq) {
                return seq.node == (uint32_t) prefix && seq.generates < 0;
            });
            if (on_its_way) {
                return;
            }
            // it was evicted: evaluate it again, for which it must fork from its own prefix once more
            queue_.push_back({ (uint32_t) prefix, -1 });
            if (nodes_[prefix].parent >= 0) {
                states_[nodes_[prefix].parent].n_left++;
            }
            continue;
        }
        if (!start(task)) {
            if (!active_.empty()) {
                return;  // until something ends
            }
            evict_prefixes(prefix, /* ancestors */ false);
            bool started = start(task);
            if (!started) {
                evict_prefixes(prefix, /* ancestors */ true);
                started = start(task);
            }
            if (!started) {
                throw engine_error("the scheduler found no room for a request that fits into the context");
            }
        }
        // start() leaves the queue alone
        queue_.pop_back();
    }
}

// Give up all held prefixes but `keep`; they are evaluated again when they are needed. Those above `keep` share its
// cells, so that giving them up frees nothing but sequences.
void scheduler::evict_prefixes(int32_t keep, bool ancestors) {
    std::vector<bool> kept(nodes_.size(), false);
    for (int32_t in = keep; in >= 0; in = ancestors ? -1 : nodes_[in].parent) {
        kept[in] = true;
    }
    for (uint32_t in = 0; in < nodes_.size(); ++in) {
        if (!kept[in] && states_[in].seq >= 0) {
            release(states_[in].seq, in, 0);
            states_[in].seq = -1;
        }
    }
}

// count a sequence in or out of the cells of a node and of the nodes above it
void scheduler::hold_ancestors(int32_t in, int32_t change) {
    for (; in >= 0; in = nodes_[in].parent) {
        const uint32_t n_span = nodes_[in].end - nodes_[in].begin;
        if (states_[in].n_users == 0) {
            n_cells_free_ -= n_span;
        }
        states_[in].n_users += change;
        if (states_[in].n_users == 0) {
            n_cells_free_ += n_span;
        }
    }
}

void scheduler::release(llama_seq_id id, uint32_t node, uint32_t n_cells) {
    llama_memory_seq_rm(context_->memory(), id, -1, -1);
    free_seqs_.push_back(id);
    n_cells_free_ += n_cells;
    hold_ancestors(node, -1);
}

void scheduler::step(const interrupt_fn & interrupt) {
    std::vector<llama_token>    tokens;
    std::vector<llama_pos>      pos;
    std::vector<llama_seq_id *> seq_ids;
    std::vector<int8_t>         outputs;

    struct output {
        size_t   seq;
        uint32_t pos;
        int32_t  row;
    };

    std::vector<output> wanted;

    const auto add = [&](size_t is, llama_token token, bool output) {
        if (output) {
            wanted.push_back({ is, active_[is].n_pos, (int32_t) tokens.size() });
        }
        tokens.push_back(token);
        pos.push_back(active_[is].n_pos++);
        seq_ids.push_back(&active_[is].id);
        outputs.push_back(output);
    };

    // generations first: they wait for each other least
    for (size_t is = 0; is < active_.size(); ++is) {
        if (active_[is].generates >= 0 && tokens.size() < context_->n_batch()) {
            add(is, generations_[active_[is].generates]->next, true);
        }
    }
    for (size_t is = 0; is < active_.size(); ++is) {
        if (active_[is].generates >= 0) {
            continue;
        }
        const prefix_node & node = nodes_[active_[is].node];

        uint32_t first = node.end;  // whose logits are read
        for (const uint32_t ir : node.readers) {
            if (results_[ir].state == finish::none && !states_[active_[is].node].expanded) {
                first = std::min(first, first_output(requests_[ir]));
            }
        }
        while (active_[is].n_pos < node.end && tokens.size() < context_->n_batch()) {
            const bool output = active_[is].n_pos >= first;
            if (output && wanted.size() == context_->n_outputs_max()) {
                break;
            }
            add(is, requests_[node.request].tokens[active_[is].n_pos], output);
        }
    }
    if (tokens.empty()) {
        throw engine_error("the scheduler has requests left but nothing to compute");
    }

    std::vector<int32_t> n_seq_id(tokens.size(), 1);

    llama_batch batch = {};
    batch.n_tokens    = tokens.size();
    batch.token       = tokens.data();
    batch.pos         = pos.data();
    batch.n_seq_id    = n_seq_id.data();
    batch.seq_id      = seq_ids.data();
    batch.logits      = outputs.data();

    context_->decode(batch, interrupt);
    n_tokens_ += tokens.size();

    for (const output & output : wanted) {
        const float *    logits = llama_get_logits_ith(context_->get(), output.row);
        const sequence & seq    = active_[output.seq];
        if (seq.generates >= 0) {
            on_token(seq.generates, logits);
            continue;
        }
        for (const uint32_t ir : nodes_[seq.node].readers) {
            if (results_[ir].state == finish::none && first_output(requests_[ir]) <= output.pos) {
                read_logits(ir, output.pos, logits);
            }
        }
    }

    // sequences that have come to their end; an evaluated node may go on as a generation
    std::vector<sequence> before;
    before.swap(active_);
    for (sequence & seq : before) {
        if (seq.generates >= 0) {
            if (results_[seq.generates].state != finish::none) {
                release(seq.id, seq.node, seq.n_cells);
            } else {
                active_.push_back(seq);
            }
        } else if (seq.n_pos < nodes_[seq.node].end) {
            active_.push_back(seq);
        } else {
            on_node_evaluated(seq);
        }
    }
}

void scheduler::on_node_evaluated(sequence & seq) {
    const prefix_node & node  = nodes_[seq.node];
    node_state &        state = states_[seq.node];

    if (!state.expanded) {
        state.expanded = true;

        for (auto it = node.children.rbegin(); it != node.children.rend(); ++it) {
            queue_.push_back({ *it, -1 });
        }
        state.n_left = node.children.size();
        for (auto it = node.ending.rbegin(); it != node.ending.rend(); ++it) {
            if (results_[*it].state != finish::none) {
                continue;
            }
            state.n_left++;
            if (seq.n_cells > 0) {  // set aside for it
                state.n_left  = 0;
                seq.generates = *it;
                active_.push_back(seq);
                return;
            }
            queue_.push_back({ seq.node, (int32_t) *it });
        }
    }
    if (state.n_left == 0) {
        release(seq.id, seq.node, seq.n_cells);
        return;
    }
    state.seq = seq.id;  // keeps what it holds
}

void scheduler::read_logits(uint32_t ir, uint32_t pos, const float * logits) {
    const request & request = requests_[ir];
    result &        result  = results_[ir];
    const uint32_t  n_vocab = context_->source().n_vocab();

    switch (request.kind) {
        case request_kind::generate:
            on_token(ir, logits);
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

// choose the next token; returns whether the generation goes on
bool scheduler::on_token(uint32_t ir, const float * logits) {
    const request &     request = requests_[ir];
    result &            result  = results_[ir];
    const llama_vocab * vocab   = context_->source().vocab();

    llama_token token;
    try {
        token = generations_[ir]->sampler.sample(logits);
    } catch (const std::exception & error) {
        // a grammar that allows nothing more, for one; the other requests go on
        result.error = error.what();
        finish_request(ir, finish::failed);
        return false;
    }
    if (token == LLAMA_TOKEN_NULL) {
        finish_request(ir, finish::not_finite);
        return false;
    }
    if (context_->source().has_tokenizer() && llama_vocab_is_eog(vocab, token)) {
        finish_request(ir, finish::eos);
        return false;
    }
    generations_[ir]->next = token;
    result.tokens.push_back(token);
    if (request.logprobs) {
        result.logprobs.push_back(logits[token] - log_sum_exp(logits, context_->source().n_vocab()));
    }

    if (context_->source().has_tokenizer()) {
        char         piece[256];
        int32_t      n_piece  = llama_token_to_piece(vocab, token, piece, sizeof(piece), 0, /* special */ false);
        const size_t n_before = result.text.size();
        if (n_piece >= 0) {
            result.text.append(piece, n_piece);
        } else {
            result.text.resize(n_before - n_piece);
            llama_token_to_piece(vocab, token, &result.text[n_before], -n_piece, 0, false);
        }
        size_t cut = std::string::npos;
        for (const std::string & stop : request.stop) {
            const size_t from = n_before >= stop.size() ? n_before - stop.size() + 1 : 0;
            cut               = std::min(cut, result.text.find(stop, from));
        }
        if (cut != std::string::npos) {
            result.text.resize(cut);
            finish_request(ir, finish::stop);
            return false;
        }
    }
    if (result.tokens.size() == request.max_tokens) {
        finish_request(ir, finish::length);
        return false;
    }
    return true;
}

void scheduler::finish_request(uint32_t ir, finish state) {
    results_[ir].state = state;
    if (state != finish::context_full) {
        results_[ir].seconds = std::chrono::duration<double>(clock::now() - started_[ir]).count();
    }
    any_not_finite_ |= state == finish::not_finite;
    generations_[ir].reset();
    n_done_++;
}

}  // namespace rys

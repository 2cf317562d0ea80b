#include "scheduler.h"

#include <algorithm>
#include <chrono>

namespace rys {

// A prefix of its own costs a step in which its requests wait, and with a small model a step costs about as much as
// this many tokens.
static constexpr uint32_t n_min_saved = 32;

scheduler::scheduler(std::shared_ptr<context> context, std::vector<request> requests, uint32_t n_ctx) :
    context_(std::move(context)),
    answers_(context_->shared_source(), std::move(requests), std::min(n_ctx, context_->n_ctx())),
    n_cells_free_(context_->n_ctx()) {
    std::vector<uint32_t> indices;
    for (uint32_t ir = 0; ir < answers_.requests().size(); ++ir) {
        if (!answers_.is_done(ir)) {
            indices.push_back(ir);
        }
    }

    // with one sequence there is none left to keep a prefix in
    const bool can_share = context_->n_seq_max() > 1;
    nodes_ = build_prefix_tree(answers_.requests(), std::move(indices), can_share ? n_min_saved : no_sharing);
    states_.resize(nodes_.size());

    std::vector<uint32_t> roots;
    for (uint32_t in = 0; in < nodes_.size(); ++in) {
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
        try {
            guard guard(/* single_threaded */ true);

            // what a mask only hides must not outlive its request where it could still be read: a recurrent state, and a
            // NaN, which stays one when it is multiplied by 0
            const llama_model * model = context_->source().get();
            const bool          data  = llama_model_is_recurrent(model) || llama_model_is_hybrid(model) ||
                              answers_.any_not_finite() || !answers_.all_done();
            llama_memory_clear(context_->memory(), data);
        } catch (const engine_error &) {
            context_->set_broken();
        }
    }
    context_.reset();
}

bool scheduler::advance(double seconds, const interrupt_fn & interrupt) {
    if (!context_) {
        throw engine_error("the scheduler is closed");
    }
    using clock = std::chrono::steady_clock;

    guard guard(/* single_threaded */ true);

    const auto begin = clock::now();
    while (!answers_.all_done()) {
        start_queued();
        step(interrupt);
        if (std::chrono::duration<double>(clock::now() - begin).count() >= seconds) {
            break;
        }
    }
    return answers_.all_done();
}

// cells that a task needs beyond the tokens of its node
uint32_t scheduler::cells_of(const task & task) const {
    const prefix_node & node = nodes_[task.node];
    if (task.generates >= 0) {
        return answers_.requests()[task.generates].max_tokens - 1;
    }
    // a prompt of one generation goes on in the same sequence
    const bool goes_on = node.children.empty() && node.ending.size() == 1 && !states_[task.node].expanded;
    if (goes_on && answers_.requests()[node.ending[0]].kind == request_kind::generate) {
        return answers_.requests()[node.ending[0]].max_tokens - 1;
    }
    return 0;
}

bool scheduler::start(const task & task) {
    const prefix_node & node   = nodes_[task.node];
    const int32_t       prefix = task.generates >= 0 ? (int32_t) task.node : node.parent;

    const uint32_t n_span  = task.generates >= 0 ? 0 : node.end - node.begin;
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
    seq.span      = prefix >= 0 ? states_[prefix].span : -1;
    if (task.generates < 0) {
        spans_.push_back({ seq.span, n_span, 0 });
        seq.span = spans_.size() - 1;
    }

    hold_spans(seq.span, +1);
    n_cells_free_ -= n_cells;

    if (inherit) {
        seq.id              = states_[prefix].seq;
        states_[prefix].seq = -1;
        hold_spans(states_[prefix].span, -1);
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
    if (task.generates < 0 && !states_[task.node].expanded) {
        for (const uint32_t ir : node.ending) {
            uint32_t n_shared = 0;
            for (int32_t above = task.node; above >= 0; above = nodes_[above].parent) {
                n_shared += nodes_[above].request != ir ? nodes_[above].end - nodes_[above].begin : 0;
            }
            answers_.start(ir, n_shared);
        }
    }
    active_.push_back(seq);
    return true;
}

bool scheduler::is_active(uint32_t node) const {
    return std::any_of(active_.begin(), active_.end(),
                       [&](const sequence & seq) { return seq.node == node && seq.generates < 0; });
}

// one of those that wait for the node will not fork from it
void scheduler::forget_fork(int32_t in) {
    if (in >= 0 && --states_[in].n_left == 0 && states_[in].seq >= 0) {
        release(states_[in].seq, states_[in].span, 0);
        states_[in].seq = -1;
    }
}

void scheduler::start_queued() {
    while (!queue_.empty()) {
        const task    task   = queue_.back();
        const int32_t parent = nodes_[task.node].parent;
        const int32_t prefix = task.generates >= 0 ? (int32_t) task.node : parent;

        if (task.generates < 0 && (states_[task.node].seq >= 0 || is_active(task.node))) {
            // an evicted prefix that was asked for twice
            queue_.pop_back();
            forget_fork(parent);
            continue;
        }
        if (prefix >= 0 && states_[prefix].seq < 0) {
            if (is_active(prefix)) {
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
            release(states_[in].seq, states_[in].span, 0);
            states_[in].seq = -1;
        }
    }
}

// count a sequence in or out of the cells of a span and of the spans before it
void scheduler::hold_spans(int32_t is, int32_t change) {
    for (; is >= 0; is = spans_[is].parent) {
        if (spans_[is].n_users == 0) {
            n_cells_free_ -= spans_[is].n_cells;
        }
        spans_[is].n_users += change;
        if (spans_[is].n_users == 0) {
            n_cells_free_ += spans_[is].n_cells;
        }
    }
}

void scheduler::release(llama_seq_id id, int32_t span, uint32_t n_cells) {
    llama_memory_seq_rm(context_->memory(), id, -1, -1);
    free_seqs_.push_back(id);
    n_cells_free_ += n_cells;
    hold_spans(span, -1);
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
            add(is, answers_.next_token(active_[is].generates), true);
        }
    }
    for (size_t is = 0; is < active_.size(); ++is) {
        if (active_[is].generates >= 0) {
            continue;
        }
        const prefix_node & node = nodes_[active_[is].node];

        uint32_t first = node.end;  // whose logits are read
        for (const uint32_t ir : node.readers) {
            if (!answers_.is_done(ir) && !states_[active_[is].node].expanded) {
                first = std::min(first, first_output(answers_.requests()[ir]));
            }
        }
        while (active_[is].n_pos < node.end && tokens.size() < context_->n_batch()) {
            const bool output = active_[is].n_pos >= first;
            if (output && wanted.size() == context_->n_outputs_max()) {
                break;
            }
            add(is, answers_.requests()[node.request].tokens[active_[is].n_pos], output);
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
            answers_.read(seq.generates, output.pos, logits);
            continue;
        }
        for (const uint32_t ir : nodes_[seq.node].readers) {
            if (!answers_.is_done(ir) && first_output(answers_.requests()[ir]) <= output.pos) {
                answers_.read(ir, output.pos, logits);
            }
        }
    }

    // sequences that have come to their end; an evaluated node may go on as a generation
    std::vector<sequence> before;
    before.swap(active_);
    for (sequence & seq : before) {
        if (seq.generates >= 0) {
            if (answers_.is_done(seq.generates)) {
                release(seq.id, seq.span, seq.n_cells);
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
            if (answers_.is_done(*it)) {
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
        release(seq.id, seq.span, seq.n_cells);
        return;
    }
    state.seq  = seq.id;  // keeps what it holds
    state.span = seq.span;
}

}  // namespace rys

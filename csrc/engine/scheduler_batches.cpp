#include "scheduler.h"

#include <algorithm>

// What is computed in a step, and what becomes of the logits.

namespace rys {

// the tokens of a step, and whose logits are read
struct scheduler::batch {
    struct row {
        size_t   seq;  // index of active_
        uint32_t pos;
        int32_t  index;
    };

    std::vector<llama_token>    tokens;
    std::vector<llama_pos>      pos;
    std::vector<int32_t>        n_seq_id;
    std::vector<llama_seq_id *> seq_ids;
    std::vector<int8_t>         outputs;
    std::vector<row>            rows;

    void add(size_t is, sequence & seq, llama_token token, bool output) {
        if (output) {
            rows.push_back({ is, seq.n_pos, (int32_t) tokens.size() });
        }
        tokens.push_back(token);
        pos.push_back(seq.n_pos++);
        n_seq_id.push_back(1);
        seq_ids.push_back(&seq.id);
        outputs.push_back(output);
    }

    llama_batch get() {
        llama_batch batch = {};
        batch.n_tokens    = tokens.size();
        batch.token       = tokens.data();
        batch.pos         = pos.data();
        batch.n_seq_id    = n_seq_id.data();
        batch.seq_id      = seq_ids.data();
        batch.logits      = outputs.data();
        return batch;
    }
};

void scheduler::step(const interrupt_fn & interrupt) {
    batch batch;
    fill(batch);
    if (active_.empty()) {
        drop_empty_groups();
        return;
    }
    if (batch.tokens.empty()) {
        throw engine_error("the scheduler has requests left but nothing to compute");
    }
    try {
        context_->decode(batch.get(), interrupt);
    } catch (const no_room_error & error) {
        make_room(error.what());
        drop_empty_groups();
        return;
    }
    n_tokens_ += batch.tokens.size();

    read(batch);
    trim_windows();
    retire_sequences();
    isolate_suspects();
    drop_empty_groups();
}

// tokens that the next batch may have
uint32_t scheduler::n_batch() const {
    const bool any_shared = std::any_of(active_.begin(), active_.end(), [&](const sequence & seq) {
        return seq.n_prefix > 0 && windows_.reaches(seq.n_pos, seq.n_prefix);
    });
    return any_shared ? std::min(context_->n_batch(), llama_n_ubatch(context_->get())) : context_->n_batch();
}

void scheduler::fill(batch & batch) {
    const uint32_t n_batch = this->n_batch();

    // generations first: they wait for each other least
    for (size_t is = 0; is < active_.size(); ++is) {
        sequence & seq = active_[is];
        if (seq.generates >= 0 && batch.tokens.size() < n_batch) {
            batch.add(is, seq, seq.group->member(seq.generates).next_token(), true);
        }
    }
    for (size_t is = 0; is < active_.size(); ++is) {
        sequence & seq = active_[is];
        if (seq.generates >= 0) {
            continue;
        }
        const uint32_t first = seq.group->first_read(seq.node);
        const uint32_t end   = seq.group->nodes[seq.node].end;
        while (seq.n_pos < end && batch.tokens.size() < n_batch) {
            const bool output = seq.n_pos >= first;
            if (output && batch.rows.size() == context_->n_outputs_max()) {
                break;
            }
            batch.add(is, seq, seq.group->token(seq.node, seq.n_pos), output);
        }
    }
}

void scheduler::read(const batch & batch) {
    for (const batch::row & row : batch.rows) {
        const float *    logits = llama_get_logits_ith(context_->get(), row.index);
        const sequence & seq    = active_[row.seq];
        request_group &  group  = *seq.group;
        if (seq.generates >= 0) {
            group.member(seq.generates).read(row.pos, logits);
            settle(group, seq.generates);
            continue;
        }
        for (const uint32_t ir : group.nodes[seq.node].readers) {
            if (group.is_here(ir) && group.member(ir).first_output() <= row.pos) {
                group.member(ir).read(row.pos, logits);
                settle(group, ir);
            }
        }
    }
}

// see whether a member is done
void scheduler::settle(request_group & group, uint32_t ir) {
    response & member = group.member(ir);
    if (!member.is_done()) {
        return;
    }
    group.leave(ir);
    if (member.state() == finish::not_finite) {
        data_must_vanish_ = true;
        if (n_started_ > 1) {
            member.resume();
            suspects_.push_back(group.shared_member(ir));
            return;
        }
    }
    finished_.push_back(member.id());
}

// whether nothing is left to do
bool scheduler::is_done() const {
    return suspects_.empty() &&
           std::all_of(groups_.begin(), groups_.end(), [](const request_group & group) { return group.is_empty(); });
}

// Sequences that were forked leave behind what their windows have left, see window_cache.
void scheduler::trim_windows() {
    for (sequence & seq : active_) {
        if (seq.n_prefix == 0) {
            continue;
        }
        windows_.trim(seq.id, seq.n_pos);
        if (!windows_.reaches(seq.n_pos, seq.n_prefix)) {
            seq.n_prefix = 0;
        }
    }
}

// sequences that have come to their end; an evaluated node may go on as a generation
void scheduler::retire_sequences() {
    std::vector<sequence> before;
    before.swap(active_);
    for (sequence & seq : before) {
        if (seq.generates >= 0) {
            if (seq.group->is_here(seq.generates)) {
                active_.push_back(seq);
            } else if (can_keep(seq)) {
                keep(seq);
            } else {
                release(seq.id, seq.span, seq.n_cells);
            }
        } else if (seq.n_pos < seq.group->nodes[seq.node].end) {
            active_.push_back(seq);
        } else {
            on_node_evaluated(seq);
        }
    }
}

void scheduler::on_node_evaluated(sequence & seq) {
    request_group &     group = *seq.group;
    const prefix_node & node  = group.nodes[seq.node];
    auto &              state = group.states[seq.node];

    if (!state.is_expanded) {
        state.is_expanded = true;

        for (auto it = node.children.rbegin(); it != node.children.rend(); ++it) {
            if (group.states[*it].is_wanted) {
                group.queue.push_back({ *it, -1 });
                state.n_left++;
            }
        }
        for (auto it = node.ending.rbegin(); it != node.ending.rend(); ++it) {
            if (!group.is_here(*it)) {
                continue;
            }
            if (seq.n_cells > 0) {  // set aside for it
                keep_copy(seq);
                seq.generates = *it;
                active_.push_back(seq);
                return;
            }
            group.queue.push_back({ seq.node, (int32_t) *it });
            state.n_left++;
        }
    }
    if (state.n_left == 0) {
        if (can_keep(seq)) {
            keep(seq);
        } else {
            release(seq.id, seq.span, seq.n_cells);
        }
        return;
    }
    windows_.trim(seq.id, seq.n_pos);  // before others fork from it
    state.seq  = seq.id;               // keeps what it holds
    state.span = seq.span;
}

}  // namespace rys

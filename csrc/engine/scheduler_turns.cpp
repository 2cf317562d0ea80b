#include "scheduler.h"

#include <algorithm>

// Which request starts next, and on which sequence.

namespace rys {

void scheduler::start_queued() {
    if (!groups_.empty() && groups_.front().is_alone) {
        if (active_.empty()) {
            start_next(groups_.front());
        }
        return;
    }
    const uint64_t last_tree = last_open_tree();

    // A group that has started a request comes again after all others. One that has only started a prefix keeps its
    // turn: else groups could give up each other's prefixes for ever. One that waits has nothing to start before the
    // next step.
    for (auto it = groups_.begin(); it != groups_.end();) {
        const auto group = it++;
        if (group->is_tree() && group->number > last_tree) {
            continue;
        }
        switch (start_next(*group)) {
            case outcome::started_prefix:
                it = group;
                break;
            case outcome::started:
                groups_.splice(groups_.end(), groups_, group);
                if (it == groups_.end()) {
                    it = group;
                }
                break;
            case outcome::waits:
                break;
            case outcome::no_room:
                return;  // until something ends
        }
    }
}

// number of the youngest group that may hold prefixes
uint64_t scheduler::last_open_tree() const {
    const size_t n_open = is_crowded_ ? 1 : std::max(1u, context_->n_seq_max() / 8);

    std::vector<uint64_t> numbers;
    for (const request_group & group : groups_) {
        if (group.is_tree() && !group.queue.empty()) {
            numbers.push_back(group.number);
        }
    }
    std::sort(numbers.begin(), numbers.end());
    return n_open < numbers.size() ? numbers[n_open - 1] : UINT64_MAX;
}

// start the next task of a group
scheduler::outcome scheduler::start_next(request_group & group) {
    while (!group.queue.empty()) {
        const task    task   = group.queue.back();
        const int32_t parent = group.nodes[task.node].parent;
        const int32_t prefix = group.prefix_of(task);

        if (task.generates < 0 && (group.states[task.node].seq >= 0 || is_active(group, task.node))) {
            // an evicted prefix that was asked for twice
            group.queue.pop_back();
            forget_fork(group, parent);
            continue;
        }
        if (prefix >= 0 && group.states[prefix].seq < 0) {
            if (is_active(group, prefix)) {
                return outcome::waits;
            }
            // it was evicted: evaluate it again
            group.requeue(prefix);
            continue;
        }
        if (!start(group, task)) {
            return active_.empty() ? start_with_evictions(group, task) : outcome::no_room;
        }
        group.queue.pop_back();  // start() leaves the queue alone
        return group.is_shared(task) ? outcome::started_prefix : outcome::started;
    }
    return outcome::waits;
}

// nothing is active, so only prefixes that are held can stand in the way
scheduler::outcome scheduler::start_with_evictions(request_group & group, const task & task) {
    for (const bool ancestors : { false, true }) {
        if (evict_prefixes(&group, group.prefix_of(task), ancestors)) {
            is_crowded_ = true;
        }
        if (start(group, task)) {
            group.queue.pop_back();
            return group.is_shared(task) ? outcome::started_prefix : outcome::started;
        }
    }
    for (uint32_t ir = 0; ir < group.n_members(); ++ir) {
        if (group.is_here(ir)) {
            group.member(ir).fail("the scheduler found no room for a request that fits into the context");
            settle(group, ir);
        }
    }
    return outcome::waits;
}

bool scheduler::start(request_group & group, const task & task) {
    const prefix_node & node   = group.nodes[task.node];
    const int32_t       prefix = group.prefix_of(task);

    const bool     inherit = prefix >= 0 && group.states[prefix].n_left == 1;  // nobody else will fork from it
    const uint32_t n_span  = task.generates >= 0 ? 0 : node.end - node.begin;
    const uint32_t n_cells = group.n_cells(task);
    auto           match   = prefix >= 0 ? prompt_cache::match() : find_cached(group, task.node);
    if (!find_room(n_span + n_cells, inherit ? 0 : 1, match)) {
        return false;
    }

    sequence seq  = {};
    seq.group     = &group;
    seq.node      = task.node;
    seq.generates = task.generates;
    seq.n_cells   = n_cells;
    if (prefix >= 0) {
        fork(seq, group.states[prefix], task.generates >= 0 ? node.end : node.begin);
    } else {
        begin(seq, match);
    }
    if (task.generates < 0) {
        const int32_t before = seq.span;
        seq.span             = budget_.make_span(before, node.end - seq.n_pos);
        budget_.hold_span(seq.span);
        budget_.release_span(before);
    }
    budget_.take_cells(n_cells);

    if (task.generates < 0 && !group.states[task.node].is_expanded) {
        group.states[task.node].n_cached = match.n;
        for (const uint32_t ir : node.ending) {
            if (group.is_here(ir)) {
                group.member(ir).start(group.n_shared(task.node, ir));
            }
        }
    }
    n_started_++;
    active_.push_back(seq);
    return true;
}

// Go on behind a prefix, in its sequence if nobody else waits for it. The sequence then holds its span.
void scheduler::fork(sequence & seq, request_group::node_state & prefix, uint32_t n_pos) {
    if (prefix.n_left == 1) {
        seq.id     = prefix.seq;
        prefix.seq = -1;
    } else {
        seq.id = budget_.take_seq();
        llama_memory_seq_cp(context_->memory(), prefix.seq, seq.id, -1, -1);
        budget_.hold_span(prefix.span);
    }
    seq.n_pos    = n_pos;
    seq.n_prefix = n_pos;
    seq.span     = prefix.span;
    prefix.n_left--;
}

// Begin with what others have left behind, or with nothing.
void scheduler::begin(sequence & seq, const prompt_cache::match & match) {
    seq.span = no_span;
    if (match.n == 0) {
        seq.id = budget_.take_seq();
        return;
    }
    const prompt_cache::continuation cached = cache_.take(match);

    seq.id       = cached.id;
    seq.n_pos    = match.n;
    seq.n_prefix = cached.n_prefix;
    seq.span     = cached.span;
}

// what a prompt that begins with an empty context can take over; the last token and those that are read are evaluated
prompt_cache::match scheduler::find_cached(const request_group & group, uint32_t node) const {
    if (!group.caches_prompts) {
        return {};
    }
    return cache_.find(group.tokens(node), std::min(group.first_read(node), group.nodes[node].end - 1));
}

// Whether there are so many cells, of which a match spares some, and a sequence. What was left behind makes room.
bool scheduler::find_room(uint32_t n_cells, uint32_t n_seqs, prompt_cache::match & match) {
    const auto has_room = [&] {
        return n_cells <= budget_.n_cells_free() + match.n && (n_seqs <= budget_.n_seqs_free() || match.n > 0);
    };
    while (!has_room()) {
        if (!cache_.evict(match)) {
            if (match.n > 0) {
                cache_.truncate(match);
            }
            return has_room();
        }
    }
    return true;
}

bool scheduler::is_active(const request_group & group, uint32_t node) const {
    return std::any_of(active_.begin(), active_.end(), [&](const sequence & seq) {
        return seq.group == &group && seq.node == node && seq.generates < 0;
    });
}

// one of those that wait for the node will not fork from it
void scheduler::forget_fork(request_group & group, int32_t in) {
    if (in < 0) {
        return;
    }
    auto & state = group.states[in];
    if (--state.n_left == 0 && state.seq >= 0) {
        release(state.seq, state.span, 0);
        state.seq = -1;
    }
}

// Give up all held prefixes but `keep` of the group, and return whether others had any; they are evaluated again when
// they are needed. Those above `keep` share its cells, so that giving them up, too, frees nothing but sequences.
bool scheduler::evict_prefixes(const request_group * group, int32_t keep, bool ancestors) {
    bool any_of_others = false;
    for (request_group & other : groups_) {
        std::vector<bool> is_kept(other.nodes.size(), false);
        if (&other == group) {
            for (int32_t in = keep; in >= 0; in = ancestors ? -1 : other.nodes[in].parent) {
                is_kept[in] = true;
            }
        }
        for (size_t in = 0; in < other.nodes.size(); ++in) {
            auto & state = other.states[in];
            if (!is_kept[in] && state.seq >= 0) {
                release(state.seq, state.span, 0);
                state.seq     = -1;
                any_of_others = any_of_others || &other != group;
            }
        }
    }
    return any_of_others;
}

}  // namespace rys

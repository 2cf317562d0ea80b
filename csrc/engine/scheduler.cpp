#include "scheduler.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace rys {

// A prefix of its own costs a step in which its requests wait, and with a small model a step costs about as much as
// this many tokens.
static constexpr uint32_t n_min_saved = 32;

// of all schedulers, so that an id never means another request
static std::atomic<request_id> n_ids{ 0 };

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

scheduler::scheduler(std::shared_ptr<context> context, uint32_t n_ctx) :
    context_(std::move(context)),
    n_ctx_(std::min(n_ctx, context_->n_ctx())),
    budget_(context_->n_ctx(), context_->n_seq_max()) {}

scheduler::~scheduler() {
    if (!groups_.empty()) {
        data_must_vanish_ = true;
        clear_memory();
    }
}

std::vector<request_id> scheduler::insert(std::vector<request> requests) {
    std::vector<std::shared_ptr<response>> inserted;
    for (size_t i = 0; i < requests.size(); ++i) {
        try {
            inserted.push_back(
                std::make_shared<response>(n_ids++, context_->shared_source(), std::move(requests[i]), n_ctx_));
        } catch (const request_error & error) {
            throw request_error("requests[" + std::to_string(i) + "]: " + error.what());
        }
    }
    std::vector<request_id>                ids;
    std::vector<std::shared_ptr<response>> members;
    for (const auto & response : inserted) {
        ids.push_back(response->id());
        responses_.emplace(response->id(), response);
        if (response->is_done()) {
            finished_.push_back(response->id());
        } else {
            members.push_back(response);
        }
    }
    if (!members.empty()) {
        // with one sequence there is none left to keep a prefix in
        const uint32_t min_saved = context_->n_seq_max() > 1 ? n_min_saved : no_sharing;
        groups_.emplace_back(std::move(members), min_saved, /* is_alone */ false, n_groups_++);
    }
    return ids;
}

void scheduler::cancel(const std::vector<request_id> & ids) {
    guard guard(/* single_threaded */ true);

    bool any_running = false;
    for (const request_id id : ids) {
        const auto it = responses_.find(id);
        if (it != responses_.end()) {
            any_running = any_running || !it->second->is_done();
            responses_.erase(it);
        }
    }
    if (!any_running) {
        return;
    }
    for (request_group & group : groups_) {
        bool any_left = false;
        for (uint32_t ir = 0; ir < group.n_members(); ++ir) {
            if (group.is_here(ir) && responses_.count(group.member(ir).id()) == 0) {
                group.leave(ir);
                any_left = true;
            }
        }
        if (any_left) {
            prune(group);
        }
    }
    data_must_vanish_ = true;
    drop_empty_groups();
}

bool scheduler::advance(double seconds, size_t n_results, const interrupt_fn & interrupt) {
    using clock = std::chrono::steady_clock;

    guard guard(/* single_threaded */ true);

    const auto begin = clock::now();
    try {
        while (!groups_.empty()) {
            start_queued();
            step(interrupt);
            const bool enough = n_results > 0 && finished_.size() >= n_results;
            const bool late   = std::chrono::duration<double>(clock::now() - begin).count() >= seconds;
            if (hurry_.exchange(false) || enough || late) {
                break;
            }
        }
    } catch (const interrupted &) {
        // the memory holds a part of the batch
        data_must_vanish_ = true;
        requeue_active();
        clear_memory();
        drop_empty_groups();
        throw;
    } catch (const std::exception & error) {
        fail_all(error.what());
        throw;
    }
    return groups_.empty();
}

std::optional<std::pair<request_id, result>> scheduler::next() {
    while (!finished_.empty()) {
        const request_id id = finished_.front();
        finished_.pop_front();

        const auto it = responses_.find(id);
        if (it != responses_.end()) {  // else it was cancelled
            std::pair<request_id, result> done(id, it->second->take());
            responses_.erase(it);
            return done;
        }
    }
    return std::nullopt;
}

std::string scheduler::settled_text(request_id id, size_t begin) const {
    const auto it = responses_.find(id);
    if (it == responses_.end()) {
        throw std::out_of_range("there is no request " + std::to_string(id) + ", or its result was given away");
    }
    return it->second->settled_text(begin);
}

size_t scheduler::n_kept() const {
    size_t n = responses_.size() + finished_.size() + budget_.n_spans();
    for (const request_group & group : groups_) {
        n += group.n_members() + group.nodes.size();
    }
    return n;
}

//
// turns
//

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

    const uint32_t n_span  = task.generates >= 0 ? 0 : node.end - node.begin;
    const uint32_t n_cells = group.n_cells(task);
    const bool     inherit = prefix >= 0 && group.states[prefix].n_left == 1;  // nobody else will fork from it
    if (n_span + n_cells > budget_.n_cells_free() || (!inherit && budget_.n_seqs_free() == 0)) {
        return false;
    }

    sequence seq  = {};
    seq.group     = &group;
    seq.node      = task.node;
    seq.generates = task.generates;
    seq.n_pos     = task.generates >= 0 ? node.end : node.begin;
    seq.n_cells   = n_cells;
    seq.span      = prefix >= 0 ? group.states[prefix].span : no_span;
    if (task.generates < 0) {
        seq.span = budget_.make_span(seq.span, n_span);
    }
    budget_.hold_span(seq.span);
    budget_.take_cells(n_cells);

    if (inherit) {
        seq.id                   = group.states[prefix].seq;
        group.states[prefix].seq = -1;
        budget_.release_span(group.states[prefix].span);
    } else {
        seq.id = budget_.take_seq();
        if (prefix >= 0) {
            llama_memory_seq_cp(context_->memory(), group.states[prefix].seq, seq.id, -1, -1);
        }
    }
    if (prefix >= 0) {
        group.states[prefix].n_left--;
    }
    if (task.generates < 0 && !group.states[task.node].is_expanded) {
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

// Give up all held prefixes but `keep` of the group, and return whether others had any; they are evaluated again when they are needed. Those above `keep`
// share its cells, so that giving them up, too, frees nothing but sequences.
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

//
// batches
//

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
    context_->decode(batch.get(), interrupt);
    n_tokens_ += batch.tokens.size();

    read(batch);
    retire_sequences();
    isolate_suspects();
    drop_empty_groups();
}

void scheduler::fill(batch & batch) {
    // generations first: they wait for each other least
    for (size_t is = 0; is < active_.size(); ++is) {
        sequence & seq = active_[is];
        if (seq.generates >= 0 && batch.tokens.size() < context_->n_batch()) {
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
        while (seq.n_pos < end && batch.tokens.size() < context_->n_batch()) {
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

// sequences that have come to their end; an evaluated node may go on as a generation
void scheduler::retire_sequences() {
    std::vector<sequence> before;
    before.swap(active_);
    for (sequence & seq : before) {
        if (seq.generates >= 0) {
            if (seq.group->is_here(seq.generates)) {
                active_.push_back(seq);
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
                seq.generates = *it;
                active_.push_back(seq);
                return;
            }
            group.queue.push_back({ seq.node, (int32_t) *it });
            state.n_left++;
        }
    }
    if (state.n_left == 0) {
        release(seq.id, seq.span, seq.n_cells);
        return;
    }
    state.seq  = seq.id;  // keeps what it holds
    state.span = seq.span;
}

//
// ends
//

void scheduler::release(llama_seq_id id, int32_t span, uint32_t n_cells) {
    if (!context_->is_broken()) {
        llama_memory_seq_rm(context_->memory(), id, -1, -1);
    }
    budget_.free_seq(id);
    budget_.free_cells(n_cells);
    budget_.release_span(span);
}

// Drop what is evaluated for nobody, or waits to be.
void scheduler::prune(request_group & group) {
    group.update_wanted();
    for (bool changed = true; changed;) {  // a prefix that nobody will fork from is not wanted either
        changed = false;

        std::vector<task> before;
        before.swap(group.queue);
        for (const task & task : before) {
            if (group.is_wanted(task)) {
                group.queue.push_back(task);
            } else {
                forget_fork(group, group.prefix_of(task));
                changed = true;
            }
        }
    }
    std::vector<sequence> before;
    before.swap(active_);
    for (const sequence & seq : before) {
        if (seq.group != &group || group.is_wanted({ seq.node, seq.generates })) {
            active_.push_back(seq);
        } else {
            release(seq.id, seq.span, seq.n_cells);
        }
    }
}

void scheduler::drop_empty_groups() {
    for (auto it = groups_.begin(); it != groups_.end();) {
        const auto group = it++;
        if (!group->is_empty()) {
            continue;
        }
        prune(*group);  // members that failed early may have left something
        const bool was_alone = group->is_alone;
        is_crowded_          = is_crowded_ && !group->is_tree();
        groups_.erase(group);
        if (was_alone && active_.empty()) {
            clear_memory();
        }
    }
    if (groups_.empty()) {
        clear_memory();
    }
}

// Put everything that is being evaluated back into the queues, in the same order. What the memory holds counts for
// nothing afterwards: clear_memory() comes next.
void scheduler::requeue_active() {
    for (request_group & group : groups_) {
        for (auto & state : group.states) {
            state.seq = -1;
        }
    }
    std::vector<sequence> before;
    before.swap(active_);
    for (auto seq = before.rbegin(); seq != before.rend(); ++seq) {
        request_group & group = *seq->group;
        if (seq->generates < 0) {
            group.requeue(seq->node);
        } else if (group.is_here(seq->generates)) {
            const std::shared_ptr<response> member = group.shared_member(seq->generates);
            group.leave(seq->generates);
            member->resume();
            groups_.emplace_front(std::vector<std::shared_ptr<response>>{ member }, no_sharing, group.is_alone,
                                  n_groups_++);
        }
    }
    budget_.reset();
}

// Evaluate those that were not finite again, one by one, and everything else after them.
void scheduler::isolate_suspects() {
    if (suspects_.empty()) {
        return;
    }
    requeue_active();
    clear_memory();
    for (auto suspect = suspects_.rbegin(); suspect != suspects_.rend(); ++suspect) {
        groups_.emplace_front(std::vector<std::shared_ptr<response>>{ *suspect }, no_sharing, /* is_alone */ true,
                              n_groups_++);
    }
    suspects_.clear();
}

void scheduler::fail_all(const std::string & error) {
    for (const auto & [id, response] : responses_) {
        if (!response->is_done()) {
            response->fail(error);
            finished_.push_back(id);
        }
    }
    active_.clear();
    suspects_.clear();
    groups_.clear();
    budget_.reset();
    data_must_vanish_ = true;
    clear_memory();
}

// Nothing is active and no prefix is held.
void scheduler::clear_memory() {
    if (context_->is_broken()) {
        return;
    }
    try {
        guard guard(/* single_threaded */ true);

        const llama_model * model = context_->source().get();
        const bool          data = llama_model_is_recurrent(model) || llama_model_is_hybrid(model) || data_must_vanish_;
        llama_memory_clear(context_->memory(), data);
    } catch (const engine_error &) {
        context_->set_broken();
    }
    budget_.reset();
    data_must_vanish_ = false;
    n_started_        = 0;
}

}  // namespace rys

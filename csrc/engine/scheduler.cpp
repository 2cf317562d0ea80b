#include "scheduler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>

namespace rys {

// A prefix of its own costs a step in which its requests wait, and with a small model a step costs about as much as
// this many tokens.
static constexpr uint32_t n_min_saved = 32;

// of all schedulers, so that an id never means another request
static std::atomic<request_id> n_ids{ 0 };

scheduler::scheduler(std::shared_ptr<context> context, uint32_t n_ctx) :
    context_(std::move(context)),
    n_ctx_(std::min(n_ctx, context_->n_ctx())),
    budget_(context_->n_ctx(), context_->n_seq_max()),
    windows_(context_->memory(), context_->source(), context_->n_ctx()),
    cache_(*context_, budget_, windows_) {}

scheduler::~scheduler() {
    if (!groups_.empty() || !cache_.is_empty()) {
        data_must_vanish_ = true;
        clear_memory();
    }
}

std::vector<request_id> scheduler::insert(std::vector<request> requests, bool cache_prompt) {
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
        if (groups_.empty() && !cache_.is_empty() && !(cache_prompt && is_cache_of_use(members))) {
            clear_memory();
        }
        // with one sequence there is none left to keep a prefix in
        const uint32_t min_saved = context_->n_seq_max() > 1 ? n_min_saved : no_sharing;
        groups_.emplace_back(std::move(members), min_saved, /* is_alone */ false, cache_prompt, n_groups_++);
    }
    return ids;
}

// whether the sequence of a member chooses tokens
bool scheduler::is_generating(const request_group & group, uint32_t ir) const {
    return std::any_of(active_.begin(), active_.end(),
                       [&](const sequence & seq) { return seq.group == &group && seq.generates == (int32_t) ir; });
}

// whether what was left behind may save something, for these requests or for later ones
bool scheduler::is_cache_of_use(const std::vector<std::shared_ptr<response>> & members) const {
    return members.size() == 1 || std::any_of(members.begin(), members.end(), [&](const auto & member) {
               return cache_.find(member->tokens(), member->first_output()).n > 0;
           });
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
                // the logits of a generation were all finite so far; what else was evaluated nobody has seen
                data_must_vanish_ = data_must_vanish_ || !is_generating(group, ir);
                any_left          = true;
            }
        }
        if (any_left) {
            prune(group);
        }
    }
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

void scheduler::release(llama_seq_id id, int32_t span, uint32_t n_cells) {
    if (!context_->is_broken()) {
        llama_memory_seq_rm(context_->memory(), id, -1, -1);
    }
    budget_.free_seq(id);
    budget_.free_cells(n_cells);
    budget_.release_span(span);
}

// Whether a sequence can be left behind: all its logits so far were finite, and it takes no cells from what goes on.
bool scheduler::can_keep(const sequence & seq) const {
    const request_group & group = *seq.group;
    return group.caches_prompts && !data_must_vanish_ && (group.n_members() == 1 || is_done());
}

// Leave a sequence behind; it was active and was not released.
void scheduler::keep(const sequence & seq) {
    const request_group &    group  = *seq.group;
    const uint32_t           n_span = group.nodes[seq.node].end;
    std::vector<llama_token> tokens =
        seq.generates >= 0 ? group.member(seq.generates).all_tokens() : group.tokens(seq.node);
    int32_t span = seq.span;
    tokens.resize(seq.n_pos);

    budget_.free_cells(seq.n_cells);
    if (seq.n_pos > n_span) {  // what it has generated
        span = budget_.make_span(seq.span, seq.n_pos - n_span);
        budget_.hold_span(span);
        budget_.release_span(seq.span);
    }
    cache_.keep(seq.id, std::move(tokens), span, seq.n_prefix);
}

// Leave the prompt of a request behind that goes on as a generation, for models that cannot go back to it: an answer
// does not always return in the next prompt as it was.
void scheduler::keep_copy(const sequence & seq) {
    const llama_model * model = context_->source().get();
    if (!(llama_model_is_recurrent(model) || llama_model_is_hybrid(model)) || windows_.is_small() || !can_keep(seq) ||
        budget_.n_seqs_free() == 0) {
        return;
    }
    std::vector<llama_token> tokens = seq.group->tokens(seq.node);
    tokens.resize(seq.n_pos);
    cache_.keep_copy(seq.id, std::move(tokens), seq.span);
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
        } else if (seq.generates >= 0 && can_keep(seq)) {
            keep(seq);
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
    if (groups_.empty() && (cache_.is_empty() || data_must_vanish_)) {
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
                                  group.caches_prompts, n_groups_++);
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
    evaluate_alone(suspects_);
    suspects_.clear();
}

// A batch found no room: evaluate its requests again, one by one, or fail the one that had all the memory.
void scheduler::make_room(const std::string & error) {
    std::vector<std::shared_ptr<response>> members;
    for (const sequence & seq : active_) {
        request_group &       group = *seq.group;
        std::vector<uint32_t> found;
        if (seq.generates >= 0) {
            found.push_back(seq.generates);
        } else {
            found = group.members_below(seq.node);
        }
        for (const uint32_t ir : found) {
            group.leave(ir);
            members.push_back(group.shared_member(ir));
        }
    }
    const bool was_alone = n_started_ == 1 && members.size() == 1;
    requeue_active();
    clear_memory();
    for (request_group & group : groups_) {
        prune(group);
    }
    if (was_alone) {
        members[0]->fail(error);
        finished_.push_back(members[0]->id());
        return;
    }
    for (const auto & member : members) {
        member->resume();
    }
    evaluate_alone(members);
}

// Requests that are part of no group any more come before all others.
void scheduler::evaluate_alone(const std::vector<std::shared_ptr<response>> & members) {
    for (auto member = members.rbegin(); member != members.rend(); ++member) {
        groups_.emplace_front(std::vector<std::shared_ptr<response>>{ *member }, no_sharing, /* is_alone */ true,
                              /* caches_prompts */ false, n_groups_++);
    }
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

// Nothing is active and no prefix is held; what was left behind is given up.
void scheduler::clear_memory() {
    cache_.forget();
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

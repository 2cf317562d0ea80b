#include "request_group.h"

#include <algorithm>

namespace rys {

request_group::request_group(std::vector<std::shared_ptr<response>> members,
                             uint32_t                               min_saved,
                             bool                                   is_alone,
                             bool                                   caches_prompts,
                             uint64_t                               number) :
    is_alone(is_alone),
    caches_prompts(caches_prompts),
    number(number),
    members_(std::move(members)),
    is_here_(members_.size(), true),
    n_here_(members_.size()) {
    std::vector<prompt> prompts;
    for (const auto & member : members_) {
        prompts.push_back({ &member->tokens(), member->n_evaluated(), member->first_output() });
    }
    nodes = build_prefix_tree(prompts, min_saved);
    states.resize(nodes.size());

    std::vector<uint32_t> roots;
    for (uint32_t in = 0; in < nodes.size(); ++in) {
        if (nodes[in].parent < 0) {
            roots.push_back(in);
        }
    }
    std::sort(roots.begin(), roots.end(), [&](uint32_t a, uint32_t b) { return nodes[a].request > nodes[b].request; });
    for (const uint32_t in : roots) {
        queue.push_back({ in, -1 });
    }
}

void request_group::leave(uint32_t ir) {
    if (is_here_[ir]) {
        is_here_[ir] = false;
        n_here_--;
    }
}

bool request_group::is_shared(const task & task) const {
    const prefix_node & node = nodes[task.node];
    return task.generates < 0 && (!node.children.empty() || node.ending.size() > 1);
}

int32_t request_group::prefix_of(const task & task) const {
    return task.generates >= 0 ? (int32_t) task.node : nodes[task.node].parent;
}

llama_token request_group::token(uint32_t node, uint32_t pos) const {
    return members_[nodes[node].request]->tokens()[pos];
}

uint32_t request_group::first_read(uint32_t node) const {
    uint32_t first = nodes[node].end;
    if (!states[node].is_expanded) {
        for (const uint32_t ir : nodes[node].readers) {
            if (is_here_[ir]) {
                first = std::min(first, members_[ir]->first_output());
            }
        }
    }
    return first;
}

bool request_group::goes_on(uint32_t in) const {
    const prefix_node & node = nodes[in];
    return node.children.empty() && node.ending.size() == 1 && !states[in].is_expanded &&
           members_[node.ending[0]]->kind() == request_kind::generate;
}

uint32_t request_group::n_cells(const task & task) const {
    if (task.generates >= 0) {
        return members_[task.generates]->n_cells_generated();
    }
    return goes_on(task.node) ? members_[nodes[task.node].ending[0]]->n_cells_generated() : 0;
}

uint32_t request_group::n_shared(uint32_t node, uint32_t ir) const {
    uint32_t n = 0;
    for (int32_t in = node; in >= 0; in = nodes[in].parent) {
        n += nodes[in].request != ir ? nodes[in].end - nodes[in].begin : states[in].n_cached;
    }
    return n;
}

std::vector<uint32_t> request_group::members_below(uint32_t node) const {
    std::vector<uint32_t> members;
    std::vector<bool>     is_below(nodes.size(), false);
    for (size_t in = node; in < nodes.size(); ++in) {  // children stand behind their parents
        is_below[in] = in == node || (nodes[in].parent >= 0 && is_below[nodes[in].parent]);
        for (const uint32_t ir : nodes[in].ending) {
            if (is_below[in] && is_here_[ir]) {
                members.push_back(ir);
            }
        }
    }
    return members;
}

void request_group::update_wanted() {
    for (node_state & state : states) {
        state.is_wanted = false;
    }
    for (size_t in = nodes.size(); in-- > 0;) {  // children stand behind their parents
        node_state & state = states[in];
        for (const uint32_t ir : nodes[in].ending) {
            state.is_wanted = state.is_wanted || is_here_[ir];
        }
        if (state.is_wanted && nodes[in].parent >= 0) {
            states[nodes[in].parent].is_wanted = true;
        }
    }
}

bool request_group::is_wanted(const task & task) const {
    if (task.generates >= 0) {
        return is_here_[task.generates];
    }
    // an expanded node is evaluated again for those that wait to fork from it, and for them alone
    const node_state & state = states[task.node];
    return state.is_expanded ? state.n_left > 0 : state.is_wanted;
}

void request_group::requeue(uint32_t in) {
    if (!states[in].is_expanded) {
        for (const uint32_t ir : nodes[in].readers) {
            if (is_here_[ir]) {
                members_[ir]->rewind(nodes[in].begin);
            }
        }
    }
    if (nodes[in].parent >= 0) {
        states[nodes[in].parent].n_left++;
    }
    queue.push_back({ in, -1 });
}

}  // namespace rys

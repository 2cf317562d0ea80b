#include "grammar.h"

#include "grammar_text.h"
#include "guard.h"
#include "llama-vocab.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>

namespace rys {

namespace {

// Limits what llama.cpp may do for a grammar within a scope: about a second.
class grammar_budget {
  public:
    grammar_budget() { llama_grammar_set_budget(200'000'000); }

    ~grammar_budget() { llama_grammar_set_budget(0); }
};

// Finds the texts that some of many stacks allow. Few stacks are compared with all texts at once, as llama.cpp does; of
// many, as of a choice of words, only those go on with a text that begin with its first character.
class text_matcher {
  public:
    text_matcher(llama_grammar & grammar, const token_texts & texts, std::vector<bool> & allowed) :
        grammar_(grammar),
        texts_(texts),
        allowed_(allowed) {}

    // Match the texts [begin, end), which have their first `depth` code points in common, from there on.
    void match(size_t begin, size_t end, size_t depth, const llama_grammar_stacks & stacks);

  private:
    static constexpr size_t n_few = 8;  // stacks

    llama_grammar &     grammar_;
    const token_texts & texts_;
    std::vector<bool> & allowed_;

    uint32_t code_point(size_t it, size_t depth) const { return texts_.code_points(texts_.texts()[it])[depth]; }

    void match_all(size_t begin, size_t end, size_t depth, const llama_grammar_stacks & stacks);
};

// each text with each stack
void text_matcher::match_all(size_t begin, size_t end, size_t depth, const llama_grammar_stacks & stacks) {
    llama_grammar_candidates rest;
    for (size_t it = begin; it < end; ++it) {
        const token_texts::text & text = texts_.texts()[it];
        rest.push_back({ it, texts_.code_points(text) + depth, text.partial, text.token });
        allowed_[text.token] = true;
    }
    for (const llama_grammar_stack & stack : stacks) {
        if (rest.empty()) {
            break;
        }
        rest = llama_grammar_reject_candidates_for_stack(grammar_.rules, stack, rest);
    }
    for (const llama_grammar_candidate & rejected : rest) {
        allowed_[rejected.id] = false;
    }
}

// whether a position is one character, and no set of them
static bool is_literal(const llama_grammar_element * pos) {
    return pos->type == LLAMA_GRETYPE_CHAR && pos[1].type != LLAMA_GRETYPE_CHAR_ALT &&
           pos[1].type != LLAMA_GRETYPE_CHAR_RNG_UPPER;
}

static bool is_token(const llama_grammar_element * pos) {
    return pos->type == LLAMA_GRETYPE_TOKEN || pos->type == LLAMA_GRETYPE_TOKEN_NOT;
}

void text_matcher::match(size_t begin, size_t end, size_t depth, const llama_grammar_stacks & stacks) {
    const bool any_token = std::any_of(stacks.begin(), stacks.end(), [](const llama_grammar_stack & stack) {
        return !stack.empty() && is_token(stack.back());
    });
    if (stacks.size() <= n_few || any_token) {
        match_all(begin, end, depth, stacks);
        return;
    }
    std::unordered_map<uint32_t, llama_grammar_stacks> literals;  // by their first character
    llama_grammar_stacks                               others;
    for (const llama_grammar_stack & stack : stacks) {
        if (!stack.empty()) {
            (is_literal(stack.back()) ? literals[stack.back()->value] : others).push_back(stack);
        }
    }
    while (begin < end) {
        const uint32_t first = code_point(begin, depth);
        size_t         next  = begin + 1;
        while (next < end && code_point(next, depth) == first) {
            next++;
        }
        if (first == 0) {  // these texts end here
            match_all(begin, next, depth, stacks);
        } else {
            const auto it   = literals.find(first);
            grammar_.stacks = others;
            if (it != literals.end()) {
                grammar_.stacks.insert(grammar_.stacks.end(), it->second.begin(), it->second.end());
            }
            llama_grammar_accept(&grammar_, first);
            if (!grammar_.stacks.empty()) {
                const llama_grammar_stacks after = std::move(grammar_.stacks);
                match(begin, next, depth + 1, after);
            }
        }
        begin = next;
    }
}

// llama.cpp prints what is wrong with a grammar to the terminal, so read it here first.
void check_rules(const llama_vocab * vocab, const std::string & text) {
    llama_grammar_parser parser(vocab);

    const char * pos = text.c_str();
    while (*pos == '#' || std::isspace((unsigned char) *pos)) {
        pos = *pos == '#' ? pos + std::strcspn(pos, "\r\n") : pos + 1;
    }
    while (*pos) {
        pos = parser.parse_rule(pos);
    }
    for (const auto & [name, id] : parser.symbol_ids) {
        if (id >= parser.rules.size() || parser.rules[id].empty()) {
            throw std::runtime_error("there is no rule '" + name + "'");
        }
    }
    if (parser.symbol_ids.count("root") == 0) {
        throw std::runtime_error("there is no rule 'root'");
    }
}

}  // namespace

grammar::grammar(const llama_vocab * vocab, const token_texts & texts, const std::string & text) :
    vocab_(vocab),
    texts_(texts),
    grammar_(nullptr, llama_grammar_free_impl) {
    check_grammar_text(text);

    guard          guard(/* single_threaded */ true);
    grammar_budget budget;
    try {
        check_rules(vocab, text);
        grammar_.reset(llama_grammar_init_impl(vocab, text.c_str(), "root", false, nullptr, 0, nullptr, 0));
    } catch (const std::exception & error) {
        constexpr size_t n_shown = 200;  // llama.cpp quotes all that follows a fault

        std::string reason = error.what();
        if (reason.size() > n_shown) {
            reason = reason.substr(0, n_shown) + "...";
        }
        throw request_error("the grammar cannot be read: " + reason);
    }
    if (!grammar_) {
        throw request_error("the grammar cannot be read: " + guard.last_error("no reason given"));
    }
}

grammar::~grammar() = default;

bool grammar::continues_character(llama_token token) const {
    const std::string & bytes = vocab_->token_to_piece(token);
    return !bytes.empty() && rys::continues_character(grammar_->partial_utf8, bytes[0]);
}

bool grammar::allows(llama_token token) const {
    if (!vocab_->is_eog(token) && !(is_unfinished() ? continues_character(token) : texts_.has(token))) {
        return false;
    }
    grammar_budget budget;

    llama_token_data       single = { token, 1.0f, 0.0f };
    llama_token_data_array array  = { &single, 1, -1, false };
    llama_grammar_apply_impl(*grammar_, &array);
    return single.logit != -std::numeric_limits<float>::infinity();
}

void grammar::mask(std::vector<llama_token_data> & candidates) const {
    grammar_budget budget;

    std::vector<bool> allowed(candidates.size(), false);
    if (is_unfinished()) {  // few tokens go on with it
        std::vector<llama_token_data> few;
        for (const llama_token_data & candidate : candidates) {
            if (continues_character(candidate.id)) {
                few.push_back(candidate);
            }
        }
        llama_token_data_array array = { few.data(), few.size(), -1, false };
        llama_grammar_apply_impl(*grammar_, &array);
        for (const llama_token_data & candidate : few) {
            allowed[candidate.id] = !std::isinf(candidate.logit);
        }
    } else {
        const llama_grammar_stacks stacks = grammar_->stacks;
        try {
            text_matcher(*grammar_, texts_, allowed).match(0, texts_.texts().size(), 0, stacks);
        } catch (...) {
            grammar_->stacks = stacks;
            throw;
        }
        grammar_->stacks = stacks;
    }
    const bool may_end = std::any_of(grammar_->stacks.begin(), grammar_->stacks.end(),
                                     [](const llama_grammar_stack & stack) { return stack.empty(); });
    for (llama_token_data & candidate : candidates) {
        if (!(vocab_->is_eog(candidate.id) ? may_end : allowed[candidate.id])) {
            candidate.logit = -std::numeric_limits<float>::infinity();
        }
    }
}

void grammar::accept(llama_token token) {
    grammar_budget budget;
    llama_grammar_accept_impl(*grammar_, token);
}

}  // namespace rys

#include "grammar_text.h"

#include "guard.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>

namespace rys {

// llama.cpp reads a grammar recursively
static constexpr size_t n_bytes_max = 256 * 1024;
static constexpr size_t depth_max   = 256;

// all rules together, after repetitions are written out; each takes 8 bytes, and some of them a name
static constexpr uint64_t n_elements_max = 250'000;

// llama.cpp takes a larger upper limit for none
static constexpr uint64_t n_times_max = 2000;

[[noreturn]] static void refuse(const std::string & reason) {
    throw request_error("the grammar cannot be read: " + reason);
}

namespace {

// Walks over the text and counts the elements that llama.cpp makes of it.
class grammar_reader {
  public:
    explicit grammar_reader(const std::string & text) : pos_(text.c_str()) {}

    void read();

  private:
    const char * pos_;
    uint64_t     n_elements_ = 0;
    uint64_t     n_last_     = 0;  // elements of the last item, which a repetition repeats
    size_t       depth_      = 0;

    void skip_quoted(char end);
    void skip_token();
    void skip_word();
    void repeat_braces();
    void repeat(uint64_t min, uint64_t max);
    void add(uint64_t n);

    void skip_space() { pos_ += std::strspn(pos_, " \t\r\n"); }

    uint64_t read_number();
};

void grammar_reader::read() {
    while (*pos_ != '\0') {
        switch (*pos_) {
            case '#':
                pos_ += std::strcspn(pos_, "\r\n");
                break;
            case '"':
                skip_quoted('"');
                break;
            case '[':
                skip_quoted(']');
                break;
            case '<':
                skip_token();
                break;
            case '(':
                if (++depth_ > depth_max) {
                    refuse("it has more than " + std::to_string(depth_max) + " parentheses in each other");
                }
                pos_++;
                break;
            case ')':
                depth_ -= depth_ > 0;
                n_last_ = 1;
                add(1);
                pos_++;
                break;
            case '{':
                repeat_braces();
                break;
            case '*':
            case '+':
            case '?':
                repeat(*pos_ == '+' ? 1 : 0, *pos_ == '?' ? 1 : n_times_max + 1);
                pos_++;
                break;
            default:
                skip_word();
        }
    }
}

// a literal or a set of characters; what follows a backslash does not end it
void grammar_reader::skip_quoted(char end) {
    n_last_ = 0;
    for (pos_++; *pos_ != '\0' && *pos_ != end; ++pos_) {
        pos_ += *pos_ == '\\' && pos_[1] != '\0';
        n_last_++;
    }
    pos_ += *pos_ != '\0';
    add(n_last_);
}

void grammar_reader::skip_token() {
    pos_ += std::strcspn(pos_, ">");
    pos_ += *pos_ != '\0';
    n_last_ = 1;
    add(1);
}

// the name of a rule, or a character that stands for itself
void grammar_reader::skip_word() {
    const char * begin = pos_;
    while (std::isalnum((unsigned char) *pos_) || *pos_ == '-') {
        pos_++;
    }
    // every repetition makes rules with longer names
    if (pos_ - begin > 255) {
        refuse("the name of a rule has more than 255 characters");
    }
    if (pos_ > begin || *pos_ == '.') {
        n_last_ = 1;
        add(1);
    }
    pos_ += pos_ == begin;
}

uint64_t grammar_reader::read_number() {
    uint64_t number = 0;
    for (; std::isdigit((unsigned char) *pos_); ++pos_) {
        number = std::min<uint64_t>(number * 10 + (*pos_ - '0'), UINT32_MAX);
    }
    return number;
}

// {m}, {m,} or {m,n}
void grammar_reader::repeat_braces() {
    const char * begin = pos_++;
    skip_space();
    if (!std::isdigit((unsigned char) *pos_)) {
        return;  // llama.cpp says what is wrong
    }
    const uint64_t min = read_number();
    uint64_t       max = min;
    skip_space();
    if (*pos_ == ',') {
        pos_++;
        skip_space();
        max = std::isdigit((unsigned char) *pos_) ? read_number() : n_times_max + 1;
        skip_space();
    }
    pos_ += *pos_ == '}';
    const std::string given(begin, pos_);
    if (max < min && max <= n_times_max) {
        refuse(given + " asks for at least " + std::to_string(min) + ", but at most " + std::to_string(max) +
               "; put the smaller number first");
    }
    if (min > n_times_max || (max < min)) {
        refuse(given + " repeats more than " + std::to_string(n_times_max) + " times");
    }
    repeat(min, max);
}

// The last item is written out `min` times, and for each of the optional ones there is a rule; an upper limit above
// n_times_max is none.
void grammar_reader::repeat(uint64_t min, uint64_t max) {
    constexpr uint64_t n_name = 16;  // a rule has a name in a map, and takes as much as so many elements

    const uint64_t n_rules = max > n_times_max ? 1 : max - min;
    add(min * n_last_ + n_rules * (n_last_ + n_name));
    n_last_ = min * n_last_ + 1;
}

void grammar_reader::add(uint64_t n) {
    n_elements_ += n;
    if (n_elements_ > n_elements_max) {
        refuse("its repetitions make more than " + std::to_string(n_elements_max) +
               " elements; make them shorter or fewer");
    }
}

}  // namespace

void check_grammar_text(const std::string & text) {
    if (text.size() > n_bytes_max) {
        refuse("it has " + std::to_string(text.size()) + " bytes, but at most " + std::to_string(n_bytes_max) +
               " are possible");
    }
    grammar_reader(text).read();
}

}  // namespace rys

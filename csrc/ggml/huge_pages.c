// Large buffers of ggml in huge pages: linked with --wrap=posix_memalign into ggml-base, on Linux.
//
// A context writes zeros over its whole KV cache. In pages of 4 KiB the system answers with a page fault for each,
// which takes several times as long as the writing and is most of what a new context costs. Where the system gives huge
// pages on request (its default), this is the request; elsewhere nothing changes.

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)

int __real_posix_memalign(void ** memory, size_t alignment, size_t size);
int __wrap_posix_memalign(void ** memory, size_t alignment, size_t size);

int __wrap_posix_memalign(void ** memory, size_t alignment, size_t size) {
    if (size < 2 * HUGE_PAGE) {
        return __real_posix_memalign(memory, alignment, size);
    }
    const int result = __real_posix_memalign(memory, alignment > HUGE_PAGE ? alignment : HUGE_PAGE, size);
    if (result == 0) {
        madvise(*memory, size - size % HUGE_PAGE, MADV_HUGEPAGE);  // a hint: whether it is taken does not matter
    }
    return result;
}

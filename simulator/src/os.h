/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The host: all that the simulator, its NT side and the bench need from an operating system. os_linux.c and
 * os_windows.c implement it and alone include the host's headers (os_lock.c is common to both); everything
 * here may be called from any thread.
 */
#ifndef SIM_OS_H
#define SIM_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define SIM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define SIM_LINE_BYTES 64 /* a cache line; what two threads write must not share one by accident */

/* ---- Threads ---- */
struct sim_os_thread;
/* NULL where the host gives no thread or has no such CPU. cpu -1: not pinned, even where the caller is. */
struct sim_os_thread *sim_os_thread_start(void (*run)(void *context), void *context, int cpu);
void sim_os_thread_join(struct sim_os_thread *thread); /* frees it */
bool sim_os_pin(int cpu);                              /* the calling thread; false: not usable (below) */
int sim_os_cpu_count(void);                            /* CPUs this process may run on */
bool sim_os_cpu_usable(int cpu);                       /* may this process run on that CPU number? */
void sim_os_yield(void);

/* ---- Wait and wake on a 32-bit word (futex, WaitOnAddress) ---- */
/* Sleeps while *word == expected, at most timeout_ns (UINT64_MAX: for ever). May return early: look again. */
void sim_os_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void sim_os_wake_one(_Atomic uint32_t *word);
void sim_os_wake_all(_Atomic uint32_t *word);

/* ---- A lock for slow paths: a few instructions when free, sleeps when not ---- */
struct sim_os_lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and wanted */
};
void sim_os_lock_acquire(struct sim_os_lock *lock);
void sim_os_lock_release(struct sim_os_lock *lock);

/* ---- Clock ---- */
uint64_t sim_os_now_ns(void); /* monotonic */

/* ---- Address space ---- */
/* Zeroed, page-aligned memory; and address space in which every access faults. NULL: the host has none. */
void *sim_os_memory_map(size_t bytes);
void sim_os_memory_unmap(void *memory, size_t bytes);
/* alignment: a power of two, or 0 for the host's own. Unmap and release: the same bytes; NULL is ignored. */
void *sim_os_range_reserve(size_t bytes, size_t alignment);
void sim_os_range_release(void *range, size_t bytes);

/* ---- Files ---- */
struct sim_os_file;
/*
 * An existing regular file (on Linux a block device too) by its UTF-8 path; its size is that at open. NULL
 * with one line of reason in error: "image 'PATH': No such file or directory".
 */
struct sim_os_file *sim_os_file_open(const char *path, bool read_only, char *error, size_t error_bytes);
uint64_t sim_os_file_bytes(const struct sim_os_file *file);
/* All of it, or false. */
bool sim_os_file_read(struct sim_os_file *file, uint64_t offset, void *to, size_t length);
bool sim_os_file_write(struct sim_os_file *file, uint64_t offset, const void *from, size_t length);
/*
 * The same for bytes that lie in one buffer after the other, with as few host calls as can be: on Linux
 * mostly one, on Windows one a buffer. Buffers may be empty, and none at all is done at once. After false
 * some of the bytes may have been moved.
 */
struct sim_os_buffer {
    void *data;
    size_t length;
};
bool sim_os_file_read_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                             size_t count);
bool sim_os_file_write_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                              size_t count);
bool sim_os_file_sync(struct sim_os_file *file); /* durable on the medium: fdatasync, FlushFileBuffers */
void sim_os_file_close(struct sim_os_file *file);

/* ---- Thread-local pointer, and the small things of the hot path ---- */
#ifdef _WIN32
#include "os_inline_windows.h"
#else
#include "os_inline_linux.h"
#endif

/* void *sim_os_tls_get(void), void sim_os_tls_set(void *): one a thread, NULL at first: the virtual CPU. */

/* A breath while spinning. */
static inline void sim_os_pause(void)
{
    __builtin_ia32_pause();
}

/*
 * Asks for the cache line, to be written soon, while this thread goes on: several such lines then travel at once and
 * not one after the other. It changes nothing and reads nothing. (__builtin_prefetch says it to newer CPUs alone.)
 * Nothing on x86, not all of whose CPUs know it.
 */
static inline void sim_os_prefetch_write(const void *line)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    (void)line;
#endif
}

/*
 * Stops a debugger here, on this thread: Linux makes SIGTRAP of the instruction, Windows the exception
 * STATUS_BREAKPOINT. Without a debugger either ends the process. With one the thread goes on when told to.
 */
static inline void sim_os_debug_break(void)
{
    __asm__ volatile("int3");
}

/*
 * A full barrier between this thread's earlier stores and its later loads. ThreadSanitizer doesn't model
 * fences, so there it is a sequentially consistent read-modify-write of one word that all such barriers
 * share.
 */
#if defined(__SANITIZE_THREAD__)
#define SIM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIM_TSAN 1
#endif
#endif
extern _Atomic uint32_t sim_os_barrier_word;
#ifdef SIM_TSAN
static inline void sim_os_full_barrier(void)
{
    atomic_fetch_add_explicit(&sim_os_barrier_word, 1, memory_order_seq_cst);
}
#else
static inline void sim_os_full_barrier(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}
#endif

#endif

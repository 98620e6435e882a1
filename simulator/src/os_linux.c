/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * os.h on Linux: pthreads, futexes, mmap, pread and preadv. With os_windows.c the only file that knows its
 * host, and it knows nothing of the simulator. Every function may be called from any thread.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "files beyond 2 GiB need _FILE_OFFSET_BITS=64 on a 32-bit host");

_Thread_local void *sim_os_tls;
_Atomic uint32_t sim_os_barrier_word;

/* ---- Threads ---- */

/* As many as any kernel can be built for: the calls fail with a set that is smaller than the kernel's. */
#define CPUS_MAX 8192
struct cpu_mask {
    cpu_set_t sets[CPUS_MAX / CPU_SETSIZE];
};

/*
 * What the process may run on, asked before main: later the answer would be what the asking thread was pinned
 * to. A new thread inherits its creator's pin as well, so a thread that is to run anywhere gets this mask.
 */
static struct cpu_mask process_cpus;

__attribute__((constructor)) static void process_cpus_ask(void)
{
    if (sched_getaffinity(0, sizeof process_cpus, process_cpus.sets) != 0)
        CPU_SET_S(0, sizeof process_cpus, process_cpus.sets);
}

bool sim_os_cpu_usable(int cpu)
{
    return cpu >= 0 && cpu < CPUS_MAX && CPU_ISSET_S((size_t)cpu, sizeof process_cpus, process_cpus.sets);
}

int sim_os_cpu_count(void)
{
    return CPU_COUNT_S(sizeof process_cpus, process_cpus.sets);
}

bool sim_os_pin(int cpu)
{
    struct cpu_mask mask;

    if (!sim_os_cpu_usable(cpu))
        return false;
    CPU_ZERO_S(sizeof mask, mask.sets);
    CPU_SET_S((size_t)cpu, sizeof mask, mask.sets);
    return sched_setaffinity(0, sizeof mask, mask.sets) == 0;
}

void sim_os_yield(void)
{
    sched_yield();
}

struct sim_os_thread {
    pthread_t handle;
    void (*run)(void *context);
    void *context;
    int cpu;
};

static void *thread_entry(void *argument)
{
    struct sim_os_thread *thread = argument;

    if (thread->cpu < 0)
        (void)sched_setaffinity(0, sizeof process_cpus, process_cpus.sets);
    thread->run(thread->context);
    return NULL;
}

struct sim_os_thread *sim_os_thread_start(void (*run)(void *context), void *context, int cpu)
{
    struct sim_os_thread *thread;
    pthread_attr_t attributes;
    struct cpu_mask mask;
    int failed;

    if (cpu >= 0 && !sim_os_cpu_usable(cpu))
        return NULL;
    thread = malloc(sizeof *thread);
    if (thread == NULL)
        return NULL;
    thread->run = run;
    thread->context = context;
    thread->cpu = cpu;
    failed = pthread_attr_init(&attributes);
    if (failed)
        goto free_thread;
    if (cpu >= 0) {
        CPU_ZERO_S(sizeof mask, mask.sets);
        CPU_SET_S((size_t)cpu, sizeof mask, mask.sets);
        failed = pthread_attr_setaffinity_np(&attributes, sizeof mask, mask.sets);
    }
    if (!failed)
        failed = pthread_create(&thread->handle, &attributes, thread_entry, thread);
    pthread_attr_destroy(&attributes);
    if (!failed)
        return thread;
free_thread:
    free(thread);
    return NULL;
}

void sim_os_thread_join(struct sim_os_thread *thread)
{
    pthread_join(thread->handle, NULL);
    free(thread);
}

/* ---- Wait and wake ---- */

static void futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    /* Whatever the error (the value differed, a signal, the time is up): the caller looks again. */
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

void sim_os_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec timeout;

    if (timeout_ns == UINT64_MAX) {
        futex(word, FUTEX_WAIT, expected, NULL);
        return;
    }
    timeout.tv_sec = (time_t)(timeout_ns / 1000000000u);
    timeout.tv_nsec = (long)(timeout_ns % 1000000000u);
    futex(word, FUTEX_WAIT, expected, &timeout);
}

void sim_os_wake_one(_Atomic uint32_t *word)
{
    futex(word, FUTEX_WAKE, 1, NULL);
}

void sim_os_wake_all(_Atomic uint32_t *word)
{
    futex(word, FUTEX_WAKE, INT32_MAX, NULL);
}

/* ---- Clock ---- */

uint64_t sim_os_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Address space ---- */

/* bytes rounded up to whole pages; 0 where that doesn't fit. */
static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return bytes > SIZE_MAX - (page - 1) ? 0 : (bytes + page - 1) & ~(page - 1);
}

void *sim_os_memory_map(size_t bytes)
{
    void *memory;

    if (bytes == 0)
        return NULL;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void sim_os_memory_unmap(void *memory, size_t bytes)
{
    if (memory != NULL)
        munmap(memory, bytes);
}

void *sim_os_range_reserve(size_t bytes, size_t alignment)
{
    size_t size = whole_pages(bytes), slack = whole_pages(alignment), head, tail;
    uint8_t *all, *range;

    if (size == 0 || (alignment & (alignment - 1)) != 0 || slack > SIZE_MAX - size)
        return NULL;
    all = mmap(NULL, size + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    head = slack == 0 ? 0 : (size_t)(-(uintptr_t)all & (alignment - 1));
    tail = slack - head;
    range = all + head;
    if (head > 0)
        munmap(all, head);
    if (tail > 0)
        munmap(range + size, tail);
    return range;
}

void sim_os_range_release(void *range, size_t bytes)
{
    if (range != NULL)
        munmap(range, bytes);
}

/* ---- Files ---- */

struct sim_os_file {
    int descriptor;
    uint64_t bytes;
};

/* What is at a path that holds no bytes to work on, or NULL for what does. */
static const char *unfit_kind(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFBLK:
        return NULL;
    case S_IFDIR:
        return "is a directory";
    case S_IFCHR:
        return "is a character device";
    case S_IFIFO:
        return "is a pipe";
    default:
        return "is something else";
    }
}

/* Answers the descriptor, or -1 with the reason in error. */
static int open_fit(const char *path, bool read_only, char *error, size_t error_bytes)
{
    /* O_NONBLOCK: a pipe without a peer must not hang us; it means nothing to a file. */
    int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    const char *unfit;
    struct stat about;
    int descriptor, code;
    char reason[128];

    do {
        descriptor = open(path, flags);
    } while (descriptor < 0 && errno == EINTR);
    code = errno;
    if (descriptor >= 0 && fstat(descriptor, &about) != 0) {
        code = errno;
        close(descriptor);
        descriptor = -1;
    }
    if (descriptor < 0 && code != EISDIR) {
        snprintf(error, error_bytes, "image '%s': %s%s", path, strerror_r(code, reason, sizeof reason),
                 code == EACCES && !read_only ? " (it must be readable and writable)" : "");
        return -1;
    }
    unfit = unfit_kind(descriptor < 0 ? S_IFDIR : about.st_mode);
    if (unfit != NULL) {
        snprintf(error, error_bytes, "image '%s': %s, not a regular file or block device", path, unfit);
        if (descriptor >= 0)
            close(descriptor);
        return -1;
    }
    return descriptor;
}

struct sim_os_file *sim_os_file_open(const char *path, bool read_only, char *error, size_t error_bytes)
{
    int descriptor = open_fit(path, read_only, error, error_bytes);
    struct sim_os_file *file;
    off_t end;

    if (descriptor < 0)
        return NULL;
    end = lseek(descriptor, 0, SEEK_END); /* the one way that serves block devices too */
    file = end < 0 ? NULL : malloc(sizeof *file);
    if (file == NULL) {
        snprintf(error, error_bytes, "image '%s': %s", path,
                 end < 0 ? "its size can't be found out" : "out of memory");
        close(descriptor);
        return NULL;
    }
    file->descriptor = descriptor;
    file->bytes = (uint64_t)end;
    return file;
}

uint64_t sim_os_file_bytes(const struct sim_os_file *file)
{
    return file->bytes;
}

/* Are offset and length such that the host's signed offsets hold them? */
static bool in_offsets(uint64_t offset, size_t length)
{
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

bool sim_os_file_read(struct sim_os_file *file, uint64_t offset, void *to, size_t length)
{
    uint8_t *at = to;

    if (!in_offsets(offset, length))
        return false;
    while (length > 0) {
        ssize_t done = pread(file->descriptor, at, length, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false; /* 0: the file ends here */
        at += done;
        offset += (uint64_t)done;
        length -= (size_t)done;
    }
    return true;
}

bool sim_os_file_write(struct sim_os_file *file, uint64_t offset, const void *from, size_t length)
{
    const uint8_t *at = from;

    if (!in_offsets(offset, length))
        return false;
    while (length > 0) {
        ssize_t done = pwrite(file->descriptor, at, length, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        offset += (uint64_t)done;
        length -= (size_t)done;
    }
    return true;
}

#define VECTOR_MAX       128u       /* buffers in one host call: on the stack, a page half full */
#define VECTOR_BYTES_MAX (1u << 30) /* the host counts in ssize_t, which has 31 bits on a 32-bit one */
_Static_assert(VECTOR_MAX <= IOV_MAX, "more buffers than the host takes at once");

/* Bytes of a run of buffers that are still to be moved: those behind the first `done` of the first buffer. */
struct remainder {
    const struct sim_os_buffer *buffers;
    size_t count;
    size_t done;
};

/* Leaves out the next bytes, and buffers of which nothing is left. */
static void remainder_advance(struct remainder *remainder, size_t bytes)
{
    while (remainder->count > 0 && remainder->buffers->length - remainder->done <= bytes) {
        bytes -= remainder->buffers->length - remainder->done;
        remainder->buffers++;
        remainder->count--;
        remainder->done = 0;
    }
    remainder->done += bytes;
}

/* As much of it as one host call takes; answers the number of entries and, in bytes_out, their bytes. */
static int remainder_vector(const struct remainder *remainder, struct iovec *vector, size_t *bytes_out)
{
    size_t room = VECTOR_BYTES_MAX, i;

    for (i = 0; i < remainder->count && i < VECTOR_MAX && room > 0; i++) {
        uint8_t *data = remainder->buffers[i].data;
        size_t length = remainder->buffers[i].length;

        if (i == 0) {
            data += remainder->done;
            length -= remainder->done;
        }
        vector[i].iov_base = data;
        vector[i].iov_len = length < room ? length : room;
        room -= vector[i].iov_len;
    }
    *bytes_out = VECTOR_BYTES_MAX - room;
    return (int)i;
}

static bool transfer_vector(struct sim_os_file *file, bool to_file, uint64_t offset,
                            struct remainder remainder)
{
    struct iovec vector[VECTOR_MAX];
    size_t bytes;

    for (remainder_advance(&remainder, 0); remainder.count > 0;) {
        int count = remainder_vector(&remainder, vector, &bytes);
        ssize_t done;

        if (!in_offsets(offset, bytes))
            return false;
        done = to_file ? pwritev(file->descriptor, vector, count, (off_t)offset)
                       : preadv(file->descriptor, vector, count, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false; /* 0: the file ends here */
        offset += (uint64_t)done;
        remainder_advance(&remainder, (size_t)done);
    }
    return true;
}

bool sim_os_file_read_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                             size_t count)
{
    if (count == 1) /* pread is the quicker for one */
        return sim_os_file_read(file, offset, buffers->data, buffers->length);
    return transfer_vector(file, false, offset, (struct remainder){.buffers = buffers, .count = count});
}

bool sim_os_file_write_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                              size_t count)
{
    if (count == 1)
        return sim_os_file_write(file, offset, buffers->data, buffers->length);
    return transfer_vector(file, true, offset, (struct remainder){.buffers = buffers, .count = count});
}

bool sim_os_file_sync(struct sim_os_file *file)
{
    int failed;

    do {
        failed = fdatasync(file->descriptor);
    } while (failed && errno == EINTR);
    return !failed;
}

void sim_os_file_close(struct sim_os_file *file)
{
    if (file == NULL)
        return;
    close(file->descriptor);
    free(file);
}

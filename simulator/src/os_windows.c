/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * os.h on Windows 8 and later: Win32 threads, WaitOnAddress, VirtualAlloc, file handles. With os_linux.c the
 * only file that knows its host, and the only one that sees windows.h. Every function may be called from any
 * thread.
 */
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602 /* WaitOnAddress */
#endif
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Atomic uint32_t sim_os_barrier_word;

/* ---- What is asked before main ---- */

unsigned long sim_os_tls_slot;
static uint64_t ticks_per_second;

__attribute__((constructor)) static void ask_host(void)
{
    LARGE_INTEGER frequency;

    sim_os_tls_slot = TlsAlloc();
    if (sim_os_tls_slot >= TLS_MINIMUM_AVAILABLE) {
        /* Slots from 64 on lie elsewhere, where os_inline_windows.h doesn't look. */
        fprintf(stderr, "aero_sim: TLS slot %lu, needs one below %d\n", sim_os_tls_slot,
                TLS_MINIMUM_AVAILABLE);
        abort();
    }
    QueryPerformanceFrequency(&frequency); /* never fails since Windows XP */
    ticks_per_second = (uint64_t)frequency.QuadPart;
}

/* ---- Threads ---- */

static DWORD_PTR process_cpus(void)
{
    DWORD_PTR process = 0, machine = 0;

    return GetProcessAffinityMask(GetCurrentProcess(), &process, &machine) ? process : 1;
}

bool sim_os_cpu_usable(int cpu)
{
    return cpu >= 0 && cpu < (int)(8 * sizeof(DWORD_PTR)) && (process_cpus() >> cpu & 1) != 0;
}

int sim_os_cpu_count(void)
{
    return __builtin_popcountll(process_cpus());
}

bool sim_os_pin(int cpu)
{
    return sim_os_cpu_usable(cpu) && SetThreadAffinityMask(GetCurrentThread(), (DWORD_PTR)1 << cpu) != 0;
}

void sim_os_yield(void)
{
    SwitchToThread();
}

struct sim_os_thread {
    HANDLE handle;
    void (*run)(void *context);
    void *context;
};

#ifdef __i386__
/* Win32 promises a stack aligned to 4, gcc's code wants 16. */
__attribute__((force_align_arg_pointer))
#endif
static DWORD WINAPI
thread_entry(void *argument)
{
    struct sim_os_thread *thread = argument;

    thread->run(thread->context);
    return 0;
}

struct sim_os_thread *sim_os_thread_start(void (*run)(void *context), void *context, int cpu)
{
    struct sim_os_thread *thread;

    if (cpu >= 0 && !sim_os_cpu_usable(cpu))
        return NULL;
    thread = malloc(sizeof *thread);
    if (thread == NULL)
        return NULL;
    thread->run = run;
    thread->context = context;
    thread->handle = CreateThread(NULL, 0, thread_entry, thread, CREATE_SUSPENDED, NULL);
    if (thread->handle == NULL) {
        free(thread);
        return NULL;
    }
    if (cpu >= 0 && SetThreadAffinityMask(thread->handle, (DWORD_PTR)1 << cpu) == 0) {
        /* It has run nothing yet, so nothing is lost with it. */
        TerminateThread(thread->handle, 0);
        CloseHandle(thread->handle);
        free(thread);
        return NULL;
    }
    ResumeThread(thread->handle);
    return thread;
}

void sim_os_thread_join(struct sim_os_thread *thread)
{
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
    free(thread);
}

/* ---- Wait and wake ---- */

void sim_os_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    /* Rounded up: a caller that waits out a deadline must not find itself spinning just before it. */
    uint64_t timeout_ms = timeout_ns / 1000000u + (timeout_ns % 1000000u != 0);
    DWORD wait = timeout_ms >= INFINITE ? INFINITE - 1 : (DWORD)timeout_ms;

    if (timeout_ns == UINT64_MAX)
        wait = INFINITE;
    (void)WaitOnAddress((volatile void *)word, &expected, sizeof expected, wait);
}

void sim_os_wake_one(_Atomic uint32_t *word)
{
    WakeByAddressSingle((void *)word);
}

void sim_os_wake_all(_Atomic uint32_t *word)
{
    WakeByAddressAll((void *)word);
}

/* ---- Clock ---- */

uint64_t sim_os_now_ns(void)
{
    LARGE_INTEGER now;
    uint64_t ticks;

    QueryPerformanceCounter(&now);
    ticks = (uint64_t)now.QuadPart;
    return ticks / ticks_per_second * 1000000000u + ticks % ticks_per_second * 1000000000u / ticks_per_second;
}

/* ---- Address space ---- */

void *sim_os_memory_map(size_t bytes)
{
    return bytes == 0 ? NULL : VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void sim_os_memory_unmap(void *memory, size_t bytes)
{
    (void)bytes;
    if (memory != NULL)
        VirtualFree(memory, 0, MEM_RELEASE);
}

void *sim_os_range_reserve(size_t bytes, size_t alignment)
{
    void *all, *range = NULL;
    int attempt;

    if (bytes == 0 || (alignment & (alignment - 1)) != 0 || alignment > SIZE_MAX - bytes)
        return NULL;
    /*
     * A reservation can't be trimmed: one that is large enough shows where an aligned one fits, and is given
     * back for it. Another thread may be quicker to take the place, hence the loop.
     */
    for (attempt = 0; attempt < 64 && range == NULL; attempt++) {
        all = VirtualAlloc(NULL, bytes + alignment, MEM_RESERVE, PAGE_NOACCESS);
        if (all == NULL)
            return NULL;
        VirtualFree(all, 0, MEM_RELEASE);
        if (alignment > 0)
            all = (uint8_t *)all + (size_t)(-(uintptr_t)all & (alignment - 1));
        range = VirtualAlloc(all, bytes, MEM_RESERVE, PAGE_NOACCESS);
    }
    return range;
}

void sim_os_range_release(void *range, size_t bytes)
{
    (void)bytes;
    if (range != NULL)
        VirtualFree(range, 0, MEM_RELEASE);
}

/* ---- Files ---- */

struct sim_os_file {
    HANDLE handle;
    uint64_t bytes;
    bool read_only;
};

#define TRANSFER_MAX (1u << 30) /* ReadFile and WriteFile count in 32 bits */

/* The reason of a Win32 error on one line, without a full stop; the frequent ones as os_linux.c says them. */
static void reason_of(DWORD code, char *reason, size_t reason_bytes)
{
    size_t length;

    switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
        snprintf(reason, reason_bytes, "No such file or directory");
        return;
    case ERROR_ACCESS_DENIED:
        snprintf(reason, reason_bytes, "Permission denied");
        return;
    case ERROR_SHARING_VIOLATION:
        snprintf(reason, reason_bytes, "another program holds it open");
        return;
    }
    length = FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS |
                                FORMAT_MESSAGE_MAX_WIDTH_MASK,
                            NULL, code, 0, reason, (DWORD)reason_bytes, NULL);
    while (length > 0 && strchr(" .\r\n", reason[length - 1]) != NULL)
        length--;
    reason[length] = 0;
    if (length == 0)
        snprintf(reason, reason_bytes, "Windows error %lu", code);
}

/* Opens the path and finds its size; INVALID_HANDLE_VALUE with the reason in error. */
static HANDLE open_fit(const wchar_t *wide, const char *path, bool read_only, LARGE_INTEGER *size,
                       char *error, size_t error_bytes)
{
    const DWORD sharing =
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE; /* as much as Linux allows */
    DWORD attributes = GetFileAttributesW(wide), code = ERROR_SUCCESS;
    HANDLE handle = INVALID_HANDLE_VALUE;
    char reason[128];

    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
        snprintf(error, error_bytes, "image '%s': is a directory, not a regular file", path);
        return INVALID_HANDLE_VALUE;
    }
    handle = CreateFileW(wide, GENERIC_READ | (read_only ? 0 : GENERIC_WRITE), sharing, NULL, OPEN_EXISTING,
                         FILE_ATTRIBUTE_NORMAL, NULL);
    if (handle == INVALID_HANDLE_VALUE) {
        code = GetLastError();
        reason_of(code, reason, sizeof reason);
        snprintf(error, error_bytes, "image '%s': %s%s", path, reason,
                 code == ERROR_ACCESS_DENIED && !read_only ? " (it must be readable and writable)" : "");
        return INVALID_HANDLE_VALUE;
    }
    if (GetFileType(handle) != FILE_TYPE_DISK) {
        snprintf(error, error_bytes, "image '%s': is a device or pipe, not a regular file", path);
    } else if (!GetFileSizeEx(handle, size)) {
        snprintf(error, error_bytes, "image '%s': its size can't be found out", path);
    } else {
        return handle;
    }
    CloseHandle(handle);
    return INVALID_HANDLE_VALUE;
}

/* The path in UTF-16, to be freed; NULL: it is no UTF-8, or there is no memory. */
static wchar_t *widened(const char *path)
{
    int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    wchar_t *wide = units > 0 ? malloc((size_t)units * sizeof *wide) : NULL;

    if (wide != NULL)
        MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, units);
    return wide;
}

struct sim_os_file *sim_os_file_open(const char *path, bool read_only, char *error, size_t error_bytes)
{
    wchar_t *wide = widened(path);
    struct sim_os_file *file;
    LARGE_INTEGER size;
    HANDLE handle;

    if (wide == NULL) {
        snprintf(error, error_bytes, "image '%s': its path is no UTF-8", path);
        return NULL;
    }
    handle = open_fit(wide, path, read_only, &size, error, error_bytes);
    free(wide);
    if (handle == INVALID_HANDLE_VALUE)
        return NULL;
    file = malloc(sizeof *file);
    if (file == NULL) {
        snprintf(error, error_bytes, "image '%s': out of memory", path);
        CloseHandle(handle);
        return NULL;
    }
    file->handle = handle;
    file->bytes = (uint64_t)size.QuadPart;
    file->read_only = read_only;
    return file;
}

uint64_t sim_os_file_bytes(const struct sim_os_file *file)
{
    return file->bytes;
}

/* All length bytes, to the file or from it, beginning at offset: the handle's own position is nobody's. */
static bool transfer(HANDLE handle, bool to_file, uint64_t offset, uint8_t *bytes, size_t length)
{
    if (offset > INT64_MAX || length > INT64_MAX - offset)
        return false;
    while (length > 0) {
        OVERLAPPED where = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
        DWORD some = length < TRANSFER_MAX ? (DWORD)length : TRANSFER_MAX, done = 0;

        if (!(to_file ? WriteFile(handle, bytes, some, &done, &where)
                      : ReadFile(handle, bytes, some, &done, &where)) ||
            done == 0)
            return false;
        bytes += done;
        offset += done;
        length -= done;
    }
    return true;
}

bool sim_os_file_read(struct sim_os_file *file, uint64_t offset, void *to, size_t length)
{
    return transfer(file->handle, false, offset, to, length);
}

bool sim_os_file_write(struct sim_os_file *file, uint64_t offset, const void *from, size_t length)
{
    return transfer(file->handle, true, offset, (uint8_t *)from, length);
}

/* One after the other: ReadFileScatter and WriteFileGather take whole pages alone, and no cached file. */
static bool transfer_vector(HANDLE handle, bool to_file, uint64_t offset, const struct sim_os_buffer *buffers,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!transfer(handle, to_file, offset, buffers[i].data, buffers[i].length))
            return false;
        offset += buffers[i].length;
    }
    return true;
}

bool sim_os_file_read_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                             size_t count)
{
    return transfer_vector(file->handle, false, offset, buffers, count);
}

bool sim_os_file_write_vector(struct sim_os_file *file, uint64_t offset, const struct sim_os_buffer *buffers,
                              size_t count)
{
    return transfer_vector(file->handle, true, offset, buffers, count);
}

bool sim_os_file_sync(struct sim_os_file *file)
{
    /* A handle without write access can't be flushed, and has nothing to flush. */
    return file->read_only || FlushFileBuffers(file->handle);
}

void sim_os_file_close(struct sim_os_file *file)
{
    if (file == NULL)
        return;
    CloseHandle(file->handle);
    free(file);
}

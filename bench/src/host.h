/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the bench needs from its host beyond os.h: signals, temporary files that don't stay behind, child
 * programs, a terminal, an output file that is never half written. host_linux.c and host_windows.c implement
 * it over host.c. The main thread's alone.
 */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HOST_PATH_MAX 4096

/* MinGW-w64's printf is told to be C99's; gcc must be told so, too. */
#ifdef __MINGW32__
#define HOST_PRINTF(FORMAT, FIRST) __attribute__((format(gnu_printf, FORMAT, FIRST)))
#else
#define HOST_PRINTF(FORMAT, FIRST) __attribute__((format(printf, FORMAT, FIRST)))
#endif

/*
 * Marks what runs in a crash's handler. A crash may interrupt a sanitizer's runtime, which holds locks that the
 * calls it adds to a function would wait for, for ever.
 */
#if defined(__clang__)
#define HOST_IN_CRASH __attribute__((disable_sanitizer_instrumentation))
#else
#define HOST_IN_CRASH __attribute__((no_sanitize("thread", "address", "undefined")))
#endif

/* ---- Signals ---- */

/*
 * The number of the signal that asked the bench to end (SIGINT, SIGTERM, SIGHUP, SIGPIPE), or 0. Measuring
 * loops look at it.
 */
extern volatile sig_atomic_t host_interrupted;

/* From here on such signals only set the above, and a crash removes the temporary files first. */
void host_catch_signals(void);

/* Dies of that signal, as a shell expects. Returns where the host has no such death. */
void host_die_of(int signal_number);

/* ---- Temporary files ---- */

/*
 * Writes the path of a name in this process's private temporary directory (made at first use) to path,
 * HOST_PATH_MAX long. The name may hold slashes. The path is remembered, and removed by host_cleanup. false
 * with one line of reason.
 */
bool host_temp_path(const char *name, char *path, char *error, size_t error_bytes);
bool host_temp_directory(const char *name, char *path, char *error, size_t error_bytes); /* makes it, too */
/* A file of zeros of that many bytes, taking no room where the host can do so. */
bool host_temp_file(const char *name, uint64_t bytes, char *path, char *error, size_t error_bytes);

/* Removes all of it, in reverse order of its making. May be called at any time, from a crash's handler too. */
HOST_IN_CRASH void host_cleanup(void);

/* ---- Programs ---- */

/* Finds a program on PATH and where system programs are. false: there is none. */
bool host_find_program(const char *name, char *path);

/*
 * Runs it and waits; its standard output and error go to the file at output_path. false with one line of
 * reason where it couldn't run or died of a signal; else *status_out is its exit status.
 */
bool host_run(const char *const *arguments, const char *output_path, int *status_out, char *error,
              size_t error_bytes);

/* ---- Output that is whole or not there ---- */

struct host_output {
    FILE *stream;
    char path[HOST_PATH_MAX];      /* what it will be called */
    char temporary[HOST_PATH_MAX]; /* what it is called until then; "" where the path is a device or a pipe */
};

/* Opens it for writing beside its path. false with one line of reason: it can't be written. */
bool host_output_open(struct host_output *output, const char *path, char *error, size_t error_bytes);
/* Closes it and gives it its name, replacing what had it. */
bool host_output_finish(struct host_output *output, char *error, size_t error_bytes);
void host_output_abandon(struct host_output *output);

/*
 * Makes the directory where there is none; host_cleanup removes one that was made if it is empty by then. false
 * with one line of reason: it can't be made, or is no directory.
 */
bool host_output_directory(const char *path, char *error, size_t error_bytes);

/* ---- Facts ---- */

bool host_is_terminal(FILE *stream);
void host_name(char *name, size_t bytes);
uint64_t host_thread_cpu_ns(void); /* of the calling thread; 0 where the host doesn't tell */
long host_process_id(void);
int host_load(
    double loads[3]); /* averages of 1, 5 and 15 minutes; answers how many of them the host tells, or 0 */

/* ---- Between host.c and its two halves ---- */

bool host_make_directory(const char *path, bool shared); /* for its owner alone, or as others are made */
bool host_make_temp_root(char *path); /* a new directory, HOST_PATH_MAX long; tells its path on failure too */
bool host_set_file_bytes(FILE *stream, uint64_t bytes); /* of a file that is empty */
HOST_IN_CRASH void host_remove(const char *path); /* a file or an empty directory; in a crash's handler too */
bool host_replace(const char *from, const char *to);
/*
 * Resolves links; false where nothing has that name. *plain_out: it is an ordinary file. *writable_out: it
 * may be written.
 */
bool host_resolve(const char *path, char *resolved, bool *plain_out, bool *directory_out, bool *writable_out);

#endif

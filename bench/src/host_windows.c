/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * host.h on Windows, over the C run-time library alone: os_windows.c is the one file that sees windows.h.
 * There are no child programs here, since mkfs.ext4 and e2fsck don't exist.
 */
#include "host.h"

#include <direct.h>
#include <errno.h>
#include <io.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Signals ---- */

static void on_end(int signal_number)
{
    host_interrupted = signal_number;
    signal(signal_number, on_end);
}

static void on_abort(int signal_number)
{
    (void)signal_number;
    host_cleanup();
}

void host_catch_signals(void)
{
    signal(SIGINT, on_end);
    signal(SIGTERM, on_end);
    signal(SIGBREAK, on_end);
    signal(SIGABRT, on_abort);
}

void host_die_of(int signal_number)
{
    (void)signal_number;
}

/* ---- Files ---- */

bool host_make_directory(const char *path, bool shared)
{
    (void)shared;
    return _mkdir(path) == 0;
}

bool host_make_temp_root(char *path)
{
    const char *base = getenv("TEMP");
    int i;

    if (base == NULL || base[0] == '\0')
        base = ".";
    for (i = 0; i < 1000; i++) {
        if (snprintf(path, HOST_PATH_MAX, "%s/aero-bench-%ld-%d", base, host_process_id(), i) >=
            HOST_PATH_MAX) {
            errno = ENAMETOOLONG;
            return false;
        }
        if (_mkdir(path) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

bool host_set_file_bytes(FILE *stream, uint64_t bytes)
{
    return _chsize_s(_fileno(stream), (int64_t)bytes) == 0;
}

HOST_IN_CRASH void host_remove(const char *path)
{
    if (_unlink(path) != 0)
        _rmdir(path);
}

/* Not at one blow as on Linux: somebody may see the old file, none, or the new one; never half a file. */
bool host_replace(const char *from, const char *to)
{
    _unlink(to);
    return rename(from, to) == 0;
}

bool host_resolve(const char *path, char *resolved, bool *plain_out, bool *directory_out, bool *writable_out)
{
    struct _stat64 about;

    if (_stat64(path, &about) != 0)
        return false;
    snprintf(resolved, HOST_PATH_MAX, "%s", path);
    *plain_out = (about.st_mode & _S_IFMT) == _S_IFREG;
    *directory_out = (about.st_mode & _S_IFMT) == _S_IFDIR;
    *writable_out = (about.st_mode & _S_IWRITE) != 0;
    return true;
}

/* ---- Programs ---- */

bool host_find_program(const char *name, char *path)
{
    (void)name;
    path[0] = '\0';
    return false;
}

bool host_run(const char *const *arguments, const char *output_path, int *status_out, char *error,
              size_t error_bytes)
{
    (void)output_path;
    (void)status_out;
    snprintf(error, error_bytes, "can't run %s on this host", arguments[0]);
    return false;
}

/* ---- Facts ---- */

bool host_is_terminal(FILE *stream)
{
    return _isatty(_fileno(stream)) != 0;
}

void host_name(char *name, size_t bytes)
{
    const char *known = getenv("COMPUTERNAME");

    snprintf(name, bytes, "%s", known != NULL ? known : "unknown");
}

uint64_t host_thread_cpu_ns(void)
{
    return 0;
}

int host_load(double loads[3])
{
    loads[0] = loads[1] = loads[2] = 0;
    return 0;
}

long host_process_id(void)
{
    return (long)_getpid();
}

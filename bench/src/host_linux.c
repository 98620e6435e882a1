/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * host.h on Linux.
 */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Signals ---- */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
static const int crashes[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction crash_before[sizeof crashes / sizeof crashes[0]];

static void on_end(int signal_number)
{
    host_interrupted = signal_number;
}

/*
 * The kernel has taken this handler away already (SA_RESETHAND). The crash goes where it would have gone
 * without us: to a sanitizer's handler, if there was one, or else it happens again on return, where a signal
 * that was sent is sent again. It may have come in the midst of any library, so that only the kernel is asked
 * for anything here.
 */
HOST_IN_CRASH static void on_crash(int signal_number, siginfo_t *information, void *context)
{
    const struct sigaction *before = NULL;
    size_t i;

    host_cleanup();
    for (i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        if (crashes[i] == signal_number)
            before = &crash_before[i];
    }
    if (before != NULL && (before->sa_flags & SA_SIGINFO))
        before->sa_sigaction(signal_number, information, context);
    else if (information->si_code <= 0)
        syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal_number);
}

void host_catch_signals(void)
{
    struct sigaction action, before;
    size_t i;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_end;
    action.sa_flags = SA_RESTART;
    for (i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        /* What our parent had ignored (nohup) stays so. */
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ends[i], &action, NULL);
    }
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO | (int)SA_RESETHAND;
    for (i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &action, &crash_before[i]);
}

void host_die_of(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* ---- Files ---- */

bool host_make_directory(const char *path, bool shared)
{
    return mkdir(path, shared ? 0777 : 0700) == 0;
}

bool host_make_temp_root(char *path)
{
    const char *base = getenv("TMPDIR");

    if (base == NULL || base[0] == '\0')
        base = "/tmp";
    if (snprintf(path, HOST_PATH_MAX, "%s/aero-bench-XXXXXX", base) >= HOST_PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(path) != NULL;
}

bool host_set_file_bytes(FILE *stream, uint64_t bytes)
{
    return ftruncate(fileno(stream), (off_t)bytes) == 0;
}

/* Called by on_crash, whence the system calls. */
HOST_IN_CRASH void host_remove(const char *path)
{
    if (syscall(SYS_unlinkat, AT_FDCWD, path, 0) != 0)
        syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

bool host_replace(const char *from, const char *to)
{
    return rename(from, to) == 0;
}

bool host_resolve(const char *path, char *resolved, bool *plain_out, bool *directory_out, bool *writable_out)
{
    char *real = realpath(path, NULL);
    struct stat about;
    bool found;

    if (real == NULL)
        return false;
    found = strlen(real) < HOST_PATH_MAX && stat(real, &about) == 0;
    if (found) {
        snprintf(resolved, HOST_PATH_MAX, "%s", real);
        *plain_out = S_ISREG(about.st_mode);
        *directory_out = S_ISDIR(about.st_mode);
        *writable_out = access(real, W_OK) == 0;
    }
    free(real);
    return found;
}

/* ---- Programs ---- */

bool host_find_program(const char *name, char *path)
{
    /* mkfs and fsck live where a plain user's PATH doesn't look. */
    static const char system_places[] = "/usr/local/sbin:/usr/sbin:/sbin";
    const char *lists[] = {getenv("PATH"), system_places};
    const char *at, *end;
    size_t i;

    for (i = 0; i < 2; i++) {
        for (at = lists[i]; at != NULL && *at != '\0'; at = *end == ':' ? end + 1 : end) {
            end = strchrnul(at, ':');
            if (snprintf(path, HOST_PATH_MAX, "%.*s/%s", (int)(end - at), at, name) < HOST_PATH_MAX &&
                access(path, X_OK) == 0)
                return true;
        }
    }
    return false;
}

bool host_run(const char *const *arguments, const char *output_path, int *status_out, char *error,
              size_t error_bytes)
{
    posix_spawn_file_actions_t actions;
    pid_t child, waited;
    int failed, status;

    fflush(NULL);
    failed = posix_spawn_file_actions_init(&actions);
    if (failed) {
        snprintf(error, error_bytes, "can't run %s: %s", arguments[0], strerror(failed));
        return false;
    }
    failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failed)
        failed = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_path,
                                                  O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    if (!failed)
        failed = posix_spawn(&child, arguments[0], &actions, NULL, (char *const *)(void *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        snprintf(error, error_bytes, "can't run %s: %s", arguments[0], strerror(failed));
        return false;
    }
    do {
        waited = waitpid(child, &status, 0);
    } while (waited < 0 && errno == EINTR);
    if (waited != child || !WIFEXITED(status)) {
        snprintf(error, error_bytes, "%s died of signal %d", arguments[0],
                 waited == child ? WTERMSIG(status) : 0);
        return false;
    }
    *status_out = WEXITSTATUS(status);
    return true;
}

/* ---- Facts ---- */

bool host_is_terminal(FILE *stream)
{
    return isatty(fileno(stream)) != 0;
}

void host_name(char *name, size_t bytes)
{
    if (gethostname(name, bytes) != 0)
        snprintf(name, bytes, "unknown");
    name[bytes - 1] = '\0';
}

uint64_t host_thread_cpu_ns(void)
{
    struct timespec time;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int host_load(double loads[3])
{
    int count = getloadavg(loads, 3);

    return count > 0 ? count : 0;
}

long host_process_id(void)
{
    return (long)getpid();
}

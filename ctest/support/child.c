/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Children of a test, on Linux and on Windows; see child.h. Their output goes through a temporary file. */
#include "child.h"

#include <stdio.h>
#include <string.h>

#include "temp_file.h"

#define CHILD_SECONDS 60

#ifdef _WIN32
#include <windows.h>

/* STATUS_BREAKPOINT comes from windows.h here; ntddk.h is not about. */
static bool run(const char *program, const char *option, const char *argument, const char *output,
                struct child_end *end)
{
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    STARTUPINFOA startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION child;
    char line[1024];
    DWORD code = 0;
    BOOL started;

    snprintf(line, sizeof line, "\"%s\" %s %s", program, option ? option : "", argument ? argument : "");
    startup.hStdOutput =
        CreateFileA(output, GENERIC_WRITE, FILE_SHARE_READ, &inherited, CREATE_ALWAYS, 0, NULL);
    startup.hStdError = startup.hStdOutput;
    startup.hStdInput = INVALID_HANDLE_VALUE;
    /* Inherited: no box that asks what to do about a program that crashed. */
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    started = CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child);
    CloseHandle(startup.hStdOutput);
    if (!started)
        return false;
    if (WaitForSingleObject(child.hProcess, CHILD_SECONDS * 1000) != WAIT_OBJECT_0) {
        TerminateProcess(child.hProcess, (UINT)-1);
        WaitForSingleObject(child.hProcess, INFINITE);
    }
    GetExitCodeProcess(child.hProcess, &code);
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    end->trapped = code == (DWORD)STATUS_BREAKPOINT;
    end->status = (int)code;
    return true;
}
#else
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between fork and exec nothing but system calls. Alarm and limit outlive the exec; a death leaves no core. */
static void become(char *const arguments[], const char *output)
{
    int file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (file >= 0 && dup2(file, STDOUT_FILENO) >= 0 && dup2(file, STDERR_FILENO) >= 0) {
        alarm(CHILD_SECONDS);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        execv(arguments[0], arguments);
    }
    _exit(127);
}

static bool run(const char *program, const char *option, const char *argument, const char *output,
                struct child_end *end)
{
    char *arguments[4] = {(char *)program};
    int count = 1;
    int status = 0;
    pid_t child;

    if (option)
        arguments[count++] = (char *)option;
    if (argument)
        arguments[count++] = (char *)argument;
    child = fork();
    if (child == 0)
        become(arguments, output);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    end->trapped = WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP;
    end->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return end->status != 127;
}
#endif

bool child_run(const char *program, const char *option, const char *argument, struct child_end *end)
{
    char path[TEMP_FILE_PATH_MAX];
    FILE *file;
    bool good;

    memset(end, 0, sizeof *end);
    temp_file_path(path, "child");
    good = run(program, option, argument, path, end);
    file = fopen(path, "rb");
    if (file) {
        end->output[fread(end->output, 1, sizeof end->output - 1, file)] = '\0';
        fclose(file);
    }
    temp_file_remove(path);
    return good && file;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A program run from a test, to see how it ends: for what would end the test's own process. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>

#define CHILD_OUTPUT_MAX 4096

struct child_end {
    bool trapped;                  /* by SIGTRAP, or with the exit code STATUS_BREAKPOINT */
    int status;                    /* else the exit status; -1 for any other end */
    char output[CHILD_OUTPUT_MAX]; /* the beginning of what it wrote on stdout and stderr */
};

/*
 * Runs the program and waits for it, 60 s at most: then it is ended. false: it could not be started. option
 * and argument may be NULL; neither holds a space or a quotation mark.
 */
bool child_run(const char *program, const char *option, const char *argument, struct child_end *end);

#endif

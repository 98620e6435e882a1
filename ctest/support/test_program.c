/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The test programs' command line; see test_program.h. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_program.h"

#include "aero_nt.h"

static const char help[] =
    "Usage: %s [--break-on-breach] [--list] [PATTERN]\n"
    "\n"
    "Runs its tests, or those whose names match PATTERN, in which * is any text and ? any character.\n"
    "\n"
    "  --break-on-breach  where the driver's side breaks a rule of the kernel or of the contract, says\n"
    "                     which, and raises SIGTRAP, on Windows a breakpoint exception, for a debugger to\n"
    "                     stop at the culprit. Tests that break rules on purpose stop there as well.\n"
    "  --list             prints their names instead of running them\n"
    "  --help             prints this\n";

/* The name without folders, and without Windows' ".exe". */
static const char *program_name(const char *path)
{
    static char name[64];
    const char *at;

    for (at = path; *at != '\0'; at++)
        if (*at == '/' || *at == '\\')
            path = at + 1;
    snprintf(name, sizeof name, "%s", path);
    if (strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".exe") == 0)
        name[strlen(name) - 4] = '\0';
    return name;
}

/* As CMocka matches its filter. */
static bool matches(const char *pattern, const char *name)
{
    if (*pattern == '*')
        return matches(pattern + 1, name) || (*name != '\0' && matches(pattern, name + 1));
    if (*pattern == '\0' || *name == '\0')
        return *pattern == *name;
    return (*pattern == '?' || *pattern == *name) && matches(pattern + 1, name + 1);
}

/* Makes CMocka run those that match, or prints them. */
static void choose(const char *program, const char *pattern, bool list, const struct CMUnitTest *tests,
                   size_t count)
{
    size_t chosen = 0;

    for (size_t i = 0; i < count; i++)
        if (matches(pattern, tests[i].name)) {
            chosen++;
            if (list)
                printf("%s\n", tests[i].name);
        }
    if (chosen == 0) {
        fprintf(stderr, "%s: no test matches '%s' (--list prints their names)\n", program, pattern);
        exit(2);
    }
    if (list)
        exit(0);
    cmocka_set_test_filter(pattern);
}

void test_program_obey(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    const char *program = program_name(argc > 0 ? argv[0] : "test");
    const char *pattern = NULL;
    bool list = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--break-on-breach") == 0) {
            aero_nt_break_on_breach(true);
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf(help, program);
            exit(0);
        } else if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (argv[i][0] == '-') {
            fprintf(stderr, "%s: unknown option: %s (--help lists what there is)\n", program, argv[i]);
            exit(2);
        } else if (pattern != NULL) {
            fprintf(stderr, "%s: one pattern at most, and '%s' is the second\n", program, argv[i]);
            exit(2);
        } else {
            pattern = argv[i];
        }
    }
    choose(program, pattern != NULL ? pattern : "*", list, tests, count);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The command line that every CMocka program of this folder has; --help prints it. Called once, by main,
 * before the tests.
 */
#ifndef TEST_PROGRAM_H
#define TEST_PROGRAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * Obeys the options: --break-on-breach (aero_nt_break_on_breach), a pattern that chooses tests, --list and
 * --help. Ends the program with status 0 after the latter two, and with status 2 and one line on stderr for
 * what it doesn't understand, or for a pattern that chooses no test.
 */
void test_program_obey(int argc, char **argv, const struct CMUnitTest *tests, size_t count);

/* tests: the array itself. */
#define test_program(argc, argv, tests) \
    test_program_obey((argc), (argv), (tests), sizeof(tests) / sizeof((tests)[0]))

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's regular expressions: what they match, what they refuse, that nothing makes them slow; and,
 * where the host has regcomp, that they agree with it on thousands of made-up expressions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/pattern.c"
#include "test_program.h"

#ifndef _WIN32
#include <regex.h>
#endif

static bool matches(const char *expression, const char *text)
{
    char error[200];
    struct bench_pattern *pattern = pattern_compile(expression, error, sizeof error);
    bool answer;

    assert_non_null(pattern);
    answer = pattern_matches(pattern, text);
    pattern_free(pattern);
    return answer;
}

static void assert_refused(const char *expression, const char *reason)
{
    char error[200] = "";

    assert_null(pattern_compile(expression, error, sizeof error));
    assert_non_null(strstr(error, reason));
}

static void test_pattern_plain_text_matches_anywhere(void **state)
{
    assert_true(matches("poll", "ring/poll/256"));
    assert_true(matches("", "anything"));
    assert_true(matches("", ""));
    assert_false(matches("poll", "ring/pol"));
    assert_false(matches("poll", ""));
}

static void test_pattern_anchors_bind_to_the_ends(void **state)
{
    assert_true(matches("^ring/poll/256$", "ring/poll/256"));
    assert_false(matches("^ring/poll/256$", "ring/poll/256/batch:1"));
    assert_false(matches("^poll", "ring/poll"));
    assert_true(matches("^$", ""));
    assert_true(matches("^mmio|poll$", "ring/poll"));
}

static void test_pattern_sets_and_ranges(void **state)
{
    assert_true(matches("read[0-9]+$", "mmio/read32"));
    assert_false(matches("read[^0-9]", "mmio/read8"));
    assert_true(matches("[]x]", "a]"));
    assert_true(matches("[a-]", "-"));
    assert_true(matches("[^]]", "a"));
    assert_true(matches("a.c", "a/c"));
    assert_false(matches("a.c", "ac"));
    assert_true(matches("[.]", "a.c"));
    assert_false(matches("[.]", "abc"));
}

static void test_pattern_repeats(void **state)
{
    assert_true(matches("^ab*c$", "ac"));
    assert_true(matches("^ab*c$", "abbbc"));
    assert_false(matches("^ab+c$", "ac"));
    assert_true(matches("^ab?c$", "abc"));
    assert_false(matches("^ab?c$", "abbc"));
    assert_true(matches("^(ab)+$", "abab"));
    assert_false(matches("^(ab)+$", "aba"));
    assert_true(matches("^(a|bc)*d$", "abcabcd"));
}

static void test_pattern_escapes_take_the_meaning_away(void **state)
{
    assert_true(matches("a\\.c", "a.c"));
    assert_false(matches("a\\.c", "abc"));
    assert_true(matches("\\$\\(\\)", "$()"));
}

static void test_pattern_wrong_expressions_are_refused_with_a_reason(void **state)
{
    assert_refused("(", "without its )");
    assert_refused("a)", "without its (");
    assert_refused("[ab", "without its ]");
    assert_refused("*a", "nothing before it");
    assert_refused("a|+", "nothing before it");
    assert_refused("a{2}", "{m,n}");
    assert_refused("[[:alpha:]]", "classes");
    assert_refused("[z-a]", "backwards");
    assert_refused("\\", "special character");
    assert_refused("\\d", "special character");
}

static void test_pattern_too_long_an_expression_is_refused(void **state)
{
    char longest[EXPRESSION_MAX + 2], error[200];
    struct bench_pattern *pattern;

    /* Each of these characters makes as many instructions as any does. */
    memset(longest, '|', sizeof longest);
    longest[EXPRESSION_MAX] = '\0';
    pattern = pattern_compile(longest, error, sizeof error);
    assert_non_null(pattern);
    assert_true(pattern->count <= PROGRAM_MAX);
    pattern_free(pattern);
    longest[EXPRESSION_MAX] = '|';
    longest[EXPRESSION_MAX + 1] = '\0';
    assert_refused(longest, "more than");
}

/* A backtracking matcher would take longer than the universe has been there. */
static void test_pattern_nested_repeats_are_no_trap(void **state)
{
    char text[101];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(matches("^((a*)*)*b$", text));
    assert_false(matches("^(a|a|aa)+$b", text));
    assert_true(matches("((((a?)+)*)+)", text));
}

#ifndef _WIN32
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/*
 * A random expression of the syntax that both know, without what POSIX leaves open (a * behind a * or an
 * anchor).
 */
static void make_expression(uint32_t *seed, char *to, int depth)
{
    static const char *const atoms[] = {"a", "b", "c", "/", ".", "[ab]", "[^a]", "[b-c]", "\\."};
    static const char *const repeats[] = {"", "", "", "*", "+", "?"};
    uint32_t pieces = next_random(seed) % 4 + 1;

    for (; pieces > 0; pieces--) {
        if (depth < 3 && next_random(seed) % 4 == 0) {
            strcat(to, "(");
            make_expression(seed, to, depth + 1);
            if (next_random(seed) % 2 == 0) {
                strcat(to, "|");
                make_expression(seed, to, depth + 1);
            }
            strcat(to, ")");
        } else {
            strcat(to, atoms[next_random(seed) % 9]);
        }
        strcat(to, repeats[next_random(seed) % 6]);
    }
}

static void test_pattern_agrees_with_the_hosts_regcomp(void **state)
{
    uint32_t seed = 1, compared = 0;

    for (uint32_t turn = 0; turn < 4000; turn++) {
        char expression[4096] = "", text[16];
        regex_t reference;

        if (next_random(&seed) % 4 == 0)
            strcat(expression, "^");
        make_expression(&seed, expression, 0);
        if (next_random(&seed) % 4 == 0)
            strcat(expression, "$");
        if (strlen(expression) > EXPRESSION_MAX)
            continue;
        assert_int_equal(regcomp(&reference, expression, REG_EXTENDED | REG_NOSUB), 0);
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t length = next_random(&seed) % (sizeof text - 1);
            bool expected;

            for (uint32_t at = 0; at < length; at++)
                text[at] = "abc/."[next_random(&seed) % 5];
            text[length] = '\0';
            expected = regexec(&reference, text, 0, NULL, 0) == 0;
            if (matches(expression, text) != expected)
                fail_msg("\"%s\" on \"%s\": regcomp says %d", expression, text, expected);
            compared++;
        }
        regfree(&reference);
    }
    assert_true(compared > 10000);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_plain_text_matches_anywhere),
        cmocka_unit_test(test_pattern_anchors_bind_to_the_ends),
        cmocka_unit_test(test_pattern_sets_and_ranges),
        cmocka_unit_test(test_pattern_repeats),
        cmocka_unit_test(test_pattern_escapes_take_the_meaning_away),
        cmocka_unit_test(test_pattern_wrong_expressions_are_refused_with_a_reason),
        cmocka_unit_test(test_pattern_too_long_an_expression_is_refused),
        cmocka_unit_test(test_pattern_nested_repeats_are_no_trap),
#ifndef _WIN32
        cmocka_unit_test(test_pattern_agrees_with_the_hosts_regcomp),
#endif
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

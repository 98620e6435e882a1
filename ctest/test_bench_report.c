/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the bench writes: figures as the table shows them, JSON that is well-formed and has the keys that
 * Google Benchmark's compare.py reads, and an output file that is whole or not there.
 */
#define _GNU_SOURCE /* for host_linux.c below */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/clock.c"
#include "../bench/src/host.c"
#include "../bench/src/json.c"
#include "../bench/src/machine.c"
#include "../bench/src/stats.c"
#include "../bench/src/table.c"
#ifdef _WIN32
#include "../bench/src/host_windows.c"
#else
#include "../bench/src/host_linux.c"
#endif

#include "capture.h"
#include "temp_file.h"
#include "test_program.h"

/* ---- The table's figures ---- */

static const char *as_ns(double ns)
{
    static char text[32];

    table_format_ns(ns, text, sizeof text);
    return text;
}

static const char *as_rate(double rate)
{
    static char text[32];

    table_format_rate(rate, text, sizeof text);
    return text;
}

static const char *as_ratio(double ratio)
{
    static char text[32];

    table_format_ratio(ratio, text, sizeof text);
    return text;
}

static void test_table_times_have_as_many_digits_as_mean_something(void **state)
{
    assert_string_equal(as_ns(0), "0.00");
    assert_string_equal(as_ns(4.256), "4.26");
    assert_string_equal(as_ns(9.996), "10.0");
    assert_string_equal(as_ns(116.04), "116.0");
    assert_string_equal(as_ns(999.96), "1000");
    assert_string_equal(as_ns(61234.5678), "61235");
}

static void test_table_rates_have_a_unit(void **state)
{
    assert_string_equal(as_rate(-1), "-");
    assert_string_equal(as_rate(12), "12.0  ");
    assert_string_equal(as_rate(999.6), "1.00 k");
    assert_string_equal(as_rate(10.71e6), "10.7 M");
    assert_string_equal(as_rate(125e6), "125 M");
    assert_string_equal(as_rate(2e12), "2000 G");
}

static void test_table_ratios_are_exact_where_they_are_whole(void **state)
{
    assert_string_equal(as_ratio(-1), "-");
    assert_string_equal(as_ratio(0), "0");
    assert_string_equal(as_ratio(1), "1");
    assert_string_equal(as_ratio(1.0 / 32), "0.0312");
    assert_string_equal(as_ratio(1.25), "1.250");
}

/* ---- JSON ---- */

static char text[65536];

static const char *skip_value(const char *at);

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \r\n");
}

static const char *skip_string(const char *at)
{
    assert_int_equal(*at, '"');
    for (at++; *at != '"'; at++) {
        assert_true((unsigned char)*at >= 0x20);
        if (*at == '\\') {
            at++;
            assert_non_null(strchr("\"\\u", *at));
        }
    }
    return at + 1;
}

/* Past the members of an object or a list: at is behind its first bracket. */
static const char *skip_members(const char *at, char end, bool named)
{
    at = skip_space(at);
    if (*at == end)
        return at + 1;
    for (;;) {
        if (named) {
            at = skip_space(skip_string(skip_space(at)));
            assert_int_equal(*at++, ':');
        }
        at = skip_space(skip_value(skip_space(at)));
        if (*at == end)
            return at + 1;
        assert_int_equal(*at++, ',');
        at = skip_space(at);
    }
}

/* Fails where what stands at `at` is no JSON value. */
static const char *skip_value(const char *at)
{
    char *end;

    if (*at == '{')
        return skip_members(at + 1, '}', true);
    if (*at == '[')
        return skip_members(at + 1, ']', false);
    if (*at == '"')
        return skip_string(at);
    if (strncmp(at, "true", 4) == 0)
        return at + 4;
    if (strncmp(at, "false", 5) == 0)
        return at + 5;
    assert_non_null(strchr("-0123456789", *at));
    strtod(at, &end);
    assert_ptr_not_equal(end, at);
    return end;
}

static void assert_json(void)
{
    assert_string_equal(skip_space(skip_value(skip_space(text))), "");
}

static uint32_t occurrences(const char *part)
{
    uint32_t found = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        found++;
    return found;
}

static void write_awkward_string(FILE *stream)
{
    json_write_string(stream, "a\"b\\c\nd\x01z");
}

static void test_json_strings_are_escaped(void **state)
{
    capture(write_awkward_string, text, sizeof text);
    assert_string_equal(text, "\"a\\\"b\\\\c\\u000ad\\u0001z\"");
}

static struct bench_session session;
static struct bench_figures figures[2][3];
static const struct bench_row rows[] = {{.name = "ring/poll/256"}, {.name = "limit/wake"}};
static struct bench_result results[2];

static void write_results(FILE *stream)
{
    json_write(stream, &session, "C:\\bench \"x\"", results, 2);
}

/* Two rows: one with everything, one without items/s and doorbells; each so many times. */
static void set_results(uint32_t repetitions)
{
    memset(&session, 0, sizeof session);
    memset(results, 0, sizeof results);
    session.options.device = "loopback";
    session.options.repetitions = repetitions;
    session.options.quirks[session.options.quirk_count++] = "lost-intx";
    session.options.driver_cpu = session.options.device_cpu = -1;
    for (uint32_t row = 0; row < 2; row++) {
        results[row].row = &rows[row];
        results[row].figures = figures[row];
        results[row].count = repetitions;
        for (uint32_t i = 0; i < repetitions; i++)
            figures[row][i] = (struct bench_figures){.samples = 10,
                                                     .batch = 4,
                                                     .items = 40,
                                                     .real_ns = 100 + i,
                                                     .cpu_ns = 90,
                                                     .items_per_second = row == 0 ? 1e7 : -1,
                                                     .doorbells_per_item = row == 0 ? 0.25 : -1,
                                                     .interrupts_per_item = row == 0 ? 0 : -1,
                                                     .spread = {99, 101, 102, 103, 104}};
    }
}

static void test_json_of_one_repetition_has_iterations_alone(void **state)
{
    set_results(1);
    capture(write_results, text, sizeof text);
    assert_json();
    assert_int_equal(occurrences("\"run_type\": \"iteration\""), 2);
    assert_int_equal(occurrences("\"run_type\": \"aggregate\""), 0);
    assert_int_equal(occurrences("\"iterations\": 40,"), 2);
    assert_int_equal(occurrences("\"items_per_second\": 1.000000e+07"), 1);
    assert_int_equal(occurrences("\"doorbells_per_item\": 2.500000e-01"), 1);
    assert_int_equal(occurrences("\"p999_ns\": 1.030000e+02"), 2);
    assert_int_equal(occurrences("\"library_build_type\""), 1);
    assert_int_equal(occurrences("\"executable\": \"C:\\\\bench \\\"x\\\"\""), 1);
}

static void test_json_of_several_repetitions_adds_aggregates(void **state)
{
    set_results(3);
    capture(write_results, text, sizeof text);
    assert_json();
    assert_int_equal(occurrences("\"run_type\": \"iteration\""), 6);
    assert_int_equal(occurrences("\"run_type\": \"aggregate\""), 6);
    assert_int_equal(occurrences("\"repetitions\": 3,"), 12);
    assert_int_equal(occurrences("\"repetition_index\": 2,"), 2);
    assert_int_equal(occurrences("\"name\": \"limit/wake_median\""), 1);
    assert_int_equal(occurrences("\"aggregate_name\": \"mean\""), 2);
    assert_int_equal(occurrences("\"real_time\": 1.010000e+02"),
                     6); /* twice: the second, the mean, the median */
    assert_int_equal(occurrences("\"real_time\": 1.000000e+00"), 2); /* the deviation of 100, 101, 102 */
}

static void test_json_of_a_failed_row_says_so_and_why(void **state)
{
    set_results(1);
    results[1].count = 0;
    snprintf(results[1].failure, sizeof results[1].failure, "no \"interrupt\"");
    capture(write_results, text, sizeof text);
    assert_json();
    assert_int_equal(occurrences("\"error_occurred\": true"), 1);
    assert_int_equal(occurrences("\"error_message\": \"no \\\"interrupt\\\"\""), 1);
}

/* ---- Output files ---- */

static struct host_output output;
static char error[512];

static void test_output_appears_under_its_name_only_when_it_is_whole(void **state)
{
    char path[TEMP_FILE_PATH_MAX], read[3];

    temp_file_path(path, "bench-output");
    assert_true(temp_file_create(path, 1000));
    assert_true(host_output_open(&output, path, error, sizeof error));
    fputs("new", output.stream);
    fflush(output.stream);
    assert_true(temp_file_size(path) == 1000); /* the old one, until then */
    assert_true(host_output_finish(&output, error, sizeof error));
    assert_true(temp_file_size(path) == 3);
    assert_true(temp_file_read(path, 0, read, 3));
    assert_memory_equal(read, "new", 3);
    assert_true(temp_file_size(output.temporary) == UINT64_MAX);
    assert_true(temp_file_remove(path));
}

static void test_output_that_is_abandoned_leaves_what_was_there(void **state)
{
    char path[TEMP_FILE_PATH_MAX];

    temp_file_path(path, "bench-output");
    assert_true(temp_file_create(path, 1000));
    assert_true(host_output_open(&output, path, error, sizeof error));
    fputs("new", output.stream);
    host_output_abandon(&output);
    assert_true(temp_file_size(path) == 1000);
    assert_true(temp_file_size(output.temporary) == UINT64_MAX);
    assert_true(temp_file_remove(path));
}

static void test_output_that_can_not_be_is_refused_at_once(void **state)
{
    assert_false(host_output_open(&output, "no-such-folder/x.json", error, sizeof error));
    assert_non_null(strstr(error, "no-such-folder/x.json"));
    assert_false(host_output_open(&output, ".", error, sizeof error));
    assert_non_null(strstr(error, "directory"));
    assert_false(host_output_open(&output, "", error, sizeof error));
    assert_non_null(strstr(error, "empty"));
}

/* ---- Temporary files ---- */

static void test_temporary_files_are_gone_after_cleanup(void **state)
{
    char folder[HOST_PATH_MAX], file[HOST_PATH_MAX], again[HOST_PATH_MAX], inner[HOST_PATH_MAX];

    assert_true(host_temp_directory("folder", folder, error, sizeof error));
    assert_true(host_temp_file("folder/file", 12345, file, error, sizeof error));
    assert_true(temp_file_size(file) == 12345);
    assert_true(host_temp_file("folder/file", 5, again, error, sizeof error));
    assert_string_equal(file, again);
    assert_true(temp_file_size(file) == 5);
    assert_true(host_temp_path("folder/never-made", inner, error, sizeof error));
    host_cleanup();
    assert_true(temp_file_size(file) == UINT64_MAX);
    assert_false(host_make_directory(inner, false)); /* the folder around it is gone, too */
    host_cleanup();

    /* And then it begins anew. */
    assert_true(host_temp_file("file", 1, file, error, sizeof error));
    assert_true(temp_file_size(file) == 1);
    host_cleanup();
    assert_true(temp_file_size(file) == UINT64_MAX);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_times_have_as_many_digits_as_mean_something),
        cmocka_unit_test(test_table_rates_have_a_unit),
        cmocka_unit_test(test_table_ratios_are_exact_where_they_are_whole),
        cmocka_unit_test(test_json_strings_are_escaped),
        cmocka_unit_test(test_json_of_one_repetition_has_iterations_alone),
        cmocka_unit_test(test_json_of_several_repetitions_adds_aggregates),
        cmocka_unit_test(test_json_of_a_failed_row_says_so_and_why),
        cmocka_unit_test(test_output_appears_under_its_name_only_when_it_is_whole),
        cmocka_unit_test(test_output_that_is_abandoned_leaves_what_was_there),
        cmocka_unit_test(test_output_that_can_not_be_is_refused_at_once),
        cmocka_unit_test(test_temporary_files_are_gone_after_cleanup),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

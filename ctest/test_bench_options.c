/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's command line: defaults, each option in both of its forms, and for each mistake one line that
 * says what, where and what would be right. The filter runs over a small catalogue of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/choose.c"
#include "../bench/src/options.c"
#include "../bench/src/pattern.c"
#include "../bench/src/suggest.c"

#include "temp_file.h"
#include "test_program.h"

static const struct bench_row small_catalogue[] = {{.name = "limit/wake"},
                                                   {.name = "mmio/read8"},
                                                   {.name = "mmio/read16"},
                                                   {.name = "ring/poll/256"},
                                                   {.name = "sweep/2", .with = {.swept = true}}};

const struct bench_row *bench_row_at(size_t index)
{
    return index < 5 ? &small_catalogue[index] : NULL;
}

static struct bench_options options;
static char error[512];

/* Takes up to four arguments behind the program's name. */
static bool parse(const char *a, const char *b, const char *c, const char *d)
{
    const char *argv[] = {"aero-bench", a, b, c, d, NULL};
    int argc = 1;

    while (argv[argc] != NULL)
        argc++;
    memset(error, 0, sizeof error);
    return options_parse(argc, argv, &options, error, sizeof error);
}

static void assert_one_line_with(const char *text)
{
    assert_true(error[0] != '\0');
    assert_null(strchr(error, '\n'));
    if (strstr(error, text) == NULL)
        fail_msg("\"%s\" should say \"%s\"", error, text);
}

/* The parser, or else the check, refuses it, and says so with this text. */
static void assert_wrong(const char *a, const char *b, const char *text)
{
    if (parse(a, b, NULL, NULL) && options_check(&options, error, sizeof error))
        fail_msg("%s %s was accepted", a, b != NULL ? b : "");
    assert_one_line_with(text);
}

/* ---- What is right ---- */

static void test_options_nothing_given_runs_with_defaults(void **state)
{
    assert_true(parse(NULL, NULL, NULL, NULL));
    assert_int_equal(options.verb, VERB_RUN);
    assert_null(options.filter);
    assert_null(options.json);
    assert_null(options.image);
    assert_string_equal(options.device, "loopback");
    assert_int_equal(options.repetitions, 1);
    assert_int_equal(options.seed, OPTIONS_SEED_DEFAULT);
    assert_int_equal(options.quirk_count, 0);
    assert_false(options.smoke);
}

static void test_options_values_come_as_next_argument_or_behind_an_equals_sign(void **state)
{
    assert_true(parse("run", "--repetitions", "12", "--filter=a=b"));
    assert_int_equal(options.repetitions, 12);
    assert_string_equal(options.filter, "a=b");
    assert_true(parse("--seed=0xFFFFFFFFFFFFFFFF", "--smoke", "--pin", "3,17"));
    assert_true(options.seed == UINT64_MAX);
    assert_true(options.smoke);
    assert_int_equal(options.driver_cpu, 3);
    assert_int_equal(options.device_cpu, 17);
}

static void test_options_the_last_of_two_counts_and_quirks_add_up(void **state)
{
    assert_true(parse("--seed=1", "--seed=2", "--quirk=a", "--quirk=b"));
    assert_int_equal(options.seed, 2);
    assert_int_equal(options.quirk_count, 2);
    assert_true(parse("--quirk=a", "--quirk=a", NULL, NULL));
    assert_int_equal(options.quirk_count, 1);
}

static void test_options_verbs_and_lists(void **state)
{
    assert_true(parse("list", NULL, NULL, NULL));
    assert_int_equal(options.verb, VERB_LIST);
    assert_int_equal(options.list, LIST_ALL);
    assert_true(parse("list", "quirks", NULL, NULL));
    assert_int_equal(options.list, LIST_QUIRKS);
    assert_true(parse("--help", NULL, NULL, NULL));
    assert_int_equal(options.verb, VERB_HELP);
    assert_true(parse("--version", NULL, NULL, NULL));
    assert_int_equal(options.verb, VERB_VERSION);
}

static void test_options_check_finds_known_devices_and_quirks(void **state)
{
    assert_true(parse("--device=blk", "--quirk=lost-intx", NULL, NULL));
    assert_true(options_check(&options, error, sizeof error));
}

static void test_options_check_pins_to_two_usable_cpus_or_none(void **state)
{
    assert_true(parse(NULL, NULL, NULL, NULL));
    assert_true(options_check(&options, error, sizeof error));
    if (sim_os_cpu_count() < 2) {
        assert_int_equal(options.driver_cpu, -1);
        assert_int_equal(options.device_cpu, -1);
        return;
    }
    assert_true(sim_os_cpu_usable(options.driver_cpu));
    assert_true(sim_os_cpu_usable(options.device_cpu));
    assert_int_not_equal(options.driver_cpu, options.device_cpu);
}

/* ---- What is wrong ---- */

static void test_options_unknown_words_are_refused_with_what_is_near(void **state)
{
    assert_wrong("rum", NULL, "did you mean run?");
    assert_wrong("--filtre", "x", "did you mean --filter?");
    assert_wrong("--nonsense", NULL, "--help lists them");
    assert_wrong("list", "quirk", "did you mean quirks?");
    assert_wrong("list", "nonsense", "benchmarks, devices or quirks");
    assert_wrong("--quirk", "lost-intr", "did you mean lost-intx?");
    assert_wrong("--quirk", "nonsense", "list quirks");
    assert_wrong("--device", "blok", "did you mean blk?");
    assert_wrong("--device", "", "no such device");
    assert_wrong("--smoke", "run", "the verb comes first");
    assert_wrong("run", "run", "one verb at a time: \"run\" is one too many");
    assert_wrong("run", "list", "\"list\" is one too many");
    assert_wrong("run", "rum", "run takes options alone: \"rum\" is too much");
}

static void test_options_wrong_values_are_refused_with_what_would_be_right(void **state)
{
    assert_wrong("--repetitions", "0", "from 1 to 1000");
    assert_wrong("--repetitions", "1001", "from 1 to 1000");
    assert_wrong("--repetitions", "-1", "from 1 to 1000");
    assert_wrong("--repetitions", "3x", "from 1 to 1000");
    assert_wrong("--repetitions", "", "from 1 to 1000");
    assert_wrong("--seed", "18446744073709551616", "from 0 to 2^64 - 1");
    assert_wrong("--seed", "+1", "from 0 to 2^64 - 1");
    assert_wrong("--seed", "0x", "from 0 to 2^64 - 1");
    assert_wrong("--pin", "0", "such as 0,1");
    assert_wrong("--pin", "0,1,2", "such as 0,1");
    assert_wrong("--pin", "a,1", "such as 0,1");
    assert_wrong("--pin", "1,1", "a CPU each");
    assert_wrong("--smoke=yes", NULL, "takes no value");
    assert_wrong("--filter", NULL, "value is missing");
    assert_wrong("--json", "", "empty");
    assert_wrong("--image", "", "empty");
}

static void test_options_more_quirks_than_there_is_room_for_are_refused(void **state)
{
    static char names[OPTIONS_QUIRKS_MAX + 1][16];
    const char *argv[OPTIONS_QUIRKS_MAX + 2] = {"aero-bench"};

    for (size_t i = 0; i <= OPTIONS_QUIRKS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "--quirk=q%u", (unsigned)i);
        argv[i + 1] = names[i];
    }
    assert_true(options_parse(OPTIONS_QUIRKS_MAX + 1, argv, &options, error, sizeof error));
    assert_false(options_parse(OPTIONS_QUIRKS_MAX + 2, argv, &options, error, sizeof error));
    assert_one_line_with("more than");
}

static void test_options_a_pinning_that_the_machine_lacks_is_refused(void **state)
{
    char pin[32];
    int usable = 0;

    while (!sim_os_cpu_usable(usable))
        usable++;
    snprintf(pin, sizeof pin, "%d,60000", usable);
    assert_wrong("--pin", pin, "CPU 60000 can't be used here");
    snprintf(pin, sizeof pin, "60000,%d", usable);
    assert_wrong("--pin", pin, "CPU 60000 can't be used here");
}

static void test_options_images_that_are_none_are_refused(void **state)
{
    char path[TEMP_FILE_PATH_MAX];

    temp_file_path(path, "bench-options.img");
    assert_wrong("--image", path, path);
    assert_true(temp_file_create(path, 0));
    assert_wrong("--image", path, "empty");
    assert_true(temp_file_create(path, 700));
    assert_wrong("--image", path, "no multiple");
    assert_wrong("--image", ".", "directory");
    assert_true(temp_file_create(path, 1024));
    assert_true(parse("--image", path, NULL, NULL));
    assert_true(options_check(&options, error, sizeof error));
    assert_true(temp_file_remove(path));
}

/* ---- Near names ---- */

static void test_suggest_counts_a_swap_of_neighbours_as_one_mistake(void **state)
{
    assert_int_equal(edit_distance("read", "raed"), 1);
    assert_int_equal(edit_distance("kick", "kcik"), 1);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(edit_distance("same", "same"), 0);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
}

static void test_suggest_fits_any_room(void **state)
{
    char small[24] = "no such option";

    suggest_names("--filtre", option_name, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

/* ---- Filters ---- */

static struct bench_result results[5];
static size_t count;

static bool choose(const char *filter)
{
    memset(error, 0, sizeof error);
    options.filter = filter;
    return choose_rows(&options, results, 5, &count, error, sizeof error);
}

static void test_choose_takes_what_matches_in_order(void **state)
{
    assert_true(parse(NULL, NULL, NULL, NULL));
    assert_true(choose("^mmio/|wake"));
    assert_int_equal(count, 3);
    assert_string_equal(results[0].row->name, "limit/wake");
    assert_string_equal(results[2].row->name, "mmio/read16");
}

static void test_choose_takes_sweeps_only_where_something_asks_for_them(void **state)
{
    assert_true(parse("run", NULL, NULL, NULL) && choose(NULL));
    assert_int_equal(count, 4);
    assert_string_equal(results[3].row->name, "ring/poll/256");
    assert_true(parse("--sweeps", NULL, NULL, NULL) && choose(NULL));
    assert_int_equal(count, 5);
    assert_string_equal(results[4].row->name, "sweep/2");
    assert_true(parse("--smoke", NULL, NULL, NULL) && choose(NULL));
    assert_int_equal(count, 5);
    assert_true(parse("--report", "somewhere", NULL, NULL) && choose(NULL));
    assert_int_equal(count, 5);
    assert_true(parse("run", NULL, NULL, NULL) && choose("^sweep/"));
    assert_int_equal(count, 1);
}

static void test_choose_a_filter_that_matches_nothing_is_refused_with_what_is_near(void **state)
{
    assert_false(choose("ring/pol/256"));
    assert_one_line_with("did you mean ring/poll/256?");
    assert_false(choose("mimo"));
    assert_one_line_with("did you mean mmio/read8 or mmio/read16?");
    assert_false(choose("nonsense"));
    assert_one_line_with("list benchmarks");
    assert_false(choose("("));
    assert_one_line_with("without its )");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_nothing_given_runs_with_defaults),
        cmocka_unit_test(test_options_values_come_as_next_argument_or_behind_an_equals_sign),
        cmocka_unit_test(test_options_the_last_of_two_counts_and_quirks_add_up),
        cmocka_unit_test(test_options_verbs_and_lists),
        cmocka_unit_test(test_options_check_finds_known_devices_and_quirks),
        cmocka_unit_test(test_options_check_pins_to_two_usable_cpus_or_none),
        cmocka_unit_test(test_options_unknown_words_are_refused_with_what_is_near),
        cmocka_unit_test(test_options_wrong_values_are_refused_with_what_would_be_right),
        cmocka_unit_test(test_options_more_quirks_than_there_is_room_for_are_refused),
        cmocka_unit_test(test_options_a_pinning_that_the_machine_lacks_is_refused),
        cmocka_unit_test(test_options_images_that_are_none_are_refused),
        cmocka_unit_test(test_suggest_counts_a_swap_of_neighbours_as_one_mistake),
        cmocka_unit_test(test_suggest_fits_any_room),
        cmocka_unit_test(test_choose_takes_what_matches_in_order),
        cmocka_unit_test(test_choose_takes_sweeps_only_where_something_asks_for_them),
        cmocka_unit_test(test_choose_a_filter_that_matches_nothing_is_refused_with_what_is_near),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

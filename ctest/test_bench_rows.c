/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The catalogue of benchmarks: names are unique, a name's parts are what the row is measured with, and the
 * sweeps hold what they should. No benchmark is run here: bench_smoke runs every one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../bench/src/rows.c"

#include "test_program.h"

/* ---- The rows' functions, which nobody calls ---- */

#define NOT_CALLED(function)             \
    bool function(struct bench_run *run) \
    {                                    \
        (void)run;                       \
        return false;                    \
    }

NOT_CALLED(limit_line)
NOT_CALLED(limit_two_lines)
NOT_CALLED(limit_wake)
NOT_CALLED(limit_bare_ring)
NOT_CALLED(limit_pread)
NOT_CALLED(limit_pread_apart)
NOT_CALLED(mmio_read8)
NOT_CALLED(mmio_read16)
NOT_CALLED(mmio_read32)
NOT_CALLED(mmio_write8)
NOT_CALLED(mmio_write16)
NOT_CALLED(mmio_write32)
NOT_CALLED(lifecycle_init)
NOT_CALLED(lifecycle_negotiate)
NOT_CALLED(lifecycle_setup_queue)
NOT_CALLED(lifecycle_full)
NOT_CALLED(config_read)
NOT_CALLED(notify_doorbell)
NOT_CALLED(isr_read)
NOT_CALLED(roundtrip_poll)
NOT_CALLED(roundtrip_kick_isr_spin)
NOT_CALLED(roundtrip_kick_isr_sleep)
NOT_CALLED(ring)
NOT_CALLED(driver_kick)
NOT_CALLED(blk_read)
NOT_CALLED(blk_write)

/* ---- Names ---- */

static const struct bench_row *row_named(const char *name)
{
    size_t i;

    for (i = 0; bench_row_at(i) != NULL; i++) {
        if (strcmp(bench_row_at(i)->name, name) == 0)
            return bench_row_at(i);
    }
    return NULL;
}

static void test_rows_have_names_of_their_own_and_all_that_a_run_needs(void **state)
{
    size_t i;

    for (i = 0; bench_row_at(i) != NULL; i++) {
        const struct bench_row *row = bench_row_at(i);

        assert_ptr_equal(row_named(row->name), row); /* the first of that name */
        assert_non_null(row->run);
        assert_true(row->samples > 0 && row->samples_smoke > 0 && row->samples_smoke <= row->samples);
        assert_true(row->summary[0] != '\0');
    }
    assert_true(i > 80);
}

/* The number behind "key:" in the name, or otherwise. */
static uint32_t number_behind(const char *name, const char *key, uint32_t otherwise)
{
    const char *at = strstr(name, key);

    return at != NULL ? (uint32_t)strtoul(at + strlen(key), NULL, 10) : otherwise;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);

    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static void test_rows_of_rings_are_measured_with_what_their_names_say(void **state)
{
    size_t i, found = 0;

    for (i = 0; bench_row_at(i) != NULL; i++) {
        const struct bench_row *row = bench_row_at(i);
        const struct bench_parameters *with = &row->with;
        bool indirect = ends_with(row->name, "/indirect");

        if (strncmp(row->name, "ring/", 5) != 0)
            continue;
        found++;
        assert_true(row->throughput);
        assert_int_equal(with->queue_size, number_behind(row->name, "/poll/", 256));
        assert_int_equal(with->publish, number_behind(row->name, "/batch:", 32));
        assert_int_equal(with->bytes, number_behind(row->name, "/bytes:", 13));
        assert_int_equal(with->chain, number_behind(row->name, "/chain:", indirect ? 16 : 0));
        assert_int_equal(with->queues, number_behind(row->name, "/queues:", 0));
        assert_int_equal(with->devices, number_behind(row->name, "/devices:", 0));
        assert_true(with->indirect == indirect);
        assert_true(with->copy == ends_with(row->name, "/copy"));
    }
    assert_true(found > 60);
}

/* A row publishing exactly so many that none of its buffers could be with the device would wait for ever. */
static void test_rows_that_publish_exactly_leave_the_device_something(void **state)
{
    size_t i;

    for (i = 0; bench_row_at(i) != NULL; i++) {
        const struct bench_row *row = bench_row_at(i);

        assert_true(!row->with.exactly || row->with.publish < row->with.queue_size);
        assert_true(row->with.indirect || row->with.chain <= row->with.queue_size);
    }
}

/* ---- Sweeps ---- */

/* There is a row for each power of two from first to last. */
static void assert_sweep(const char *format, uint32_t first, uint32_t last)
{
    char name[64];
    uint32_t n;

    for (n = first; n <= last; n *= 2) {
        snprintf(name, sizeof name, format, (unsigned)n);
        if (row_named(name) == NULL)
            fail_msg("there is no row %s", name);
    }
}

static void test_sweeps_go_all_the_way(void **state)
{
    static const char *const bytes[] = {"13", "64", "256", "1024", "1500", "4096", "65536"};
    char name[64];
    size_t i;

    assert_sweep("ring/poll/%u", 2, 32768);
    assert_sweep("ring/poll/256/batch:%u", 1, 128);
    assert_sweep("ring/poll/256/chain:%u", 1, 64);
    assert_sweep("ring/poll/256/chain:%u/indirect", 2, 64);
    assert_sweep("ring/poll/256/queues:%u", 1, 64);
    assert_sweep("ring/poll/256/devices:%u", 1, 256);
    for (i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        snprintf(name, sizeof name, "ring/poll/256/bytes:%s", bytes[i]);
        assert_non_null(row_named(name));
        strcat(name, "/copy");
        assert_non_null(row_named(name));
    }
}

static void test_sweeps_are_no_part_of_a_plain_run_and_key_rows_are(void **state)
{
    assert_false(row_named("ring/poll/256")->with.swept);
    assert_false(row_named("ring/poll/256/batch:1")->with.swept);
    assert_false(row_named("ring/poll/256/indirect")->with.swept);
    assert_false(row_named("limit/bare-ring")->with.swept);
    assert_true(row_named("ring/poll/512")->with.swept);
    assert_true(row_named("ring/poll/256/batch:2")->with.swept);
    assert_true(row_named("ring/poll/256/devices:256")->with.swept);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_have_names_of_their_own_and_all_that_a_run_needs),
        cmocka_unit_test(test_rows_of_rings_are_measured_with_what_their_names_say),
        cmocka_unit_test(test_rows_that_publish_exactly_leave_the_device_something),
        cmocka_unit_test(test_sweeps_go_all_the_way),
        cmocka_unit_test(test_sweeps_are_no_part_of_a_plain_run_and_key_rows_are),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

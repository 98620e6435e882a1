/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The trace: what it keeps and how it is written, wrapping, and playing it back, faithful, changed and
 * malformed. Text goes through a file; devices have no worker, but for the one test of writing while events
 * come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "temp_file.h"
#include "test_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536u

static char text[TEXT_MAX];

static struct target *open_traced(uint32_t events)
{
    return target_open(&(struct target_options){.stepped = true, .trace_events = events, .cold = true});
}

/* The device's trace into `text`; its count of lines. */
static uint32_t take_text(struct target *target)
{
    FILE *stream = target_scratch_open();
    uint32_t lines = 0;
    size_t length;

    assert_int_equal(aero_sim_device_trace_write(target->driver.device, stream), AERO_SIM_OK);
    rewind(stream);
    length = fread(text, 1, sizeof text - 1, stream);
    text[length] = '\0';
    target_scratch_close(stream);
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return lines;
}

static enum aero_sim_status replay(struct target *target, const char *what, uint32_t *mismatches)
{
    FILE *stream = target_scratch_open();
    enum aero_sim_status status;

    assert_int_equal(fwrite(what, 1, strlen(what), stream), strlen(what));
    rewind(stream);
    *mismatches = 0xAA;
    status = aero_sim_device_trace_replay(target->driver.device, stream, mismatches);
    target_scratch_close(stream);
    return status;
}

static void test_trace_text_says_what_happened_in_order(void **state)
{
    struct target *target = open_traced(64);

    target_pci_write(target, 0x04, 2, 0x0006);
    (void)target_pci_read(target, 0x00, 4);
    (void)target_read(target, 0x12, 2);
    target_write(target, 0x20, 4, 0xFFFFFFFF89ABCDEF);
    (void)target_read(target, 0x3008, 4);
    take_text(target);
    assert_string_equal(text, "aero-trace 1 loopback\n"
                              "pci-write 0x0004 2 0x6\n"
                              "pci-read 0x0000 4 0x107f1af4\n"
                              "bar-read 0x0012 2 0x4\n"
                              "bar-write 0x0020 4 0x89abcdef\n"
                              "bar-read 0x3008 4 0xb0a09080\n");
    target_close(target);
}

static void test_trace_has_the_devices_own_steps(void **state)
{
    struct target *target = open_traced(256);
    struct ring_driver_queue queue;
    const struct ring_driver_buffer buffers[] = {{RING_DRIVER_HIGH_GPA, 5, false},
                                                 {RING_DRIVER_HIGH_GPA + 8, 5, true}};
    char *rest;

    target_pci_write(target, 0x04, 2, 0x0006);
    target_bring_up(target, &queue, 2);
    target_settle(target);
    assert_int_equal(ring_driver_add(&queue, buffers, 2), 0);
    ring_driver_kick(&queue);
    target_settle(target);
    (void)target_read(target, RING_DRIVER_ISR, 1);
    target_offer(&queue, 0x1234);
    ring_driver_kick(&queue);
    target_take_breach(target, "RNG-8");
    target_settle(target);
    take_text(target);
    rest = strstr(text, "bar-write 0x1008 2 0x2\n");
    assert_non_null(rest);
    assert_string_equal(rest, "bar-write 0x1008 2 0x2\n"
                              "take 0x0002 0 0x0\n"
                              "put 0x0002 0 0x500000000\n"
                              "publish 0x0002 0 0x1\n"
                              "isr 0x0000 0 0x1\n"
                              "line 0x0000 0 0x1\n"
                              "line 0x0000 0 0x0\n"
                              "bar-read 0x2000 1 0x1\n"
                              "bar-write 0x1008 2 0x2\n"
                              "breach 0x0002 0 0x1234\n"
                              "isr 0x0000 0 0x2\n"
                              "line 0x0000 0 0x1\n");
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_trace_that_wraps_keeps_the_last_events_and_says_so(void **state)
{
    struct target *target = open_traced(4);

    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(take_text(target), 2);
    for (uint32_t i = 0; i < 3; i++)
        target_write(target, 0x20, 4, i);
    assert_int_equal(take_text(target), 5); /* full, and nothing lost yet */
    assert_null(strchr(text, '#'));
    for (uint32_t i = 3; i < 10; i++)
        target_write(target, 0x20, 4, i);
    take_text(target);
    assert_string_equal(text, "aero-trace 1 loopback\n"
                              "# 7 older events were overwritten\n"
                              "bar-write 0x0020 4 0x6\n"
                              "bar-write 0x0020 4 0x7\n"
                              "bar-write 0x0020 4 0x8\n"
                              "bar-write 0x0020 4 0x9\n");
    target_close(target);
}

static void test_trace_that_nobody_asked_for_is_refused(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});

    assert_int_equal(aero_sim_device_trace_write(target->driver.device, stdout), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_trace_write(target->driver.device, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_trace_write(NULL, stdout), AERO_SIM_BAD_ARGUMENT);
    target_close(target);
}

static void test_trace_to_a_stream_that_cannot_be_written_says_io(void **state)
{
    struct target *target = open_traced(4);
    char name[TEMP_FILE_PATH_MAX];
    FILE *stream;

    temp_file_path(name, "unwritable");
    assert_true(temp_file_create(name, 1));
    stream = fopen(name, "r");
    assert_non_null(stream);
    assert_int_equal(aero_sim_device_trace_write(target->driver.device, stream), AERO_SIM_IO);
    fclose(stream);
    assert_true(temp_file_remove(name));
    target_close(target);
}

/* A run with something of everything: set-up, resets, wrong accesses, a refused negotiation. */
static void drive(struct target *target)
{
    struct ring_driver_queue queue;

    target_pci_write(target, 0x04, 2, 0x0006);
    for (uint32_t offset = 0; offset < 0x40; offset++)
        (void)target_read(target, offset, 1u << offset % 4);
    assert_false(ring_driver_bring_up(&target->driver, UINT64_MAX - 1));
    target_take_breach(target, "COM-9");
    target_bring_up(target, &queue, 1);
    (void)target_read(target, 0x1C, 2);
    (void)target_read(target, 0x4000, 8);
    (void)target_pci_read(target, 0x41, 1);
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    ring_driver_queue_destroy(&queue);
}

static void test_trace_replayed_on_an_equal_device_has_no_mismatch(void **state)
{
    struct target *target = open_traced(1024), *other = open_traced(1024);
    static char first[TEXT_MAX];
    uint32_t mismatches;

    drive(target);
    take_text(target);
    strcpy(first, text);
    assert_int_equal(replay(other, first, &mismatches), AERO_SIM_OK);
    assert_int_equal(mismatches, 0);
    target_take_breach(other, "COM-9");
    take_text(other);
    assert_string_equal(text, first); /* and it leaves the same trace */
    target_close(target);
    target_close(other);
}

static void test_trace_replay_counts_each_read_that_differs(void **state)
{
    struct target *target = open_traced(64);
    uint32_t mismatches;

    assert_int_equal(replay(target,
                            "aero-trace 1 loopback\n"
                            "pci-write 0x0004 2 0x6\n"
                            "pci-read 0x0000 4 0x107f1af4\n"
                            "pci-read 0x0000 4 0x107f1af5\n"
                            "# a remark, and steps of the device: passed over\n"
                            "take 0x0002 0 0x0\n"
                            "line 0x0000 0 0x1\n"
                            "bar-read 0x0012 2 0x4\n"
                            "bar-read 0x0012 2 0x5\n"
                            "bar-write 0x0020 4 0x11\n"
                            "bar-read 0x0020 4 0x11\n",
                            &mismatches),
                     AERO_SIM_OK);
    assert_int_equal(mismatches, 2);
    assert_string_equal(aero_sim_device_error(target->driver.device), "");
    target_close(target);
}

static void test_trace_replay_of_malformed_text_names_the_line(void **state)
{
    static const struct {
        const char *what, *line;
    } bad[] = {{"", "line 0"},
               {"aero-trace 2 loopback\n", "line 1"},
               {"bar-read 0x0012 2 0x4\n", "line 1"},
               {"aero-trace 1 x\nbar-read 0x0012 2\n", "line 2"},
               {"aero-trace 1 x\nbar-read 0x0012 2 0x4\nbar-raed 0x0012 2 0x4\n", "line 3"},
               {"aero-trace 1 x\n\n", "line 2"},
               {"aero-trace 1 x\nbar-read 0x0012 2 0x4 0x5\n", "line 2"},
               {"aero-trace 1 x\nbar-read 0x0012 two 0x4\n", "line 2"},
               {"aero-trace 1 x\nbar-read 0x0012 2 0x4", "line 2"}};
    struct target *target = open_traced(64);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t mismatches;

        assert_int_equal(replay(target, bad[i].what, &mismatches), AERO_SIM_IO);
        assert_int_equal(mismatches, 0);
        if (!strstr(aero_sim_device_error(target->driver.device), bad[i].line))
            fail_msg("%s: no %s", aero_sim_device_error(target->driver.device), bad[i].line);
    }
    target_close(target);
}

static void test_trace_replay_on_a_device_that_does_not_run_is_refused(void **state)
{
    struct target *target = open_traced(64);
    uint32_t mismatches;

    assert_int_equal(aero_sim_device_trace_replay(target->driver.device, NULL, &mismatches),
                     AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_stop(target->driver.device), AERO_SIM_OK);
    assert_int_equal(replay(target, "aero-trace 1 loopback\n", &mismatches), AERO_SIM_BAD_STATE);
    assert_int_not_equal(take_text(target), 0); /* what was kept can still be had */
    target_close(target);
}

/* ---- While events come ---- */

struct writer {
    struct target *target;
    _Atomic uint32_t stop;
};

static void write_until_stopped(void *context)
{
    struct writer *writer = context;

    /* Value and offset belong together: a line that mixes two events shows. */
    for (uint32_t i = 0; !atomic_load_explicit(&writer->stop, memory_order_relaxed); i++) {
        target_write(writer->target, 0x100 + 8 * (i % 64), 4, 0x1111u * (i % 64));
        for (volatile uint32_t j = 0; j < i % 256; j++)
            ; /* or a reader would find every event gone already */
    }
}

/* Does each line that was written hold an offset and the value that belongs to it? */
static bool lines_are_whole(void)
{
    for (char *line = strstr(text, "\nbar"); line; line = strstr(line + 1, "\nbar")) {
        unsigned offset, width, value;

        if (sscanf(line, "\nbar-write 0x%x %u 0x%x", &offset, &width, &value) != 3 || width != 4 ||
            value != 0x1111u * ((offset - 0x100) / 8))
            return false;
    }
    return true;
}

static void test_trace_written_while_events_come_holds_no_mixed_line(void **state)
{
    static struct writer writer;
    struct target *target = open_traced(2);
    FILE *stream = target_scratch_open();
    struct sim_os_thread *thread;
    bool whole = true;

    setvbuf(stream, NULL, _IOFBF, 4096);
    writer = (struct writer){.target = target};
    thread = sim_os_thread_start(write_until_stopped, &writer, -1);
    assert_non_null(thread);
    for (uint32_t i = 0; i < 20000; i++) {
        long length;

        rewind(stream);
        (void)aero_sim_device_trace_write(target->driver.device, stream);
        length = ftell(stream);
        rewind(stream);
        text[fread(text, 1, (size_t)length, stream)] = '\0';
        whole = whole && lines_are_whole();
    }
    atomic_store(&writer.stop, 1);
    sim_os_thread_join(thread);
    target_scratch_close(stream);
    assert_true(whole);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_text_says_what_happened_in_order),
        cmocka_unit_test(test_trace_has_the_devices_own_steps),
        cmocka_unit_test(test_trace_that_wraps_keeps_the_last_events_and_says_so),
        cmocka_unit_test(test_trace_that_nobody_asked_for_is_refused),
        cmocka_unit_test(test_trace_to_a_stream_that_cannot_be_written_says_io),
        cmocka_unit_test(test_trace_replayed_on_an_equal_device_has_no_mismatch),
        cmocka_unit_test(test_trace_replay_counts_each_read_that_differs),
        cmocka_unit_test(test_trace_replay_of_malformed_text_names_the_line),
        cmocka_unit_test(test_trace_replay_on_a_device_that_does_not_run_is_refused),
        cmocka_unit_test(test_trace_written_while_events_come_holds_no_mixed_line),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}

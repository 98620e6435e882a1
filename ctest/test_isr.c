/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ISR byte and the INTx line (INT-1..6): what raises, what acknowledges, and with a worker against one
 * and two reading threads that no cause is lost and no report of the line comes twice. The checks are the
 * test thread's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define ISR RING_DRIVER_ISR

/* A model with a queue that is served and bytes that its event changes, as many times as the test says. */
static struct {
    struct aero_sim_device *device;
    _Atomic uint32_t changes_left;
    uint32_t stamp;
    uint32_t writes; /* of device configuration, by a thread that is not the worker */
} ticker_state;

static enum aero_sim_status ticker_open(void *state, struct aero_sim_device *device,
                                        const struct aero_sim_backend *backend, char *error,
                                        size_t error_bytes)
{
    memset(&ticker_state, 0, sizeof ticker_state);
    ticker_state.device = device;
    return AERO_SIM_OK;
}

static void ticker_event(void *state)
{
    uint32_t left = atomic_load_explicit(&ticker_state.changes_left, memory_order_relaxed);

    if (!left)
        return;
    atomic_store_explicit(&ticker_state.changes_left, left - 1, memory_order_relaxed);
    ticker_state.stamp++;
    aero_sim_config_set(ticker_state.device, 0, &ticker_state.stamp, 4);
    aero_sim_device_wake(ticker_state.device);
}

static void ticker_write(void *state, uint32_t offset, uint32_t width, uint32_t value)
{
    ticker_state.writes++;
    aero_sim_config_set(ticker_state.device, 4, &ticker_state.writes, 4);
}

static uint32_t ticker_serve(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static const struct aero_sim_queue_spec ticker_queues[] = {{"q", 4, ticker_serve}};
static const struct aero_sim_model ticker = {.name = "ticker",
                                             .summary = "its configuration counts",
                                             .pci_device_id = 0x107F,
                                             .config_bytes = 8,
                                             .queue_count = 1,
                                             .queues = ticker_queues,
                                             .open = ticker_open,
                                             .event = ticker_event,
                                             .config_write = ticker_write};

static struct target *open_ticker(struct ring_driver_queue *queue, bool stepped)
{
    struct target *target =
        target_open(&(struct target_options){.model = &ticker, .stepped = stepped, .spin_ns = 20000});

    target_bring_up(target, queue, 0);
    if (stepped)
        target_settle(target);
    return target;
}

static void close_ticker(struct target *target, struct ring_driver_queue *queue)
{
    ring_driver_queue_destroy(queue);
    target_close(target);
}

/* One chain without buffers to speak of. */
static void use_one(struct target *target, struct ring_driver_queue *queue)
{
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 4, false};

    assert_int_not_equal(ring_driver_add(queue, &buffer, 1), RING_DRIVER_FULL);
    ring_driver_kick(queue);
    assert_true(ring_driver_wait(queue, NULL, NULL));
}

static void tick(struct target *target, uint32_t times)
{
    atomic_store(&ticker_state.changes_left, times);
    aero_sim_device_wake(target->driver.device);
}

static void int_01_byte_is_zero_until_a_cause_comes(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    assert_int_equal(target_read(target, ISR, 1), 0);
    target_expect_no_interrupt(target, 0);
    close_ticker(target, &queue);
}

static void int_02_read_returns_the_bits_and_clears_them(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    use_one(target, &queue);
    assert_true(target_wait_line(target, true));
    assert_int_equal(target_read(target, ISR, 1), 1);
    assert_int_equal(target_read(target, ISR, 1), 0);
    close_ticker(target, &queue);
}

static void int_03_line_is_up_exactly_while_a_bit_is_set(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    for (uint32_t i = 0; i < 3; i++) {
        assert_false(aero_sim_device_intx_level(target->driver.device));
        use_one(target, &queue);
        assert_true(target_wait_line(target, true));
        assert_true(aero_sim_device_intx_level(target->driver.device));
        assert_int_equal(target->edges, 2 * i + 1);
        assert_int_equal(target_read(target, ISR, 1), 1);
        assert_int_equal(target->line, 0);
        assert_int_equal(target->edges, 2 * i + 2);
    }
    close_ticker(target, &queue);
}

static void int_03_second_cause_while_up_is_no_second_report(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);
    struct aero_sim_counters counters;

    use_one(target, &queue);
    use_one(target, &queue);
    tick(target, 2);
    target_settle(target);
    assert_int_equal(target->edges, 1);
    assert_int_equal(target_read(target, ISR, 1), 3); /* merged */
    assert_int_equal(target->edges, 2);
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.interrupts, 1);
    close_ticker(target, &queue);
}

static void int_04_used_entries_set_bit_0_alone(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    use_one(target, &queue);
    target_settle(target);
    assert_int_equal(target_read(target, ISR, 1), 1);
    close_ticker(target, &queue);
}

static void int_05_no_interrupt_flag_keeps_byte_and_line_silent(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    __atomic_store_n(&queue.avail[0], 1, __ATOMIC_RELAXED);
    use_one(target, &queue);
    target_expect_no_interrupt(target, 0);
    assert_int_equal(target_read(target, ISR, 1), 0);
    __atomic_store_n(&queue.avail[0], 0xFFFE, __ATOMIC_RELAXED); /* the other bits mean nothing */
    use_one(target, &queue);
    assert_true(target_wait_line(target, true));
    assert_int_equal(target_read(target, ISR, 1), 1);
    close_ticker(target, &queue);
}

static void int_05_no_interrupt_flag_does_not_silence_configuration(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    __atomic_store_n(&queue.avail[0], 1, __ATOMIC_RELAXED);
    use_one(target, &queue);
    tick(target, 1);
    target_settle(target);
    assert_int_equal(target_read(target, ISR, 1), 2);
    close_ticker(target, &queue);
}

static void int_05_no_interrupt_flag_with_a_worker_keeps_silent(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);

    __atomic_store_n(&queue.avail[0], 1, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < 200; i++)
        use_one(target, &queue);
    target_expect_no_interrupt(target, 0);
    close_ticker(target, &queue);
}

static void int_06_configuration_change_sets_bit_1_alone(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    tick(target, 1);
    target_settle(target);
    assert_int_equal(target->line, 1);
    assert_int_equal(target_read(target, ISR, 1), 2);
    close_ticker(target, &queue);
}

static void com_08_reset_takes_pending_bits_and_the_line_down(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, true);

    use_one(target, &queue);
    tick(target, 1);
    target_settle(target);
    assert_int_equal(target->line, 1);
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    assert_int_equal(target->line, 0);
    assert_int_equal(target_read(target, ISR, 1), 0);
    close_ticker(target, &queue);
}

/* ---- Races ---- */

#define CAUSES 40000u

struct reader {
    struct target *target;
    _Atomic uint32_t stop;
    uint32_t reads_with_bit;
    uint32_t rises; /* of the line, that were answered */
    uint32_t odd;   /* reads that gave what they never may */
};

/* Reads the byte once; true where the configuration bit was in it. */
static bool acknowledge(struct reader *reader)
{
    uint64_t bits = target_read(reader->target, ISR, 1);

    reader->odd += bits != 0 && bits != 2;
    reader->reads_with_bit += bits == 2;
    return bits == 2;
}

static void acknowledge_until_stopped(void *context)
{
    struct reader *reader = context;

    while (!atomic_load_explicit(&reader->stop, memory_order_relaxed))
        acknowledge(reader);
}

/*
 * Each cause announces a number, one higher than the one before. A read that finds the bit looks at the
 * number: causes may have merged, so it may have moved by more than one. But was one lost, the last number is
 * never announced.
 */
static void int_02_causes_raised_while_the_byte_is_read_are_never_lost(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    struct reader reader = {.target = target};
    uint64_t end = target_deadline(), seen = 0;

    tick(target, CAUSES);
    while (seen != CAUSES && sim_os_now_ns() < end) {
        uint64_t number;

        if (!acknowledge(&reader)) {
            sim_os_pause();
            continue;
        }
        number = target_read(target, RING_DRIVER_CONFIG, 4);
        assert_true(number >= seen); /* equal: the cause came between the last look and this read */
        seen = number;
    }
    assert_int_equal(seen, CAUSES);
    target_settle(target);
    acknowledge(&reader);
    assert_int_equal(reader.odd, 0);
    assert_in_range(reader.reads_with_bit, 1, CAUSES); /* none was seen twice */
    target_expect_no_interrupt(target, target->edges);
    close_ticker(target, &queue);
}

/* A second cause that comes while the first is being read: both bits must be told, in one read or in two. */
static void int_02_two_causes_at_once_are_both_told(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    uint64_t end = target_deadline();

    for (uint32_t i = 0; i < CAUSES / 4; i++) {
        const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 4, false};
        uint64_t told = 0;

        assert_int_not_equal(ring_driver_add(&queue, &buffer, 1), RING_DRIVER_FULL);
        tick(target, 1);
        ring_driver_kick(&queue);
        while (told != 3 && sim_os_now_ns() < end) {
            for (volatile uint32_t j = 0; j < i * 7 % 1024; j++)
                ; /* or each cause would be read before the other comes */
            told |= target_read(target, ISR, 1);
        }
        assert_int_equal(told, 3);
        assert_true(ring_driver_wait(&queue, NULL, NULL));
    }
    close_ticker(target, &queue);
}

static void int_02_two_threads_that_read_never_see_one_cause_twice(void **state)
{
    static struct reader other;
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    struct reader reader = {.target = target};
    uint64_t end = target_deadline();
    struct sim_os_thread *thread;

    other = (struct reader){.target = target};
    thread = sim_os_thread_start(acknowledge_until_stopped, &other, -1);
    assert_non_null(thread);
    tick(target, CAUSES);
    while (atomic_load(&ticker_state.changes_left) && sim_os_now_ns() < end) {
        acknowledge(&reader);
        sim_os_yield();
    }
    target_settle(target);
    atomic_store(&other.stop, 1);
    sim_os_thread_join(thread);
    assert_int_equal(atomic_load(&ticker_state.changes_left), 0);
    acknowledge(&reader);
    assert_int_equal(reader.odd + other.odd, 0);
    assert_in_range(reader.reads_with_bit + other.reads_with_bit, 1, CAUSES);
    assert_int_equal(target_read(target, ISR, 1), 0);
    target_expect_no_interrupt(target, target->edges);
    close_ticker(target, &queue);
}

/*
 * The line as an interrupt controller has it: an interrupt each time it goes up, which acknowledges. None may
 * be missed.
 */
static void int_03_line_goes_up_again_for_causes_behind_an_acknowledge(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    struct reader reader = {.target = target};
    struct aero_sim_counters counters;
    uint64_t end = target_deadline(), number = 0;

    tick(target, CAUSES);
    while (number != CAUSES) {
        assert_true(sim_os_now_ns() < end);
        assert_true(target_wait_line(target, true));
        if (acknowledge(&reader))
            number = target_read(target, RING_DRIVER_CONFIG, 4);
    }
    target_settle(target);
    acknowledge(&reader);
    target_expect_no_interrupt(target, target->edges);
    assert_int_equal(target->edges % 2, 0);
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.interrupts, target->edges / 2);
    close_ticker(target, &queue);
}

static void write_config(void *context)
{
    for (uint32_t i = 0; i < CAUSES; i++)
        target_write(context, RING_DRIVER_CONFIG, 4, i);
}

static bool rose_since(void *context)
{
    struct reader *reader = context;

    return (reader->target->edges + 1) / 2 > reader->rises;
}

/*
 * A driver that is called at each rise, acknowledges once, and turns away; two threads raise causes at the
 * same time.
 */
static void int_03_cause_behind_an_acknowledge_is_a_rise_whoever_raised_it(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    struct reader reader = {.target = target};
    struct sim_os_thread *thread;
    uint64_t ticks = 0, writes = 0;

    tick(target, CAUSES);
    thread = sim_os_thread_start(write_config, target, -1);
    assert_non_null(thread);
    while (ticks != CAUSES || writes != CAUSES) {
        if (!target_wait(target, rose_since, &reader))
            break;
        reader.rises = (target->edges + 1) / 2;
        acknowledge(&reader);
        ticks = target_read(target, RING_DRIVER_CONFIG, 4);
        writes = target_read(target, RING_DRIVER_CONFIG + 4, 4);
    }
    sim_os_thread_join(thread);
    assert_int_equal(ticks, CAUSES);
    assert_int_equal(writes, CAUSES);
    target_settle(target);
    acknowledge(&reader);
    assert_int_equal(reader.odd, 0);
    close_ticker(target, &queue);
}

static void pci_14_interrupt_disable_switched_while_causes_come_leaves_the_line_right(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_ticker(&queue, false);
    struct reader reader = {.target = target};
    uint64_t end = target_deadline();

    tick(target, CAUSES);
    for (uint32_t i = 0; atomic_load(&ticker_state.changes_left); i++) {
        assert_true(sim_os_now_ns() < end);
        target_pci_write(target, 0x04, 2, i & 1 ? 0x0406 : 0x0006);
        if (i % 3 == 0)
            acknowledge(&reader);
    }
    target_settle(target);
    target_pci_write(target, 0x04, 2, 0x0006);
    assert_int_equal(target->line, aero_sim_device_intx_level(target->driver.device));
    acknowledge(&reader);
    assert_int_equal(reader.odd, 0);
    target_expect_no_interrupt(target, target->edges);
    close_ticker(target, &queue);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int_01_byte_is_zero_until_a_cause_comes),
        cmocka_unit_test(int_02_read_returns_the_bits_and_clears_them),
        cmocka_unit_test(int_03_line_is_up_exactly_while_a_bit_is_set),
        cmocka_unit_test(int_03_second_cause_while_up_is_no_second_report),
        cmocka_unit_test(int_04_used_entries_set_bit_0_alone),
        cmocka_unit_test(int_05_no_interrupt_flag_keeps_byte_and_line_silent),
        cmocka_unit_test(int_05_no_interrupt_flag_does_not_silence_configuration),
        cmocka_unit_test(int_05_no_interrupt_flag_with_a_worker_keeps_silent),
        cmocka_unit_test(int_06_configuration_change_sets_bit_1_alone),
        cmocka_unit_test(com_08_reset_takes_pending_bits_and_the_line_down),
        cmocka_unit_test(int_02_causes_raised_while_the_byte_is_read_are_never_lost),
        cmocka_unit_test(int_02_two_causes_at_once_are_both_told),
        cmocka_unit_test(int_02_two_threads_that_read_never_see_one_cause_twice),
        cmocka_unit_test(int_03_line_goes_up_again_for_causes_behind_an_acknowledge),
        cmocka_unit_test(int_03_cause_behind_an_acknowledge_is_a_rise_whoever_raised_it),
        cmocka_unit_test(pci_14_interrupt_disable_switched_while_causes_come_leaves_the_line_right),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("isr", tests, NULL, NULL);
}

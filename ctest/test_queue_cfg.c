/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The common configuration registers that follow queue_select (COM-11, COM-12), and enabling a queue with the
 * addresses written before (COM-13, COM-14, RNG-3, DMA-2). On a loopback device without a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

enum {
    STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1A,
    QUEUE_ENABLE = 0x1C,
    QUEUE_NOTIFY_OFF = 0x1E,
    QUEUE_DESC = 0x20,
    QUEUE_AVAIL = 0x28,
    QUEUE_USED = 0x30
};

static struct target *open_stepped(void)
{
    return target_open(&(struct target_options){.stepped = true});
}

static void com_11_size_and_notify_off_follow_queue_select(void **state)
{
    static const struct aero_sim_queue_spec queues[] = {
        {.size = 1}, {.size = 2}, {.size = 32768}, {.size = 64}};
    static struct aero_sim_queue_spec served[4];
    struct aero_sim_model model = *aero_sim_model_find("loopback");
    struct target *target;

    for (uint32_t i = 0; i < 4; i++) {
        served[i] = model.queues[0];
        served[i].size = queues[i].size;
    }
    model.queues = served;
    target = target_open(&(struct target_options){.model = &model, .stepped = true});
    for (uint32_t turn = 0; turn < 8; turn++) {
        uint32_t index = turn * 3 % 4;

        target_write(target, QUEUE_SELECT, 2, index);
        assert_int_equal(target_read(target, QUEUE_SIZE, 2), queues[index].size);
        assert_int_equal(target_read(target, QUEUE_NOTIFY_OFF, 2), index); /* NTF-1 */
        target_write(target, QUEUE_DESC, 4, 0x1000 * (index + 1));
    }
    for (uint32_t index = 0; index < 4; index++) {
        target_write(target, QUEUE_SELECT, 2, index);
        assert_int_equal(target_read(target, QUEUE_DESC, 4), 0x1000 * (index + 1));
    }
    target_close(target);
}

static void com_12_queue_select_beyond_num_queues_reads_zero(void **state)
{
    static const uint32_t selects[] = {4, 5, 64, 0x7FFF, 0xFFFF};
    struct target *target = open_stepped();

    for (size_t i = 0; i < sizeof selects / sizeof selects[0]; i++) {
        target_write(target, QUEUE_SELECT, 2, selects[i]);
        assert_int_equal(target_read(target, QUEUE_SELECT, 2), selects[i]);
        for (uint32_t offset = QUEUE_SIZE; offset <= QUEUE_NOTIFY_OFF; offset += 2)
            assert_int_equal(target_read(target, offset, 2), 0);
        for (uint32_t offset = QUEUE_DESC; offset < 0x38; offset += 4)
            assert_int_equal(target_read(target, offset, 4), 0);
    }
    target_close(target);
}

static void com_12_queue_select_beyond_num_queues_takes_no_write(void **state)
{
    struct target *target = open_stepped();

    target_write(target, QUEUE_SELECT, 2, 4);
    for (uint32_t offset = QUEUE_DESC; offset < 0x38; offset += 4)
        target_write(target, offset, 4, 0x00100000);
    target_write(target, QUEUE_VECTOR, 2, 3);
    target_write(target, QUEUE_ENABLE, 2, 1);
    assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
    for (uint32_t index = 0; index < 4; index++) {
        target_write(target, QUEUE_SELECT, 2, index);
        assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
        assert_int_equal(target_read(target, QUEUE_VECTOR, 2), 0xFFFF);
        for (uint32_t offset = QUEUE_DESC; offset < 0x38; offset += 4)
            assert_int_equal(target_read(target, offset, 4), 0);
    }
    target_close(target);
}

/* COM-3 is the driver's; a driver that breaks it gets a mess, and the process lives. */
static void race_select(void *context)
{
    for (uint32_t i = 0; i < 100000; i++)
        target_write(context, QUEUE_SELECT, 2, i & 1 ? 0xFFFF : i >> 1 & 3);
}

static void com_12_queue_select_changed_by_another_thread_harms_nothing(void **state)
{
    struct target *target = open_stepped();
    struct sim_os_thread *thread = sim_os_thread_start(race_select, target, -1);

    assert_non_null(thread);
    for (uint32_t i = 0; i < 100000; i++) {
        target_write(target, QUEUE_DESC, 4, RING_DRIVER_LOW_GPA);
        target_write(target, QUEUE_AVAIL, 4, RING_DRIVER_LOW_GPA + 0x10000);
        target_write(target, QUEUE_USED, 4, RING_DRIVER_LOW_GPA + 0x20000);
        target_write(target, QUEUE_ENABLE, 2, 1);
        (void)target_read(target, QUEUE_SIZE, 2);
        if (i % 64 == 0)
            target_write(target, STATUS, 1, 0);
    }
    sim_os_thread_join(thread);
    target->breach_taken = target->breach_count; /* queues enabled before their addresses were there */
    target_close(target);
}

static void set_address(struct target *target, uint32_t offset, uint64_t gpa, bool high_first)
{
    if (high_first)
        target_write(target, offset + 4, 4, gpa >> 32);
    target_write(target, offset, 4, (uint32_t)gpa);
    if (!high_first)
        target_write(target, offset + 4, 4, gpa >> 32);
}

/* Queue 0 at those addresses: does it enable? */
static bool enables(struct target *target, uint64_t desc, uint64_t avail, uint64_t used)
{
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    set_address(target, QUEUE_DESC, desc, true);
    set_address(target, QUEUE_AVAIL, avail, false);
    set_address(target, QUEUE_USED, used, true);
    target_write(target, QUEUE_ENABLE, 2, 1);
    return target_read(target, QUEUE_ENABLE, 2) == 1;
}

static void com_13_enable_reads_back_one_and_only_reset_undoes_it(void **state)
{
    struct target *target = open_stepped();
    const uint64_t at = RING_DRIVER_HIGH_GPA;

    assert_true(
        enables(target, at, at + 0x10002, at + 0x20004)); /* COM-14, DMA-4, RNG-3: as odd as is legal */
    target_write(target, QUEUE_ENABLE, 2, 0);
    assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 1);
    target_write(target, STATUS, 1, 0);
    assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
    target_close(target);
}

static void com_13_values_other_than_one_enable_nothing(void **state)
{
    static const uint32_t values[] = {0, 2, 3, 0x100, 0xFFFF};
    struct target *target = open_stepped();

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        target_write(target, QUEUE_ENABLE, 2, values[i]);
        assert_int_equal(target_read(target, QUEUE_ENABLE, 2), 0);
    }
    target_close(target);
}

static void rng_03_misaligned_ring_is_reported_and_not_enabled(void **state)
{
    static const uint64_t off[][3] = {{8, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 2}, {0, 0, 1}};
    struct target *target = open_stepped();
    const uint64_t at = RING_DRIVER_LOW_GPA;

    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        struct aero_sim_breach breach;

        assert_false(enables(target, at + off[i][0], at + 0x10000 + off[i][1], at + 0x20000 + off[i][2]));
        breach = target_take_breach(target, "RNG-3");
        assert_int_equal(breach.queue, 0);
        assert_true(breach.value == at + (off[i][0]   ? off[i][0]
                                          : off[i][1] ? 0x10000 + off[i][1]
                                                      : 0x20000 + off[i][2]));
    }
    assert_true(enables(target, at, at + 0x10000, at + 0x20000));
    target_close(target);
}

static void dma_02_ring_outside_guest_memory_is_reported_and_not_enabled(void **state)
{
    const uint64_t at = RING_DRIVER_LOW_GPA, end = RING_DRIVER_NEXT_GPA + RING_DRIVER_NEXT_BYTES;
    const uint64_t bad[] = {0, end, end - 256, RING_DRIVER_NEXT_GPA - 256, UINT64_MAX - 255, 1ull << 63};
    struct target *target = open_stepped();

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (uint32_t area = 0; area < 3; area++) {
            uint64_t aligned = bad[i] & ~15ull;

            assert_false(enables(target, area == 0 ? aligned : at, area == 1 ? aligned : at + 0x10000,
                                 area == 2 ? aligned : at + 0x20000));
            assert_true(target_take_breach(target, "DMA-2").value == aligned);
        }
    }
    /* To the last byte: 16 * 256, 4 + 2 * 256 and 4 + 8 * 256 bytes. */
    assert_true(enables(target, end - 4096, at, at + 0x20000));
    assert_true(enables(target, at, end - 516, at + 0x20000));
    assert_true(enables(target, at, at + 0x10000, end - 2052));
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(com_11_size_and_notify_off_follow_queue_select),
        cmocka_unit_test(com_12_queue_select_beyond_num_queues_reads_zero),
        cmocka_unit_test(com_12_queue_select_beyond_num_queues_takes_no_write),
        cmocka_unit_test(com_12_queue_select_changed_by_another_thread_harms_nothing),
        cmocka_unit_test(com_13_enable_reads_back_one_and_only_reset_undoes_it),
        cmocka_unit_test(com_13_values_other_than_one_enable_nothing),
        cmocka_unit_test(rng_03_misaligned_ring_is_reported_and_not_enabled),
        cmocka_unit_test(dma_02_ring_outside_guest_memory_is_reported_and_not_enabled),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("queue configuration", tests, NULL, NULL);
}

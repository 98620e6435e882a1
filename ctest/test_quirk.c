/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The six quirks of the core, each doing what its name says when and where its trigger says so, and nothing
 * elsewhere. That a device without quirks behaves is every other suite's matter. On devices without a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

static struct target *open_quirky(const char *quirk, const struct aero_sim_quirk_trigger *trigger)
{
    return target_open(
        &(struct target_options){.stepped = true, .queue_size = 8, .quirk = quirk, .trigger = trigger});
}

static uint64_t status_of(struct target *target)
{
    return target_read(target, RING_DRIVER_STATUS, 1);
}

/* One chain through the device: its used id as the device wrote it. */
static uint32_t run_one(struct target *target, struct ring_driver_queue *queue)
{
    uint32_t at = 2 + 4 * (queue->avail_idx & (queue->size - 1u)), id;

    target_desc(queue, 3, RING_DRIVER_HIGH_GPA, 4, RING_DRIVER_F_WRITE, 0);
    target_offer(queue, 3);
    ring_driver_kick(queue);
    target_settle(target);
    assert_int_equal(queue->used[1], queue->avail_idx);
    memcpy(&id, &queue->used[at], 4);
    return id;
}

static bool enables(struct target *target, uint16_t index)
{
    struct ring_driver_queue queue;
    bool enabled = ring_driver_queue_create(&queue, &target->driver, index);

    if (enabled)
        ring_driver_queue_destroy(&queue);
    return enabled;
}

static void test_quirk_catalogue_names_six_with_clause_and_summary(void **state)
{
    size_t count = 0;
    const struct aero_sim_quirk_info *quirk;

    for (; (quirk = aero_sim_quirk_at(count)); count++) {
        assert_int_not_equal(strlen(quirk->name), 0);
        assert_int_not_equal(strlen(quirk->summary), 0);
        assert_true(!strcmp(quirk->clause, "legal") || strchr(quirk->clause, '-'));
        for (size_t other = 0; other < count; other++)
            assert_string_not_equal(quirk->name, aero_sim_quirk_at(other)->name);
        target_close(open_quirky(quirk->name, NULL));
    }
    assert_int_equal(count, 6);
    assert_null(aero_sim_quirk_at(SIZE_MAX));
}

static void test_quirk_of_no_known_name_is_refused(void **state)
{
    struct target *target = target_open(&(struct target_options){.stepped = true});
    struct aero_sim_device *device;

    assert_int_equal(
        aero_sim_device_create(aero_sim_model_find("loopback"), target->driver.memory, NULL, &device), 0);
    assert_int_equal(aero_sim_device_set_quirk(device, "reset-never-complete", NULL), AERO_SIM_NOT_FOUND);
    assert_non_null(strstr(aero_sim_device_error(device), "'reset-never-complete'"));
    assert_int_equal(aero_sim_device_set_quirk(device, NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_quirk(device, "", NULL), AERO_SIM_NOT_FOUND);
    assert_int_equal(aero_sim_device_set_quirk(NULL, "lost-intx", NULL), AERO_SIM_BAD_ARGUMENT);
    aero_sim_device_destroy(device);
    target_close(target);
}

/* ---- surprise-removal-all-ones ---- */

static void test_quirk_surprise_removal_takes_the_function_away_for_good(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 2, .value = 0x15};
    struct target *target = open_quirky("surprise-removal-all-ones", &trigger);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    run_one(target, &queue);
    assert_int_equal(target->line, 1);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(target_read(target, 0x15, 1), 0); /* after 2 */
    assert_int_equal(status_of(target), 0x0F);             /* other offsets don't count */
    assert_int_equal(target_read(target, 0x15, 1), 0xFF);
    assert_int_equal(status_of(target), 0xFF);
    assert_int_equal(target_read(target, RING_DRIVER_CONFIG, 4), UINT32_MAX);
    assert_int_equal(target_pci_read(target, 0x00, 4), UINT32_MAX);
    assert_int_equal(target->line, 0);
    target_desc(&queue, 0, RING_DRIVER_HIGH_GPA, 4, RING_DRIVER_F_WRITE, 0);
    target_offer(&queue, 0);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 1); /* no more DMA */
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_quirk_surprise_removal_at_a_write_loses_the_write(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.value = RING_DRIVER_DOORBELLS};
    struct target *target = open_quirky("surprise-removal-all-ones", &trigger);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    target_desc(&queue, 0, RING_DRIVER_HIGH_GPA, 4, RING_DRIVER_F_WRITE, 0);
    target_offer(&queue, 0);
    ring_driver_kick(&queue);
    target_settle(target);
    assert_int_equal(queue.used[1], 0);
    assert_int_equal(status_of(target), 0xFF);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_quirk_surprise_removal_by_default_is_at_the_first_access(void **state)
{
    struct target *target = open_quirky("surprise-removal-all-ones", NULL);

    assert_int_equal(target_pci_read(target, 0x00, 4), 0x107F1AF4);
    assert_int_equal(status_of(target), 0xFF);
    assert_int_equal(target_pci_read(target, 0x00, 4), UINT32_MAX);
    target_close(target);
}

/* ---- reset-never-completes ---- */

static void test_quirk_reset_never_completes_leaves_the_status(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 1, .times = 2, .value = UINT64_MAX};
    struct target *target = open_quirky("reset-never-completes", &trigger);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0); /* its reset passes */
    for (uint32_t i = 0; i < 2; i++) {
        target_write(target, RING_DRIVER_STATUS, 1, 0);
        assert_int_equal(status_of(target), 0x0F);
        assert_int_equal(run_one(target, &queue), 3); /* it goes on as if nothing had been */
    }
    target_write(target, RING_DRIVER_STATUS, 1, 0);
    assert_int_equal(status_of(target), 0);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_quirk_reset_never_completes_can_say_what_status_reads(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.value = 0x40};
    struct target *target = open_quirky("reset-never-completes", &trigger);

    target_write(target, RING_DRIVER_STATUS, 1, 0);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(status_of(target), 0x40);
    target_close(target);
}

/* ---- used-id-out-of-range ---- */

static void test_quirk_used_id_is_replaced_as_often_as_said(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 1, .times = 2, .value = 0x12345678};
    struct target *target = open_quirky("used-id-out-of-range", &trigger);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    assert_int_equal(run_one(target, &queue), 3);
    assert_int_equal(run_one(target, &queue), 0x12345678);
    assert_int_equal(run_one(target, &queue), 0x12345678);
    assert_int_equal(run_one(target, &queue), 3);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_quirk_used_id_by_default_is_65535(void **state)
{
    struct target *target = open_quirky("used-id-out-of-range", NULL);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(run_one(target, &queue), 0xFFFF);
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

/* ---- lost-intx ---- */

static void test_quirk_lost_intx_publishes_in_silence(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 1, .times = 1, .value = UINT64_MAX};
    struct target *target = open_quirky("lost-intx", &trigger);
    struct ring_driver_queue queue;

    target_bring_up(target, &queue, 0);
    for (uint32_t i = 0; i < 4; i++) {
        run_one(target, &queue);
        assert_int_equal(target->line, i != 1);
        assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), i != 1);
    }
    ring_driver_queue_destroy(&queue);
    target_close(target);
}

static void test_quirk_lost_intx_strikes_its_queue_alone(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.value = 1};
    struct target *target = open_quirky("lost-intx", &trigger);
    struct ring_driver_queue queues[2];

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(ring_driver_queue_create(&queues[0], &target->driver, 0));
    assert_true(ring_driver_queue_create(&queues[1], &target->driver, 1));
    target_ready(target);
    for (uint32_t i = 0; i < 6; i++) {
        run_one(target, &queues[i % 2]);
        assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), i % 2 == 0);
    }
    ring_driver_queue_destroy(&queues[0]);
    ring_driver_queue_destroy(&queues[1]);
    target_close(target);
}

/* ---- features-ok-refused ---- */

static void test_quirk_features_ok_does_not_stick_as_often_as_said(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 1, .times = 2};
    struct target *target = open_quirky("features-ok-refused", &trigger);

    assert_true(ring_driver_bring_up(&target->driver, RING_DRIVER_ALL_FEATURES));
    for (uint32_t i = 0; i < 2; i++) {
        assert_false(ring_driver_bring_up(&target->driver, RING_DRIVER_ALL_FEATURES));
        assert_int_equal(status_of(target), 0x03);
    }
    assert_true(ring_driver_bring_up(&target->driver, RING_DRIVER_ALL_FEATURES));
    target_close(target);
}

/* ---- queue-enable-readback-zero ---- */

static void test_quirk_queue_enable_is_ignored_as_often_as_said(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.after = 1, .times = 2, .value = UINT64_MAX};
    struct target *target = open_quirky("queue-enable-readback-zero", &trigger);

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(enables(target, 0));
    assert_false(enables(target, 1));
    assert_false(enables(target, 1));
    assert_true(enables(target, 1));
    target_close(target);
}

static void test_quirk_queue_enable_strikes_its_queue_alone(void **state)
{
    const struct aero_sim_quirk_trigger trigger = {.value = 2};
    struct target *target = open_quirky("queue-enable-readback-zero", &trigger);

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    for (uint16_t i = 0; i < 4; i++)
        assert_int_equal(enables(target, i), i != 2);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quirk_catalogue_names_six_with_clause_and_summary),
        cmocka_unit_test(test_quirk_of_no_known_name_is_refused),
        cmocka_unit_test(test_quirk_surprise_removal_takes_the_function_away_for_good),
        cmocka_unit_test(test_quirk_surprise_removal_at_a_write_loses_the_write),
        cmocka_unit_test(test_quirk_surprise_removal_by_default_is_at_the_first_access),
        cmocka_unit_test(test_quirk_reset_never_completes_leaves_the_status),
        cmocka_unit_test(test_quirk_reset_never_completes_can_say_what_status_reads),
        cmocka_unit_test(test_quirk_used_id_is_replaced_as_often_as_said),
        cmocka_unit_test(test_quirk_used_id_by_default_is_65535),
        cmocka_unit_test(test_quirk_lost_intx_publishes_in_silence),
        cmocka_unit_test(test_quirk_lost_intx_strikes_its_queue_alone),
        cmocka_unit_test(test_quirk_features_ok_does_not_stick_as_often_as_said),
        cmocka_unit_test(test_quirk_queue_enable_is_ignored_as_often_as_said),
        cmocka_unit_test(test_quirk_queue_enable_strikes_its_queue_alone),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("quirk", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What stop, reset and a model's own threads may count on while the worker is busy (COM-8, COM-18;
 * aero_sim_device_stop): many short lives, so that the moments in question are met. What runs on the worker
 * counts, the test's thread judges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

/* What the model below is doing, and how slowly. One device at a time. */
static struct {
    struct aero_sim_device *device;
    _Atomic uint32_t inside;   /* in serve, or in event */
    _Atomic uint32_t overlaps; /* calls that the model's header says never overlap */
    _Atomic uint32_t closed;
    _Atomic uint32_t late; /* calls behind close */
    _Atomic uint32_t events;
    _Atomic uint32_t posted, seen; /* of aero_sim_device_wake */
    _Atomic uint32_t stop_waking;
    struct sim_os_thread *thread;
    uint32_t slowness;          /* pauses in serve */
    _Atomic uint32_t gate_shut; /* serve waits until it is open */
} busy;

static void pauses(uint32_t count)
{
    while (count--)
        sim_os_pause();
}

static void enter(void)
{
    if (atomic_fetch_add(&busy.inside, 1))
        atomic_fetch_add(&busy.overlaps, 1);
    if (atomic_load(&busy.closed))
        atomic_fetch_add(&busy.late, 1);
}

static void leave(void)
{
    atomic_fetch_sub(&busy.inside, 1);
}

static enum aero_sim_status busy_open(void *state, struct aero_sim_device *device,
                                      const struct aero_sim_backend *backend, char *error, size_t error_bytes)
{
    enter();
    busy.device = device;
    leave();
    return AERO_SIM_OK;
}

static void busy_close(void *state)
{
    enter();
    atomic_store(&busy.closed, 1);
    leave();
}

static void busy_reset(void *state)
{
    enter();
    leave();
}

static void busy_ready(void *state, uint64_t features)
{
    enter();
    leave();
}

static void busy_event(void *state)
{
    enter();
    atomic_fetch_add(&busy.events, 1);
    atomic_store(&busy.seen, atomic_load(&busy.posted));
    leave();
}

static uint32_t busy_serve(void *state, const struct aero_sim_chain *chain)
{
    static const uint8_t mark = 0x7E;

    enter();
    for (uint64_t end = target_deadline(); atomic_load(&busy.gate_shut) && sim_os_now_ns() < end;)
        sim_os_yield();
    pauses(busy.slowness);
    aero_sim_chain_write(chain, 0, &mark, 1);
    leave();
    return 1;
}

static const struct aero_sim_queue_spec busy_queues[] = {{"q", 64, busy_serve}};
static const struct aero_sim_model slow = {.name = "slow",
                                           .summary = "takes its time",
                                           .pci_device_id = 0x107F,
                                           .queue_count = 1,
                                           .queues = busy_queues,
                                           .open = busy_open,
                                           .close = busy_close,
                                           .reset = busy_reset,
                                           .ready = busy_ready,
                                           .event = busy_event};

static struct target *open_slow(struct ring_driver_queue *queue, uint32_t slowness,
                                struct target_options options)
{
    struct target *target;

    memset(&busy, 0, sizeof busy);
    busy.slowness = slowness;
    options.model = &slow;
    target = target_open(&options);
    target_bring_up(target, queue, 0);
    return target;
}

static void close_slow(struct target *target, struct ring_driver_queue *queue)
{
    ring_driver_queue_destroy(queue);
    target_close(target);
    assert_int_equal(busy.overlaps, 0);
    assert_int_equal(busy.late, 0);
    assert_int_equal(busy.closed, 1);
}

static void add(struct ring_driver_queue *queue, uint32_t count)
{
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 1, true};

    while (count--)
        assert_int_not_equal(ring_driver_add(queue, &buffer, 1), RING_DRIVER_FULL);
}

static void stop_after_doorbell(struct target_options options, uint32_t slowness)
{
    for (uint32_t i = 0; i < 200; i++) {
        struct ring_driver_queue queue;
        struct target *target;
        uint32_t chains = 1 + i % 3;

        options.spin_ns = i % 2 ? 0 : 50000;
        target = open_slow(&queue, slowness, options);
        pauses(i * 5 % 512);
        add(&queue, chains);
        ring_driver_kick(&queue);
        assert_int_equal(aero_sim_device_stop(target->driver.device), AERO_SIM_OK);
        assert_int_equal(__atomic_load_n(&queue.used[1], __ATOMIC_ACQUIRE), chains);
        assert_int_equal(busy.closed, 1);
        close_slow(target, &queue);
    }
}

static void test_stop_behind_a_doorbell_lets_it_be_served(void **state)
{
    stop_after_doorbell((struct target_options){.polled = false}, 0);
}

static void test_stop_behind_a_doorbell_waits_for_a_slow_model(void **state)
{
    stop_after_doorbell((struct target_options){.polled = false}, 300);
}

static void test_stop_behind_a_doorbell_in_poll_mode_lets_it_be_served(void **state)
{
    stop_after_doorbell((struct target_options){.polled = true}, 0);
}

static void test_stop_takes_the_line_down_and_ends_all_answers(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 0, (struct target_options){.polled = false});

    add(&queue, 1);
    ring_driver_kick(&queue);
    assert_true(target_wait_line(target, true));
    assert_int_equal(aero_sim_device_stop(target->driver.device), AERO_SIM_OK);
    assert_int_equal(target->line, 0);
    assert_false(aero_sim_device_intx_level(target->driver.device));
    assert_int_equal(target_read(target, 0x14, 1), 0xFF);
    assert_int_equal(target_pci_read(target, 0x00, 4), UINT32_MAX);
    close_slow(target, &queue);
}

static bool is_inside(void *context)
{
    (void)context;
    return atomic_load(&busy.inside);
}

static void test_step_of_a_device_with_a_worker_leaves_its_doorbells_alone(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 0, (struct target_options){.spin_ns = 50000});

    atomic_store(&busy.gate_shut, 1);
    add(&queue, 1);
    ring_driver_kick(&queue);
    assert_true(target_wait(target, is_inside, NULL));
    add(&queue, 1);
    ring_driver_kick(&queue);
    assert_false(aero_sim_device_step(target->driver.device));
    assert_false(ring_driver_used(&queue));
    atomic_store(&busy.gate_shut, 0);
    assert_true(ring_driver_wait(&queue, NULL, NULL));
    assert_true(ring_driver_wait(&queue, NULL, NULL));
    close_slow(target, &queue);
}

/* COM-18: once status reads 0 the device has left guest memory for good. */
static void com_08_reset_of_a_busy_device_ends_its_writing(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 20, (struct target_options){.spin_ns = 50000});

    for (uint32_t i = 0; i < 150; i++) {
        uint8_t *mark = target_at(target, RING_DRIVER_HIGH_GPA, 1);
        uint16_t used;

        add(&queue, 64);
        ring_driver_kick(&queue);
        pauses(i * 11 % 2000);
        target_write(target, RING_DRIVER_STATUS, 1, 0);
        assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0);
        assert_int_equal(busy.inside, 0);
        used = __atomic_load_n(&queue.used[1], __ATOMIC_RELAXED);
        *mark = 0; /* no atomics: it is the driver's alone now, as ThreadSanitizer can tell */
        memset(queue.desc, 0xFF, 16 * 64);
        ring_driver_kick(&queue);
        pauses(100);
        assert_int_equal(*mark, 0);
        assert_int_equal(__atomic_load_n(&queue.used[1], __ATOMIC_RELAXED), used);
        assert_int_equal(target->line, 0);
        ring_driver_queue_destroy(&queue);
        target->driver.allocated = 0; /* the same rings again */
        memset(target_at(target, RING_DRIVER_LOW_GPA, 65536), 0, 65536);
        target_bring_up(target, &queue, 0);
    }
    close_slow(target, &queue);
}

static void pci_14_bus_master_off_waits_for_a_busy_device(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 20, (struct target_options){.spin_ns = 50000});

    for (uint32_t i = 0; i < 150; i++) {
        uint16_t used;

        add(&queue, 8);
        ring_driver_kick(&queue);
        pauses(i * 11 % 1000);
        target_pci_write(target, 0x04, 2, 0x0002);
        assert_int_equal(busy.inside, 0);
        used = __atomic_load_n(&queue.used[1], __ATOMIC_ACQUIRE);
        pauses(100);
        assert_int_equal(__atomic_load_n(&queue.used[1], __ATOMIC_ACQUIRE), used);
        target_pci_write(target, 0x04, 2, 0x0006);
        for (uint32_t j = 0; j < 8; j++)
            assert_true(ring_driver_wait(&queue, NULL, NULL)); /* none was lost */
    }
    close_slow(target, &queue);
}

/* ---- A model's own threads ---- */

static bool event_seen(void *context)
{
    (void)context;
    return atomic_load(&busy.seen) == atomic_load(&busy.posted);
}

static void test_wake_always_brings_an_event(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 0, (struct target_options){.spin_ns = 0});

    for (uint32_t i = 0; i < 2000; i++) {
        pauses(i * 3 % 256);
        atomic_fetch_add(&busy.posted, 1);
        aero_sim_device_wake(target->driver.device);
        assert_true(target_wait(target, event_seen, NULL));
    }
    close_slow(target, &queue);
}

static void wake_until_closed(void *context)
{
    while (!atomic_load(&busy.stop_waking))
        aero_sim_device_wake(context);
}

static enum aero_sim_status open_with_thread(void *state, struct aero_sim_device *device,
                                             const struct aero_sim_backend *backend, char *error,
                                             size_t error_bytes)
{
    atomic_store(&busy.closed, 0);
    atomic_store(&busy.stop_waking, 0);
    busy.thread = sim_os_thread_start(wake_until_closed, device, -1);
    return busy.thread ? busy_open(state, device, backend, error, error_bytes) : AERO_SIM_NO_MEMORY;
}

static void close_with_thread(void *state)
{
    atomic_store(&busy.stop_waking, 1);
    sim_os_thread_join(busy.thread);
    busy_close(state);
}

static bool any_event(void *context)
{
    (void)context;
    return atomic_load(&busy.events) != 0;
}

static void test_wake_from_a_models_thread_is_legal_from_open_to_close(void **state)
{
    static struct aero_sim_model threaded;
    struct ring_driver_queue queue;
    struct target *target = open_slow(&queue, 0, (struct target_options){.spin_ns = 1000});

    /* DRIVER_OK's own event: on a busy host it would come behind the first close, and count as late. */
    assert_true(target_wait(target, any_event, NULL));
    threaded = slow;
    threaded.open = open_with_thread;
    threaded.close = close_with_thread;
    for (uint32_t i = 0; i < 100; i++) {
        struct target *neighbour =
            target_open(&(struct target_options){.model = &threaded, .beside = target, .share_bytes = 4096});

        if (i % 2) {
            target_negotiate(neighbour, RING_DRIVER_ALL_FEATURES);
            target_ready(neighbour);
        }
        target_close(neighbour);
        assert_int_equal(busy.overlaps, 0);
        assert_int_equal(busy.late, 0);
        atomic_store(&busy.closed, 0);
    }
    close_slow(target, &queue);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_behind_a_doorbell_lets_it_be_served),
        cmocka_unit_test(test_stop_behind_a_doorbell_waits_for_a_slow_model),
        cmocka_unit_test(test_stop_behind_a_doorbell_in_poll_mode_lets_it_be_served),
        cmocka_unit_test(test_stop_takes_the_line_down_and_ends_all_answers),
        cmocka_unit_test(test_step_of_a_device_with_a_worker_leaves_its_doorbells_alone),
        cmocka_unit_test(com_08_reset_of_a_busy_device_ends_its_writing),
        cmocka_unit_test(pci_14_bus_master_off_waits_for_a_busy_device),
        cmocka_unit_test(test_wake_always_brings_an_event),
        cmocka_unit_test(test_wake_from_a_models_thread_is_legal_from_open_to_close),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("worker, busy", tests, NULL, NULL);
}

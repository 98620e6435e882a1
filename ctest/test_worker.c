/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The worker: doorbells that race with its falling asleep, many devices on one, poll mode, what stop and
 * reset promise while it is busy. Threads that play a second driver only count; the test's thread judges.
 * Waits end after seconds at the latest, and only to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define ROUNDS 1500u

static uint32_t serve_nothing(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static struct aero_sim_queue_spec queues[AERO_SIM_QUEUES_MAX];
static const struct aero_sim_model small = {
    .name = "small", .summary = "one queue", .pci_device_id = 0x107F, .queue_count = 1, .queues = queues};
static const struct aero_sim_model wide = {.name = "wide",
                                           .summary = "as many queues as there are",
                                           .pci_device_id = 0x107F,
                                           .queue_count = AERO_SIM_QUEUES_MAX,
                                           .queues = queues};

static int name_queues(void **state)
{
    for (uint32_t i = 0; i < AERO_SIM_QUEUES_MAX; i++)
        queues[i] = (struct aero_sim_queue_spec){"q", 4, serve_nothing};
    return 0;
}

static void pauses(uint32_t count)
{
    while (count--)
        sim_os_pause();
}

/* Waits in grains of a few instructions, to meet the worker at each of its own. */
static void linger(uint32_t count)
{
    for (volatile uint32_t i = 0; i < count; i++)
        ;
}

static void add_one(struct ring_driver_queue *queue)
{
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 4, false};

    assert_int_not_equal(ring_driver_add(queue, &buffer, 1), RING_DRIVER_FULL);
}

static struct target *open_with(struct ring_driver_queue *queue, const struct target_options *options)
{
    struct target *target = target_open(options);

    target_bring_up(target, queue, 0);
    return target;
}

static void close_with(struct target *target, struct ring_driver_queue *queue)
{
    ring_driver_queue_destroy(queue);
    target_close(target);
}

/* ---- Create and destroy ---- */

static void test_worker_create_of_bad_arguments_is_refused(void **state)
{
    struct aero_sim_worker *worker = (struct aero_sim_worker *)(void *)&worker;
    struct aero_sim_worker_options options = {.cpu = 1 << 20};

    assert_int_equal(aero_sim_worker_create(NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_worker_create(&options, &worker), AERO_SIM_BAD_ARGUMENT);
    assert_null(worker);
    options.cpu = -2;
    assert_int_equal(aero_sim_worker_create(&options, &worker), AERO_SIM_BAD_ARGUMENT);
    aero_sim_worker_destroy(NULL);
}

static void test_worker_without_devices_comes_and_goes(void **state)
{
    struct aero_sim_worker_options options = {.spin_ns = 0, .cpu = -1};

    for (uint32_t i = 0; i < 100; i++) {
        struct aero_sim_worker *worker;

        options.cpu = i % 2 && sim_os_cpu_usable(0) ? 0 : -1;
        assert_int_equal(aero_sim_worker_create(i % 3 ? &options : NULL, &worker), AERO_SIM_OK);
        pauses(i * 10);
        aero_sim_worker_destroy(worker);
    }
}

/* ---- Doorbells against falling asleep ---- */

static uint32_t ring_and_wait(uint32_t spin_ns, uint16_t index, uint32_t rounds)
{
    struct ring_driver_queue queue;
    struct target *target = target_open(&(struct target_options){.model = &wide, .spin_ns = spin_ns});
    struct aero_sim_counters counters;

    target_bring_up(target, &queue, index);
    for (uint32_t i = 0; i < rounds; i++) {
        add_one(&queue);
        linger(i * 7 % 2048); /* so that it meets every moment of the way to sleep */
        ring_driver_kick(&queue);
        assert_true(ring_driver_wait(&queue, NULL, NULL));
    }
    aero_sim_device_counters(target->driver.device, &counters);
    assert_int_equal(counters.chains, rounds);
    assert_int_equal(counters.doorbells, rounds);
    close_with(target, &queue);
    return counters.sleeps;
}

static void ntf_03_doorbell_wakes_a_worker_that_sleeps_at_once(void **state)
{
    assert_int_not_equal(ring_and_wait(0, 0, ROUNDS), 0);
    assert_int_not_equal(ring_and_wait(0, 63, ROUNDS), 0); /* its bell stands in another word */
}

static void ntf_03_doorbell_meets_a_worker_that_spins_shortly(void **state)
{
    ring_and_wait(1, 32, ROUNDS);
    ring_and_wait(3000, 1, ROUNDS);
}

static void ntf_03_doorbell_meets_a_worker_that_never_sleeps(void **state)
{
    ring_and_wait(UINT32_MAX, 0, ROUNDS);
}

/* The driver waits for the line, not for the ring: quirk 10's race, from the device's side (P3, ring.h). */
static void int_04_interrupt_follows_every_doorbell(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small});
    uint64_t end = target_deadline();

    for (uint32_t i = 0; i < ROUNDS / 3; i++) {
        add_one(&queue);
        ring_driver_kick(&queue);
        do {
            assert_true(sim_os_now_ns() < end);
            assert_true(target_wait_line(target, true));
        } while (!target_read(target, RING_DRIVER_ISR,
                              1));             /* 0: the line of the last round, still on its way down */
        assert_true(ring_driver_used(&queue)); /* RNG-9: the element came first */
        assert_true(ring_driver_wait(&queue, NULL, NULL));
    }
    close_with(target, &queue);
}

static void int_05_interrupts_switched_on_again_lose_no_completion(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small, .spin_ns = 50000});
    uint64_t end = target_deadline();

    for (uint32_t i = 0; i < 2 * ROUNDS; i++) {
        __atomic_store_n(&queue.avail[0], 1, __ATOMIC_RELAXED);
        add_one(&queue);
        ring_driver_kick(&queue);
        linger(i * 7 % 1024);
        __atomic_store_n(&queue.avail[0], 0, __ATOMIC_RELAXED);
        sim_os_full_barrier(); /* P3 */
        while (!ring_driver_used(&queue)) {
            assert_true(sim_os_now_ns() < end);
            assert_true(target_wait_line(target, true));
            (void)target_read(target, RING_DRIVER_ISR, 1); /* it may have been for the round before */
        }
        assert_true(ring_driver_wait(&queue, NULL, NULL));
    }
    close_with(target, &queue);
}

/*
 * A doorbell that comes while bus mastering is off is kept, also where the worker throws it away just then.
 */
static void pci_14_doorbell_just_before_bus_master_goes_on_is_kept(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small, .spin_ns = 50000});

    for (uint32_t i = 0; i < 2 * ROUNDS; i++) {
        target_pci_write(target, 0x04, 2, 0x0002);
        add_one(&queue);
        ring_driver_kick(&queue);
        linger(i * 7 % 512);
        target_pci_write(target, 0x04, 2, 0x0006);
        assert_true(ring_driver_wait(&queue, NULL, NULL));
    }
    close_with(target, &queue);
}

struct second_driver {
    struct ring_driver_queue *queue;
    uint32_t rounds, done;
};

static void ring_from_another_thread(void *context)
{
    struct second_driver *second = context;
    const struct ring_driver_buffer buffer = {RING_DRIVER_HIGH_GPA, 4, false};

    while (second->done < second->rounds && ring_driver_add(second->queue, &buffer, 1) != RING_DRIVER_FULL) {
        ring_driver_kick(second->queue);
        if (!ring_driver_wait(second->queue, NULL, NULL))
            return;
        second->done++;
    }
}

static void ntf_03_two_threads_on_two_queues_lose_no_doorbell(void **state)
{
    static struct ring_driver_queue both[2];
    static struct second_driver second, first;
    struct target *target = target_open(&(struct target_options){.model = &wide});
    struct sim_os_thread *thread;

    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(
        ring_driver_queue_create(&both[0], &target->driver, 31)); /* the same word of bells, and another */
    assert_true(ring_driver_queue_create(&both[1], &target->driver, 32));
    target_ready(target);
    first = (struct second_driver){.queue = &both[0], .rounds = ROUNDS};
    second = (struct second_driver){.queue = &both[1], .rounds = ROUNDS};
    thread = sim_os_thread_start(ring_from_another_thread, &second, -1);
    assert_non_null(thread);
    ring_from_another_thread(&first);
    sim_os_thread_join(thread);
    assert_int_equal(first.done, ROUNDS);
    assert_int_equal(second.done, ROUNDS);
    ring_driver_queue_destroy(&both[0]);
    close_with(target, &both[1]);
}

/* ---- Several devices ---- */

static void test_worker_serves_every_queue_of_wide_devices(void **state)
{
    static struct ring_driver_queue all[3][AERO_SIM_QUEUES_MAX];
    struct target *targets[3] = {NULL};

    for (uint32_t i = 0; i < 3; i++) {
        targets[i] = target_open(&(struct target_options){.model = &wide, .beside = targets[0]});
        target_negotiate(targets[i], RING_DRIVER_ALL_FEATURES);
        for (uint16_t j = 0; j < AERO_SIM_QUEUES_MAX; j++)
            assert_true(ring_driver_queue_create(&all[i][j], &targets[i]->driver, j));
        target_ready(targets[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < AERO_SIM_QUEUES_MAX; j++) {
            add_one(&all[i][j]);
            ring_driver_kick(&all[i][j]);
        }
    }
    for (uint32_t i = 3; i-- > 0;) {
        for (uint32_t j = AERO_SIM_QUEUES_MAX; j-- > 0;) {
            assert_true(ring_driver_wait(&all[i][j], NULL, NULL));
            ring_driver_queue_destroy(&all[i][j]);
        }
        target_close(targets[i]);
    }
}

/* 256 devices serve, the next is refused, and there is room again once one has gone. */
static void test_worker_of_256_devices_serves_all_and_refuses_one_more(void **state)
{
    static struct target *targets[AERO_SIM_DEVICES_MAX];
    static struct ring_driver_queue one[AERO_SIM_DEVICES_MAX];
    struct aero_sim_device *extra;
    uint32_t i;

    targets[0] = NULL;
    for (i = 0; i < AERO_SIM_DEVICES_MAX; i++)
        targets[i] = open_with(
            &one[i], &(struct target_options){.model = &small, .beside = targets[0], .share_bytes = 4096});
    assert_int_equal(
        aero_sim_device_create(&small, targets[0]->driver.memory, targets[0]->driver.worker, &extra),
        AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(extra), AERO_SIM_LIMIT);
    assert_non_null(strstr(aero_sim_device_error(extra), "256"));
    for (uint32_t round = 0; round < 3; round++) {
        for (i = 0; i < AERO_SIM_DEVICES_MAX; i++) {
            add_one(&one[i]);
            ring_driver_kick(&one[i]);
        }
        for (i = 0; i < AERO_SIM_DEVICES_MAX; i++)
            assert_true(ring_driver_wait(&one[i], NULL, NULL));
    }
    close_with(targets[100], &one[100]);
    assert_int_equal(aero_sim_device_start(extra), AERO_SIM_OK);
    aero_sim_device_destroy(extra);
    for (i = AERO_SIM_DEVICES_MAX; i-- > 0;) {
        if (i != 100)
            close_with(targets[i], &one[i]);
    }
}

static void test_worker_serves_on_while_neighbours_start_and_stop(void **state)
{
    static struct ring_driver_queue busy;
    static struct second_driver second;
    struct target *target = open_with(&busy, &(struct target_options){.model = &small});
    struct sim_os_thread *thread;

    second = (struct second_driver){.queue = &busy, .rounds = ROUNDS};
    thread = sim_os_thread_start(ring_from_another_thread, &second, -1);
    assert_non_null(thread);
    for (uint32_t i = 0; i < 60; i++) {
        struct ring_driver_queue ones[2];
        struct target *neighbours[2];

        for (uint32_t j = 0; j < 2; j++)
            neighbours[j] = open_with(&ones[j], &(struct target_options){.model = j ? &small : &wide,
                                                                         .share_bytes = 8192,
                                                                         .beside = target,
                                                                         .polled = i % 3 == j});
        for (uint32_t j = 0; j < 2; j++) {
            add_one(&ones[(i + j) % 2]);
            ring_driver_kick(&ones[(i + j) % 2]);
            assert_true(ring_driver_wait(&ones[(i + j) % 2], NULL, NULL));
            close_with(neighbours[(i + j) % 2], &ones[(i + j) % 2]);
        }
    }
    sim_os_thread_join(thread);
    assert_int_equal(second.done, ROUNDS);
    close_with(target, &busy);
}

/* ---- Poll mode ---- */

static void test_worker_in_poll_mode_serves_without_a_doorbell(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small, .polled = true});

    for (uint32_t i = 0; i < ROUNDS / 3; i++) {
        add_one(&queue);
        ring_driver_publish(&queue);
        assert_true(ring_driver_wait(&queue, NULL, NULL));
        if (i % 100 == 0) { /* bus mastering and resets reach a worker that stays inside */
            target_pci_write(target, 0x04, 2, 0x0002);
            add_one(&queue);
            ring_driver_publish(&queue);
            pauses(1000);
            assert_false(ring_driver_used(&queue));
            target_pci_write(target, 0x04, 2, 0x0006);
            assert_true(ring_driver_wait(&queue, NULL, NULL));
        }
    }
    close_with(target, &queue);
}

static void ntf_05_without_poll_mode_no_doorbell_means_no_service(void **state)
{
    struct ring_driver_queue queue;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small});
    uint32_t rounds = 0;
    bool served;

    add_one(&queue);
    ring_driver_kick(&queue);
    assert_true(ring_driver_wait(&queue, NULL, NULL));
    /*
     * DRIVER_OK rang the bell as well, and what was published before the doorbell may have been served by that: then the
     * doorbell's own ring is still to be taken, and brings service once more. After that there is none left.
     */
    do {
        add_one(&queue);
        ring_driver_publish(&queue);
        pauses(20000);
        served = ring_driver_used(&queue);
        if (served)
            assert_true(ring_driver_wait(&queue, NULL, NULL));
    } while (served && ++rounds < 4);
    assert_false(served);
    ring_driver_kick(&queue);
    assert_true(ring_driver_wait(&queue, NULL, NULL));
    close_with(target, &queue);
}

static void test_worker_sleeps_again_once_polled_devices_are_gone(void **state)
{
    struct ring_driver_queue queue, other;
    struct target *target = open_with(&queue, &(struct target_options){.model = &small});
    struct target *polled =
        open_with(&other, &(struct target_options){.model = &small, .beside = target, .polled = true});
    struct aero_sim_counters before, counters;

    close_with(polled, &other);
    aero_sim_device_counters(target->driver.device, &before);
    add_one(&queue);
    ring_driver_kick(&queue);
    assert_true(ring_driver_wait(&queue, NULL, NULL));
    for (uint64_t end = target_deadline(); sim_os_now_ns() < end; sim_os_yield()) {
        aero_sim_device_counters(target->driver.device, &counters);
        if (counters.sleeps > before.sleeps)
            break;
    }
    assert_true(counters.sleeps > before.sleeps);
    close_with(target, &queue);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_create_of_bad_arguments_is_refused),
        cmocka_unit_test(test_worker_without_devices_comes_and_goes),
        cmocka_unit_test(ntf_03_doorbell_wakes_a_worker_that_sleeps_at_once),
        cmocka_unit_test(ntf_03_doorbell_meets_a_worker_that_spins_shortly),
        cmocka_unit_test(ntf_03_doorbell_meets_a_worker_that_never_sleeps),
        cmocka_unit_test(int_04_interrupt_follows_every_doorbell),
        cmocka_unit_test(int_05_interrupts_switched_on_again_lose_no_completion),
        cmocka_unit_test(pci_14_doorbell_just_before_bus_master_goes_on_is_kept),
        cmocka_unit_test(ntf_03_two_threads_on_two_queues_lose_no_doorbell),
        cmocka_unit_test(test_worker_serves_every_queue_of_wide_devices),
        cmocka_unit_test(test_worker_of_256_devices_serves_all_and_refuses_one_more),
        cmocka_unit_test(test_worker_serves_on_while_neighbours_start_and_stop),
        cmocka_unit_test(test_worker_in_poll_mode_serves_without_a_doorbell),
        cmocka_unit_test(ntf_05_without_poll_mode_no_doorbell_means_no_service),
        cmocka_unit_test(test_worker_sleeps_again_once_polled_devices_are_gone),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("worker", tests, name_queues, NULL);
}

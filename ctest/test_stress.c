/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Random traffic, seeded: the real transport and ring on one or two virtual CPUs against loopback devices on
 * a worker thread, with random suppression of interrupts and resets in mid-traffic. nt_traffic.h judges every
 * byte and cookie. The seed is printed first; AERO_SEED=number runs that seed alone. Threads make each run
 * another one: the seed fixes what is asked for, not when. Nothing sleeps to wait, and each wait has an end,
 * which is a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nt_traffic.h"
#include "test_program.h"

#define WAIT_MS 10000u
#define WAIT_NS (WAIT_MS * UINT64_C(1000000))
#define WRAP    65536u

static const uint64_t default_seeds[] = {0x2A, UINT64_C(0x9E3779B97F4A7C15)};

struct scenario {
    const char *name;
    uint32_t chains; /* a seed, before scaling; a multiple of WRAP isn't scaled below 1 WRAP and a bit */
    uint16_t queue_size;
    uint16_t indirect;
    uint32_t devices;
    uint32_t queues;
    uint32_t cpus;  /* 2: interrupts and DPCs run on another CPU than submission */
    uint32_t batch; /* at most, chains between two doorbells */
    uint32_t slot_bytes;
    uint32_t segments; /* at most, a chain */
    uint32_t worker_spin_ns;
    uint32_t cpu_spin_ns;
    uint32_t resets; /* one in so many batches ends in a reset; 0: none */
    bool poll;
    bool modes; /* random suppression of interrupts */
    bool one_by_one;
};

struct stress {
    const struct scenario *scenario;
    struct nt_rig rig;
    struct nt_rig_cpu cpu1;
    struct nt_traffic_arena arena;
    struct nt_traffic_verdict verdict;
    struct nt_traffic traffic[NT_RIG_DEVICES_MAX];
    NT_DRIVER_MODE modes[NT_RIG_DEVICES_MAX][NT_DRIVER_QUEUES_MAX]; /* CPU 0's */
    uint64_t random;                                                /* CPU 0's */
    uint64_t random1;                                               /* CPU 1's */
    uint64_t added;
    uint64_t resets;
    _Atomic uint32_t resets1;
};

static struct stress stress;
static bool broken; /* a scenario has failed */

/* ---- Resets ---- */

/* Any CPU. */
static bool recover(struct nt_traffic *traffic)
{
    NTSTATUS status = NtDriverRecover(&traffic->driver);

    if (!NT_SUCCESS(status) && status != STATUS_DEVICE_BUSY)
        nt_traffic_fail(&stress.verdict, "a reset in traffic: %s says 0x%08X", traffic->driver.FailedIn,
                        (unsigned)status);
    return status == STATUS_SUCCESS;
}

/* CPU 1, when CPU 0 asks for it and goes on submitting. */
static void recover_on_cpu1(void *context)
{
    struct stress *self = context;

    if (recover(&self->traffic[nt_rig_below(&self->random1, self->scenario->devices)]))
        atomic_fetch_add(&self->resets1, 1);
}

static void maybe_reset(void)
{
    const struct scenario *scenario = stress.scenario;

    if (scenario->resets == 0 || nt_rig_below(&stress.random, scenario->resets) != 0)
        return;
    if (scenario->cpus > 1 && nt_rig_below(&stress.random, 2) != 0)
        KeSetEvent(&stress.cpu1.request, IO_NO_INCREMENT, FALSE);
    else
        stress.resets += recover(&stress.traffic[nt_rig_below(&stress.random, scenario->devices)]);
}

/* ---- Waiting, always with an end ---- */

static bool wait_for_event(struct nt_traffic *traffic, const char *what)
{
    if (NtDriverWait(&traffic->driver, WAIT_MS) == STATUS_SUCCESS)
        return true;
    nt_traffic_fail(&stress.verdict, "%s: nothing came for %u ms (%s)", stress.scenario->name, WAIT_MS, what);
    return false;
}

/* Until fewer chains are in flight than `in_flight`: by interrupts, unless the queue is quiet. */
static void await_fewer(uint32_t device, uint32_t queue, uint32_t in_flight)
{
    struct nt_traffic *traffic = &stress.traffic[device];
    uint64_t end = sim_os_now_ns() + WAIT_NS;

    while (!nt_traffic_failed(&stress.verdict) && NtDriverInFlight(&traffic->driver, queue) >= in_flight) {
        if (stress.modes[device][queue] != NtDriverQuiet) {
            wait_for_event(traffic, "a completion");
        } else if (NtDriverDrain(&traffic->driver, queue) == 0) {
            if (sim_os_now_ns() >= end)
                nt_traffic_fail(&stress.verdict, "queue %u: nothing to drain for %u ms", (unsigned)queue,
                                WAIT_MS);
            sim_os_yield();
        }
    }
}

/* ---- Traffic ---- */

static void random_mode(uint32_t device, uint32_t queue)
{
    static const NT_DRIVER_MODE modes[] = {NtDriverPlain, NtDriverModerate, NtDriverQuiet};

    if (!stress.scenario->modes || nt_rig_below(&stress.random, 16) != 0)
        return;
    stress.modes[device][queue] = modes[nt_rig_below(&stress.random, 3)];
    NtDriverSetMode(&stress.traffic[device].driver, queue, stress.modes[device][queue]);
}

/* A random batch for a random queue; now and then it is left unpublished for the next one to take along. */
static void batch(void)
{
    const struct scenario *scenario = stress.scenario;
    uint32_t device = nt_rig_below(&stress.random, scenario->devices);
    uint32_t queue = nt_rig_below(&stress.random, scenario->queues);
    uint32_t left = 1 + nt_rig_below(&stress.random, scenario->batch);
    struct nt_traffic *traffic = &stress.traffic[device];
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t in_flight;

    for (; left != 0 && status == STATUS_SUCCESS; left--) {
        status = nt_traffic_add(traffic, queue, &stress.random);
        stress.added += status == STATUS_SUCCESS;
    }
    if (status != STATUS_SUCCESS || nt_rig_below(&stress.random, 8) != 0)
        NtDriverKick(&traffic->driver, queue);
    if (nt_rig_below(&stress.random, 32) == 0)
        NtDriverDrain(&traffic->driver, queue);
    random_mode(device, queue);
    maybe_reset();
    if (status == STATUS_INSUFFICIENT_RESOURCES) {
        /* Down to any depth, so that the ring runs full, half full and empty. */
        in_flight = NtDriverInFlight(&traffic->driver, queue);
        NtDriverKick(&traffic->driver, queue);
        if (in_flight != 0)
            await_fewer(device, queue, 1 + nt_rig_below(&stress.random, in_flight));
    } else if (status == STATUS_DEVICE_NOT_READY) {
        wait_for_event(traffic, "the end of a reset");
    }
}

/* Everything published, served and reaped. A reset that CPU 1 is still at opens the gate at its end. */
static void settle(void)
{
    for (uint32_t device = 0; device < stress.scenario->devices; device++) {
        for (uint32_t queue = 0; queue < stress.scenario->queues; queue++) {
            NT_DRIVER *driver = &stress.traffic[device].driver;

            stress.modes[device][queue] = NtDriverPlain;
            NtDriverSetMode(driver, queue, NtDriverPlain);
            NtDriverKick(driver, queue);
            await_fewer(device, queue, 1);
        }
    }
}

/* ---- Judgement, when nothing moves any more ---- */

static void judge_counters(uint32_t device)
{
    const NT_DRIVER *driver = &stress.traffic[device].driver;
    struct aero_sim_counters counters = nt_rig_counters(&stress.rig, device);
    bool resets = stress.resets + atomic_load(&stress.resets1) != 0;
    uint64_t added = 0, completed = 0, doorbells = 0;

    for (uint32_t queue = 0; queue < stress.scenario->queues; queue++) {
        added += driver->Queues[queue].Added;
        completed += driver->Queues[queue].Completed;
        doorbells += driver->Queues[queue].Doorbells;
    }
    if (counters.doorbells != doorbells || doorbells > added)
        nt_traffic_fail(&stress.verdict, "%u doorbells reached the device, %llu were rung for %llu chains",
                        (unsigned)counters.doorbells, (unsigned long long)doorbells,
                        (unsigned long long)added);
    if (counters.chains < completed || counters.chains > added || (!resets && completed != added))
        nt_traffic_fail(&stress.verdict, "of %llu chains the device served %u and the driver saw %llu",
                        (unsigned long long)added, (unsigned)counters.chains, (unsigned long long)completed);
    if ((ULONG)driver->Claimed > counters.chains || driver->NeedsReset || driver->ConfigCauses)
        nt_traffic_fail(&stress.verdict, "%d interrupts for %u chains; configuration causes: %d",
                        driver->Claimed, (unsigned)counters.chains, driver->ConfigCauses);
    if (atomic_load(&stress.rig.device_breaches))
        nt_traffic_fail(&stress.verdict, "the device reported a breach of %s",
                        atomic_load(&stress.rig.device_clause));
}

/* ---- A run ---- */

static bool prepare(const struct scenario *scenario, uint64_t seed)
{
    struct nt_rig_options options = nt_rig_options_default();
    struct aero_nt_attach_options attach = {.line = 2, .cpu = scenario->cpus - 1};

    memset(&stress, 0, sizeof stress);
    stress.scenario = scenario;
    stress.random = seed;
    stress.random1 = ~seed;
    options.cpus = scenario->cpus;
    options.cpu_spin_ns = scenario->cpu_spin_ns;
    options.worker_spin_ns = scenario->worker_spin_ns;
    if (!nt_rig_create(&stress.rig, &options) || !nt_traffic_arena_create(&stress.arena, &stress.rig))
        return false;
    for (uint32_t i = 0; i < scenario->devices; i++) {
        if (!nt_rig_add(&stress.rig, aero_sim_model_find("loopback"), &attach) ||
            aero_sim_device_set_poll_mode(stress.rig.devices[i].device, scenario->poll))
            return false;
        for (uint16_t queue = 0; queue < 4; queue++) {
            if (aero_sim_device_set_queue_size(stress.rig.devices[i].device, queue, scenario->queue_size))
                return false;
        }
    }
    if (!nt_rig_power_on(&stress.rig))
        return false;
    return scenario->cpus == 1 || nt_rig_cpu_start(&stress.cpu1, &stress.rig, recover_on_cpu1, &stress);
}

static bool start_drivers(uint64_t seed)
{
    const struct scenario *scenario = stress.scenario;
    const struct nt_traffic_options options = {
        .queue_count = scenario->queues,
        .indirect = scenario->indirect,
        .slot_bytes = scenario->slot_bytes,
        .slots = NT_TRAFFIC_SLOTS_MAX / scenario->devices,
        .segments_max = scenario->segments,
        .one_by_one = scenario->one_by_one,
    };

    for (uint32_t i = 0; i < scenario->devices; i++) {
        NTSTATUS status = nt_traffic_start(&stress.traffic[i], &stress.rig.devices[i].resources, &options,
                                           &stress.arena, &stress.verdict, seed + i);

        if (status != STATUS_SUCCESS) {
            nt_traffic_fail(&stress.verdict, "%s: 0x%08X", stress.traffic[i].driver.FailedIn,
                            (unsigned)status);
            return false;
        }
    }
    return true;
}

/* CPU 1 stays until no interrupt can come any more. */
static uint32_t finish(bool judged)
{
    uint32_t breaches;

    if (judged && stress.scenario->cpus > 1)
        KeFlushQueuedDpcs();
    nt_rig_cpu_stop(&stress.cpu1);
    for (uint32_t i = 0; judged && i < stress.scenario->devices; i++) {
        nt_traffic_judge(&stress.traffic[i]);
        judge_counters(i);
    }
    for (uint32_t i = 0; stress.rig.entered && i < stress.scenario->devices; i++)
        NtDriverStop(&stress.traffic[i].driver);
    breaches = nt_rig_destroy(&stress.rig);
    nt_traffic_arena_destroy(&stress.arena);
    return breaches;
}

/* Past the wrap of 16-bit indices whatever the build, where the native run goes past it more than once. */
static uint64_t target(const struct scenario *scenario)
{
    uint64_t scaled = nt_rig_scale(scenario->chains);

    return scenario->chains > WRAP && scaled < WRAP + WRAP / 16 ? WRAP + WRAP / 16 : scaled;
}

static void run(const struct scenario *scenario, uint64_t seed)
{
    bool ready = prepare(scenario, seed);
    bool started = ready && start_drivers(seed);
    uint32_t breaches;

    while (started && stress.added < target(scenario) && !nt_traffic_failed(&stress.verdict))
        batch();
    if (started)
        settle();
    breaches = finish(started && !nt_traffic_failed(&stress.verdict));
    broken = !started || breaches || nt_traffic_failed(&stress.verdict);
    if (nt_traffic_failed(&stress.verdict))
        fail_msg("%s, seed 0x%llx: %s", scenario->name, (unsigned long long)seed, stress.verdict.text);
    assert_true(started);
    assert_int_equal(breaches, 0);
    if (scenario->resets)
        assert_true(stress.resets + atomic_load(&stress.resets1) > 0);
}

static void test_stress(void **state)
{
    const char *chosen = getenv("AERO_SEED");

    if (broken)
        skip(); /* one that waits in vain takes long, and tells enough */
    if (chosen) {
        run(*state, strtoull(chosen, NULL, 0));
        return;
    }
    for (size_t i = 0; i < sizeof default_seeds / sizeof default_seeds[0]; i++) {
        if (i == 0 || ((const struct scenario *)*state)->chains < WRAP)
            run(*state, default_seeds[i]);
    }
}

/* clang-format off */
static struct scenario scenarios[] = {
    /* chains, size, indirect, devices, queues, cpus, batch, slot, segments, spins, resets, poll, ... */
    {"stress_one_descriptor_wraps",        66500,  1,  0, 1, 1, 1,   1,   16,  1,  5000,  5000,  0, 0, 0, 1},
    {"stress_two_descriptors_wrap",        66500,  2,  0, 1, 1, 1,   2,   24,  2,  5000,  5000,  0, 0, 0, 0},
    {"stress_four_descriptors_wrap",       66500,  4,  2, 1, 1, 1,   4,   24,  3,  5000,  5000,  0, 0, 1, 0},
    {"stress_64_descriptors_wrap_thrice",  200000, 64, 0, 1, 1, 1,   64,  24,  2,  50000, 50000, 0, 0, 0, 1},
    {"stress_256_descriptors_wrap_thrice", 200000, 256, 4, 1, 1, 2,  256, 40,  4,  50000, 50000, 0, 0, 1, 0},
    {"stress_all_queues_direct",           20000,  64, 0, 1, 4, 1,   16, 1100, 12, 50000, 50000, 0, 0, 1, 0},
    {"stress_all_queues_indirect_pages",   5000,   64, 16, 1, 4, 2,  16, 5900, 16, 50000, 0,     0, 0, 1, 0},
    {"stress_worker_asleep",               10000,  256, 8, 1, 4, 2,  8,   300, 6,  0,     0,     0, 0, 1, 0},
    {"stress_polled_two_devices",          20000,  64, 8, 2, 4, 1,   16,  200, 6,  50000, 50000, 0, 1, 1, 0},
    {"stress_two_devices_on_one_worker",   20000,  256, 8, 2, 4, 2,  32,  250, 8,  50000, 50000, 0, 0, 1, 1},
    {"stress_resets_from_the_driver",      20000,  64, 8, 1, 4, 1,   16,  300, 8,  50000, 50000, 10, 0, 1, 0},
    {"stress_resets_from_both_cpus",       10000,  16, 4, 1, 4, 2,   8,   300, 8,  50000, 50000, 20, 0, 1, 0},
    {"stress_resets_two_devices_asleep",   10000,  64, 8, 2, 2, 2,   16,  300, 8,  0,     0,     10, 0, 1, 0},
    {"stress_resets_polled",               20000,  64, 8, 2, 2, 2,   16,  300, 8,  0,     50000, 10, 1, 1, 1},
};
/* clang-format on */

#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

int main(int argc, char **argv)
{
    const char *chosen = getenv("AERO_SEED");
    struct CMUnitTest tests[SCENARIOS];

    memset(tests, 0, sizeof tests);
    for (size_t i = 0; i < SCENARIOS; i++)
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name, .test_func = test_stress, .initial_state = &scenarios[i]};
    test_program(argc, argv, tests);
    for (size_t i = 0; i < sizeof default_seeds / sizeof default_seeds[0]; i++)
        print_message("seed 0x%llx\n",
                      chosen ? strtoull(chosen, NULL, 0) : (unsigned long long)default_seeds[i]);
    return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}

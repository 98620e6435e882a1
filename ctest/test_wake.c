/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * No wake-up is lost: from a doorbell to a worker that sleeps or is about to, from the line to a virtual CPU
 * that sleeps or is about to, from KeSetEvent on one CPU to a wait on another, and from a publication to a
 * driver that is just asking for interrupts again (quirk 10). Many rounds, with spins and pauses of all
 * lengths around the window in which each side falls asleep. A lost wake-up ends its round after WAIT_MS and
 * fails the test, which says where it was lost.
 *
 * Payloads and cookies are test_stress's business. The seed is printed first; AERO_SEED=number sets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aero_sim_model.h"
#include "nt_traffic.h"
#include "test_program.h"

#define WAIT_MS        15000u
#define WAIT_100NS     (WAIT_MS * INT64_C(10000))
#define PAUSES_DOUBLED 10u /* up to 2^9 pauses: longer than the shorter spins, shorter than the longest one */

static const uint32_t spins_ns[] = {0, 400, 2000, 20000};
#define SPINS (sizeof spins_ns / sizeof spins_ns[0])

static uint64_t seed = 0x77616B65;

struct wake {
    struct nt_rig rig;
    struct nt_rig_cpu cpu1;
    struct nt_traffic_verdict verdict;
    NT_DRIVER drivers[NT_RIG_DEVICES_MAX];
    uint8_t *buffer;
    uint64_t buffer_gpa;
    uint64_t random[2]; /* a CPU each */
    uint32_t rounds;
    _Atomic uint32_t done1; /* CPU 1 has played its rounds */
    KEVENT ping, pong, over;
};

static struct wake wake;

/* As often a few nanoseconds as some microseconds: nobody knows where the window lies. */
static void pause_at_random(uint64_t *random)
{
    for (uint32_t i = nt_rig_below(random, 1u << nt_rig_below(random, PAUSES_DOUBLED)); i != 0; i--)
        sim_os_pause();
}

/* ---- Set-up ---- */

static bool open_rig(const struct aero_sim_model *model, uint32_t devices, uint32_t cpus, uint32_t worker_ns,
                     uint32_t cpu_ns)
{
    struct nt_rig_options options = nt_rig_options_default();
    PHYSICAL_ADDRESS highest = {.QuadPart = -1};

    memset(&wake, 0, sizeof wake);
    wake.random[0] = seed;
    wake.random[1] = ~seed;
    options.cpus = cpus;
    options.worker_spin_ns = worker_ns;
    options.cpu_spin_ns = cpu_ns;
    options.no_referee = true; /* its lock would keep the two sides apart */
    if (!nt_rig_create(&wake.rig, &options))
        return false;
    for (uint32_t i = 0; i < devices; i++) {
        struct aero_nt_attach_options attach = {.line = i, .cpu = devices == 1 ? cpus - 1 : i};

        if (!nt_rig_add(&wake.rig, model, &attach))
            return false;
    }
    if (!nt_rig_power_on(&wake.rig))
        return false;
    wake.buffer = MmAllocateContiguousMemory(PAGE_SIZE, highest);
    if (!wake.buffer)
        return false;
    wake.buffer_gpa = (uint64_t)MmGetPhysicalAddress(wake.buffer).QuadPart;
    for (uint32_t i = 0; i < devices; i++) {
        const NT_DRIVER_CONFIG config = {.QueueCount = 1};

        if (NtDriverStart(&wake.drivers[i], &wake.rig.devices[i].resources, &config) != STATUS_SUCCESS)
            return false;
    }
    return true;
}

static uint32_t close_rig(void)
{
    nt_rig_cpu_stop(&wake.cpu1);
    if (wake.rig.entered) {
        for (uint32_t i = 0; i < wake.rig.device_count; i++)
            NtDriverStop(&wake.drivers[i]);
        if (wake.buffer)
            MmFreeContiguousMemory(wake.buffer);
    }
    return nt_rig_destroy(&wake.rig);
}

/* Frees all, then asserts: `open` that the scene could be set up. */
static void judge(bool open)
{
    uint32_t breaches = close_rig();

    if (nt_traffic_failed(&wake.verdict))
        fail_msg("seed 0x%llx: %s", (unsigned long long)seed, wake.verdict.text);
    assert_true(open);
    assert_int_equal(breaches, 0);
}

/* ---- Rounds: on any CPU ---- */

static void say_where(uint32_t device, uint32_t round)
{
    const NT_DRIVER *driver = &wake.drivers[device];
    struct aero_sim_counters counters = nt_rig_counters(&wake.rig, device);
    bool up = aero_sim_device_intx_level(wake.rig.devices[device].device);

    nt_traffic_fail(&wake.verdict,
                    "round %u: %s: %u doorbells, %u chains, line %s, %d interrupts taken, %d DPCs",
                    (unsigned)round,
                    counters.chains < driver->Queues[0].Added ? "a doorbell is lost"
                    : up                                      ? "the line is up and nobody comes"
                                                              : "an interrupt or an event is lost",
                    (unsigned)counters.doorbells, (unsigned)counters.chains, up ? "up" : "down",
                    driver->Claimed, driver->Dpcs);
}

static bool submit(uint32_t device, uint64_t *random)
{
    AERO_VIRTIO_SEGMENT segment = {wake.buffer_gpa, 16, 0};

    pause_at_random(random);
    return NtDriverSubmit(&wake.drivers[device], 0, &segment, 1, 0, NULL) == STATUS_SUCCESS;
}

/* One to three chains, each with a doorbell of its own, then by interrupt and event until all are back. */
static bool play(uint32_t device, uint32_t round, uint64_t *random)
{
    NT_DRIVER *driver = &wake.drivers[device];

    for (uint32_t chains = 1 + nt_rig_below(random, 3); chains != 0; chains--) {
        if (!submit(device, random)) {
            nt_traffic_fail(&wake.verdict, "round %u: a submission was refused", (unsigned)round);
            return false;
        }
    }
    pause_at_random(random);
    while (NtDriverInFlight(driver, 0) != 0) {
        if (NtDriverWait(driver, WAIT_MS) != STATUS_SUCCESS) {
            say_where(device, round);
            return false;
        }
    }
    return true;
}

static void play_rounds(uint32_t device, uint32_t rounds, uint64_t *random)
{
    for (uint32_t round = 0; round < rounds && !nt_traffic_failed(&wake.verdict); round++) {
        if (round % 64 == 0)
            NtDriverSetMode(&wake.drivers[device], 0, round / 64 % 2 ? NtDriverModerate : NtDriverPlain);
        if (!play(device, round, random))
            return;
    }
}

/* ---- Doorbell, worker, line, CPU ---- */

static void expect_that_they_slept(uint32_t worker_ns, uint32_t cpu_ns)
{
    struct aero_nt_counters counters;

    aero_nt_cpu_counters(wake.rig.nt, 0, &counters);
    if (worker_ns == 0 && nt_rig_counters(&wake.rig, 0).sleeps == 0)
        nt_traffic_fail(&wake.verdict, "the worker never slept: nothing was proved");
    if (cpu_ns == 0 && counters.sleeps == 0)
        nt_traffic_fail(&wake.verdict, "CPU 0 never slept: nothing was proved");
}

static void each_pair_of_spins(uint32_t cpus, uint32_t rounds)
{
    for (uint32_t pair = 0; pair < SPINS * SPINS; pair++) {
        uint32_t worker_ns = spins_ns[pair / SPINS], cpu_ns = spins_ns[pair % SPINS];
        bool open = open_rig(aero_sim_model_find("loopback"), 1, cpus, worker_ns, cpu_ns) &&
                    (cpus == 1 || nt_rig_cpu_start(&wake.cpu1, &wake.rig, NULL, NULL));

        if (open) {
            play_rounds(0, rounds, &wake.random[0]);
            expect_that_they_slept(worker_ns, cpu_ns);
        }
        judge(open);
    }
}

static void test_wake_doorbell_and_interrupt_on_one_cpu_are_never_lost(void **state)
{
    each_pair_of_spins(1, nt_rig_scale(1500));
}

/* The line goes to CPU 1, which sets the event that CPU 0 waits for. */
static void test_wake_interrupt_and_event_on_two_cpus_are_never_lost(void **state)
{
    each_pair_of_spins(2, nt_rig_scale(1000));
}

/* ---- Two causes at a time (INT-2) ---- */

struct twofold {
    struct aero_sim_device *device;
    uint32_t value;
};

static enum aero_sim_status twofold_open(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    ((struct twofold *)state)->device = device;
    return AERO_SIM_OK;
}

/* The configuration's cause, and at once the queue's: the reader of the ISR byte has to keep them apart. */
static uint32_t twofold_serve(void *state, const struct aero_sim_chain *chain)
{
    struct twofold *twofold = state;

    twofold->value++;
    aero_sim_config_set(twofold->device, 0, &twofold->value, sizeof twofold->value);
    for (uint32_t i = twofold->value % 64; i != 0; i--)
        sim_os_pause();
    return 0;
}

static const struct aero_sim_queue_spec twofold_queue = {.name = "q", .size = 8, .serve = twofold_serve};
static const struct aero_sim_model twofold_model = {
    .name = "twofold",
    .summary = "each chain raises both causes",
    .pci_device_id = 0x107C,
    .config_bytes = 4,
    .state_bytes = sizeof(struct twofold),
    .queue_count = 1,
    .queues = &twofold_queue,
    .open = twofold_open,
};

/* Each round waits for its chain and for the word that the configuration has changed since. */
static void play_both_causes(uint32_t rounds)
{
    NT_DRIVER *driver = &wake.drivers[0];

    for (uint32_t round = 1; round <= rounds && !nt_traffic_failed(&wake.verdict); round++) {
        LONG causes = driver->ConfigCauses;

        if (!submit(0, &wake.random[0]))
            nt_traffic_fail(&wake.verdict, "round %u: a submission was refused", (unsigned)round);
        while (NtDriverInFlight(driver, 0) != 0 || driver->ConfigCauses == causes) {
            if (NtDriverWait(driver, WAIT_MS) != STATUS_SUCCESS) {
                say_where(0, round);
                return;
            }
        }
    }
}

static void int_02_causes_that_meet_are_both_told(void **state)
{
    for (uint32_t i = 0; i < SPINS; i++) {
        bool open = open_rig(&twofold_model, 1, 1, 20000, spins_ns[i]);

        if (open)
            play_both_causes(nt_rig_scale(6000));
        judge(open);
    }
}

/* ---- Two CPUs ring one worker ---- */

static void cpu1_plays(void *context)
{
    play_rounds(1, wake.rounds, &wake.random[1]);
    atomic_store(&wake.done1, 1);
    KeSetEvent(&wake.over, IO_NO_INCREMENT, FALSE);
}

static bool await_cpu1(void)
{
    LARGE_INTEGER timeout;

    timeout.QuadPart = -4 * WAIT_100NS;
    while (!atomic_load(&wake.done1)) {
        if (KeWaitForSingleObject(&wake.over, Executive, KernelMode, FALSE, &timeout) != STATUS_SUCCESS)
            return false;
    }
    return true;
}

static void test_wake_two_cpus_ringing_one_worker_are_both_heard(void **state)
{
    for (uint32_t i = 0; i < SPINS; i++) {
        bool open = open_rig(aero_sim_model_find("loopback"), 2, 2, spins_ns[i], spins_ns[SPINS - 1 - i]);

        KeInitializeEvent(&wake.over, NotificationEvent, FALSE);
        wake.rounds = nt_rig_scale(1500);
        open = open && nt_rig_cpu_start(&wake.cpu1, &wake.rig, cpu1_plays, NULL);
        if (open) {
            KeSetEvent(&wake.cpu1.request, IO_NO_INCREMENT, FALSE);
            play_rounds(0, wake.rounds, &wake.random[0]);
            if (!await_cpu1())
                nt_traffic_fail(&wake.verdict, "CPU 1 never ended");
        }
        judge(open);
    }
}

/* ---- Events alone: two CPUs throw one to and fro ---- */

static bool catch_event(PRKEVENT event, uint64_t *random)
{
    LARGE_INTEGER timeout;

    pause_at_random(random);
    timeout.QuadPart = -WAIT_100NS;
    return KeWaitForSingleObject(event, Executive, KernelMode, FALSE, &timeout) == STATUS_SUCCESS;
}

static void cpu1_throws_back(void *context)
{
    for (uint32_t round = 0; round < wake.rounds; round++) {
        if (!catch_event(&wake.ping, &wake.random[1])) {
            nt_traffic_fail(&wake.verdict, "round %u: CPU 1 waited in vain", (unsigned)round);
            break;
        }
        pause_at_random(&wake.random[1]);
        KeSetEvent(&wake.pong, IO_NO_INCREMENT, FALSE);
    }
    atomic_store(&wake.done1, 1);
    KeSetEvent(&wake.over, IO_NO_INCREMENT, FALSE);
}

static void test_wake_events_between_cpus_are_never_lost(void **state)
{
    for (uint32_t i = 0; i < SPINS; i++) {
        bool open = open_rig(NULL, 0, 2, 0, spins_ns[i]);

        KeInitializeEvent(&wake.ping, SynchronizationEvent, FALSE);
        KeInitializeEvent(&wake.pong, SynchronizationEvent, FALSE);
        KeInitializeEvent(&wake.over, NotificationEvent, FALSE);
        wake.rounds = nt_rig_scale(12000);
        open = open && nt_rig_cpu_start(&wake.cpu1, &wake.rig, cpu1_throws_back, NULL);
        if (open) {
            KeSetEvent(&wake.cpu1.request, IO_NO_INCREMENT, FALSE);
            for (uint32_t round = 0; round < wake.rounds && !nt_traffic_failed(&wake.verdict); round++) {
                KeSetEvent(&wake.ping, IO_NO_INCREMENT, FALSE);
                if (!catch_event(&wake.pong, &wake.random[0]))
                    nt_traffic_fail(&wake.verdict, "round %u: CPU 0 waited in vain", (unsigned)round);
            }
            if (!await_cpu1())
                nt_traffic_fail(&wake.verdict, "CPU 1 never ended");
        }
        judge(open);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wake_doorbell_and_interrupt_on_one_cpu_are_never_lost),
        cmocka_unit_test(test_wake_interrupt_and_event_on_two_cpus_are_never_lost),
        cmocka_unit_test(int_02_causes_that_meet_are_both_told),
        cmocka_unit_test(test_wake_two_cpus_ringing_one_worker_are_both_heard),
        cmocka_unit_test(test_wake_events_between_cpus_are_never_lost),
    };

    test_program(argc, argv, tests);
    if (getenv("AERO_SEED"))
        seed = strtoull(getenv("AERO_SEED"), NULL, 0);
    print_message("seed 0x%llx\n", (unsigned long long)seed);
    return cmocka_run_group_tests_name("wake", tests, NULL, NULL);
}

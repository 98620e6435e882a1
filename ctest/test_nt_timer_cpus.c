/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One timer between two virtual CPUs: set and cancelled by both, waited for by one and expiring on the other,
 * and taken down while it expires.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_fixture.h"
#include "os.h"
#include "test_program.h"

#define MS 10000 /* in 100 ns, as the kernel counts */

enum { ROUNDS = 2000 };

static struct nt_fixture machine;
static KTIMER timer;
static KDPC dpc;
static KEVENT event;
static _Atomic uint32_t turn; /* how far the two threads are, as each test says */
static _Atomic uint32_t failures;
static _Atomic uint32_t dpcs;
static _Atomic uint32_t dpc_cpu;
static _Atomic uint32_t taken_down; /* no DPC may run */

static VOID NTAPI see(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    atomic_fetch_add(&failures, atomic_load(&taken_down));
    atomic_fetch_add(&dpcs, 1);
    atomic_store(&dpc_cpu, KeGetCurrentProcessorNumber());
    KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
}

static int set_up_machine(enum aero_nt_clock clock)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.clock = clock;
    plan.options.cpu_count = 2;
    plan.options.spin_ns = 0;
    plan.options.max_wait_ns =
        UINT64_C(600000000000); /* a wake-up that is lost outlasts the test's own limit */
    atomic_store(&turn, 0);
    atomic_store(&failures, 0);
    atomic_store(&dpcs, 0);
    atomic_store(&dpc_cpu, UINT32_MAX);
    atomic_store(&taken_down, 0);
    KeInitializeTimerEx(&timer, SynchronizationTimer);
    KeInitializeDpc(&dpc, see, NULL);
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_machine(AERO_NT_CLOCK_VIRTUAL);
}

static int set_up_real(void **state)
{
    return set_up_machine(AERO_NT_CLOCK_REAL);
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

static LARGE_INTEGER ticks(LONGLONG count)
{
    LARGE_INTEGER value;

    value.QuadPart = count;
    return value;
}

/* A thread's start: runs the function that context points to as CPU 1. */
static void as_cpu_1(void *context)
{
    void (*body)(void) = *(void (**)(void))context;

    if (!aero_nt_cpu_enter(machine.nt, 1)) {
        atomic_fetch_add(&failures, 1);
        atomic_store(&turn, UINT32_MAX);
        return;
    }
    body();
    aero_nt_cpu_leave(machine.nt);
}

static void expect(bool good)
{
    atomic_fetch_add(&failures, !good);
}

/* ---- Set and cancelled by both ---- */

/* Each set ends in one of three ways: set anew, cancelled, expired. */
static _Atomic uint32_t sets, replaced, cancelled;

static void quarrel(void)
{
    uint32_t round;

    for (round = 0; round < ROUNDS; round++) {
        LONGLONG due = round % 5 == 0 ? 0 : -(LONGLONG)(round % 7) * 10;

        atomic_fetch_add(&sets, 1);
        atomic_fetch_add(&replaced, KeSetTimer(&timer, ticks(due), &dpc));
        if (round % 3 == 0) {
            KeStallExecutionProcessor(1);
        }
        if (round % 2 == 0) {
            atomic_fetch_add(&cancelled, KeCancelTimer(&timer));
        }
        KeReadStateTimer(&timer);
    }
}

static void test_two_cpus_set_and_cancel_one_timer_without_loss(void **state)
{
    void (*body)(void) = quarrel;
    struct sim_os_thread *thread;
    uint32_t expired, ran;

    atomic_store(&sets, 0);
    atomic_store(&replaced, 0);
    atomic_store(&cancelled, 0);
    thread = sim_os_thread_start(as_cpu_1, &body, -1);
    assert_non_null(thread);
    quarrel();
    sim_os_thread_join(thread);
    atomic_fetch_add(&cancelled, KeCancelTimer(&timer));
    KeFlushQueuedDpcs();
    expired = atomic_load(&sets) - atomic_load(&replaced) - atomic_load(&cancelled);
    ran = atomic_load(&dpcs);
    assert_int_equal(atomic_load(&sets), 2 * ROUNDS);
    assert_true(expired >= 2 * ROUNDS / 5); /* those that were due at once can't be undone */
    assert_true(ran > 0 && ran <= expired); /* a DPC that is queued already isn't queued again */
    assert_int_equal(atomic_load(&failures), 0);
}

/* ---- Waited for by one, expiring on the other ---- */

static void set_and_wait_for_the_end(void)
{
    KeSetTimer(&timer, ticks(-2 * MS), &dpc);
    atomic_store(&turn, 1);
    expect(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
}

static void test_wait_for_the_other_cpus_timer_ends_when_it_expires_there(void **state)
{
    void (*body)(void) = set_and_wait_for_the_end;
    struct sim_os_thread *thread = sim_os_thread_start(as_cpu_1, &body, -1);
    NTSTATUS status = STATUS_UNSUCCESSFUL;

    assert_non_null(thread);
    if (nt_fixture_await(&turn, 1)) {
        status = KeWaitForSingleObject(&timer, Executive, KernelMode, FALSE, NULL);
    }
    sim_os_thread_join(thread);
    assert_int_equal(status, STATUS_SUCCESS);
    assert_int_equal(atomic_load(&dpcs), 1);
    assert_int_equal(atomic_load(&dpc_cpu), 1);
    assert_int_equal(atomic_load(&failures), 0);
}

enum { HOURS = 50 };

static void set_far_and_wait_for_the_end(void)
{
    uint32_t hour;

    for (hour = 1; hour <= HOURS; hour++) {
        KeSetTimer(&timer, ticks(-3600000LL * MS), &dpc);
        atomic_store(&turn, hour);
        expect(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    }
}

static void test_virtual_clock_moved_by_one_cpu_wakes_the_other_for_its_timer(void **state)
{
    void (*body)(void) = set_far_and_wait_for_the_end;
    struct sim_os_thread *thread = sim_os_thread_start(as_cpu_1, &body, -1);
    LARGE_INTEGER interval = ticks(-3600000LL * MS);
    uint32_t hour, yields;
    bool set = true;

    assert_non_null(thread);
    for (hour = 1; hour <= HOURS && set; hour++) {
        set = nt_fixture_await(&turn, hour);
        for (yields = 0; yields < hour * 4; yields++) { /* awake in some rounds, asleep in others */
            sim_os_yield();
        }
        KeDelayExecutionThread(KernelMode, FALSE, &interval);
    }
    sim_os_thread_join(thread);
    assert_true(set);
    assert_int_equal(atomic_load(&dpcs), HOURS);
    assert_int_equal(atomic_load(&dpc_cpu), 1);
    assert_int_equal(atomic_load(&failures), 0);
}

/* ---- Taken down while it expires ---- */

/* Odd turns are CPU 1's: the timer is set and expires there whenever; even ones are CPU 0's. */
static void set_and_stall(void)
{
    uint32_t round;

    for (round = 0; round < ROUNDS && atomic_load(&failures) == 0; round++) {
        KeSetTimer(&timer, ticks(-1), &dpc);
        atomic_store(&turn, 2 * round + 1);
        do {
            KeStallExecutionProcessor(1);
        } while (atomic_load(&turn) == 2 * round + 1);
    }
}

static void test_no_dpc_runs_once_the_timer_is_cancelled_and_dpcs_are_flushed(void **state)
{
    void (*body)(void) = set_and_stall;
    struct sim_os_thread *thread = sim_os_thread_start(as_cpu_1, &body, -1);
    uint32_t round;
    bool good = thread != NULL;

    for (round = 0; round < ROUNDS && good && atomic_load(&failures) == 0; round++) {
        good = nt_fixture_await(&turn, 2 * round + 1);
        KeCancelTimer(&timer);
        KeFlushQueuedDpcs();
        atomic_store(&taken_down, 1);
        sim_os_yield();
        atomic_store(&taken_down, 0);
        atomic_store(&turn, 2 * round + 2);
    }
    atomic_fetch_add(&failures, !good); /* ends the other thread too */
    atomic_store(&turn, 2 * ROUNDS);
    if (thread != NULL) {
        sim_os_thread_join(thread);
    }
    assert_int_equal(atomic_load(&failures), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define REAL(name) cmocka_unit_test_setup_teardown(name, set_up_real, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_cpus_set_and_cancel_one_timer_without_loss),
        REAL(test_two_cpus_set_and_cancel_one_timer_without_loss),
        TEST(test_wait_for_the_other_cpus_timer_ends_when_it_expires_there),
        REAL(test_wait_for_the_other_cpus_timer_ends_when_it_expires_there),
        TEST(test_virtual_clock_moved_by_one_cpu_wakes_the_other_for_its_timer),
        TEST(test_no_dpc_runs_once_the_timer_is_cancelled_and_dpcs_are_flushed),
        REAL(test_no_dpc_runs_once_the_timer_is_cancelled_and_dpcs_are_flushed),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

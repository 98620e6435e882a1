/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Kernel timers: when they expire, on which CPU and at which IRQL; waits for them; and what a driver may do
 * wrong with them. The virtual clock makes most of it exact; the real one and two CPUs stand at the end.
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

#define US 10 /* in 100 ns, as the kernel counts */
#define MS (1000 * US)

enum { DPCS_KEPT = 16 };

static struct nt_fixture machine;
static KTIMER timer;
static KDPC dpc;
static KEVENT event;

/* What the DPC saw. On the CPU that set the timer alone. */
static struct {
    uint32_t count;
    ULONGLONG times[DPCS_KEPT];
    PVOID contexts[DPCS_KEPT];
    KIRQL irql;
    ULONG cpu;
} seen;

static VOID NTAPI see(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    seen.times[seen.count % DPCS_KEPT] = KeQueryInterruptTime();
    seen.contexts[seen.count % DPCS_KEPT] = DeferredContext;
    seen.count++;
    seen.irql = KeGetCurrentIrql();
    seen.cpu = KeGetCurrentProcessorNumber();
    KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
}

/* The rule broken last, for what destroy finds. */
static const char *rule;

static void note_rule(void *context, const struct aero_nt_breach *breach)
{
    rule = breach->rule;
}

static int set_up_machine(enum aero_nt_clock clock, uint32_t spin_ns, uint32_t devices)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.clock = clock;
    plan.options.cpu_count = 2;
    plan.options.spin_ns = spin_ns;
    plan.options.breach = note_rule;
    plan.device_count = devices;
    memset(&seen, 0, sizeof seen);
    KeInitializeTimer(&timer);
    KeInitializeDpc(&dpc, see, NULL);
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_machine(AERO_NT_CLOCK_VIRTUAL, 0, 0);
}

static int set_up_real(void **state)
{
    return set_up_machine(AERO_NT_CLOCK_REAL, 0, 1);
}

static int set_up_real_spinning(void **state)
{
    return set_up_machine(AERO_NT_CLOCK_REAL, 1000000, 1);
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

static NTSTATUS wait_for(PVOID object, LONGLONG timeout)
{
    LARGE_INTEGER interval = ticks(timeout);

    return KeWaitForSingleObject(object, Executive, KernelMode, FALSE, &interval);
}

static void delay(LONGLONG count)
{
    LARGE_INTEGER interval = ticks(-count);

    KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

/* ---- When it expires ---- */

static void test_timer_expires_in_a_stall_at_its_due_time(void **state)
{
    assert_false(KeSetTimer(&timer, ticks(-60 * US), &dpc));
    KeStallExecutionProcessor(50);
    assert_int_equal(seen.count, 0);
    assert_false(KeReadStateTimer(&timer));
    KeStallExecutionProcessor(50);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.times[0], 60 * US);
    assert_int_equal(seen.irql, DISPATCH_LEVEL);
    assert_true(KeReadStateTimer(&timer));
    delay(1000 * MS);
    assert_int_equal(seen.count, 1);
}

static void test_timer_without_a_dpc_is_signalled(void **state)
{
    KeSetTimer(&timer, ticks(-MS), NULL);
    delay(MS);
    assert_true(KeReadStateTimer(&timer));
}

static void test_timer_with_an_absolute_due_time_expires_then(void **state)
{
    LARGE_INTEGER now;

    delay(5 * MS);
    KeQuerySystemTime(&now);
    KeSetTimer(&timer, ticks(now.QuadPart + 3 * MS), &dpc);
    delay(10 * MS);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.times[0], 8 * MS);
}

static void test_timer_due_in_the_past_expires_inside_the_call(void **state)
{
    KIRQL old;

    KeSetTimer(&timer, ticks(1), &dpc);
    assert_int_equal(seen.count, 1);
    old = KfRaiseIrql(DISPATCH_LEVEL);
    assert_false(KeSetTimer(&timer, ticks(0), &dpc));
    assert_true(KeReadStateTimer(&timer));
    assert_int_equal(seen.count, 1);
    KeLowerIrql(old);
    assert_int_equal(seen.count, 2);
}

static void test_timer_at_dispatch_level_waits_for_the_drop(void **state)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);

    KeSetTimer(&timer, ticks(-10 * US), &dpc);
    KeStallExecutionProcessor(50);
    assert_false(KeReadStateTimer(&timer));
    assert_int_equal(seen.count, 0);
    KeLowerIrql(old);
    assert_int_equal(seen.count, 1);
    assert_true(KeReadStateTimer(&timer));
}

static void test_periodic_timer_keeps_step_in_a_delay(void **state)
{
    uint32_t index;

    KeSetTimerEx(&timer, ticks(-3 * MS), 10, &dpc);
    delay(94 * MS);
    assert_int_equal(seen.count, 10);
    for (index = 0; index < 10; index++) {
        assert_int_equal(seen.times[index], 3 * MS + index * 10 * MS);
    }
    assert_true(KeCancelTimer(&timer));
    delay(50 * MS);
    assert_int_equal(seen.count, 10);
}

static void test_periodic_timer_kept_off_counts_missed_periods_once(void **state)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    uint32_t stall;

    KeSetTimerEx(&timer, ticks(-MS), 1, &dpc);
    for (stall = 0; stall < 90; stall++) { /* 4.5 ms */
        KeStallExecutionProcessor(50);
    }
    KeLowerIrql(old);
    assert_int_equal(seen.count, 1);
    delay(MS / 2);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.times[1], 5 * MS);
    assert_true(KeCancelTimer(&timer));
}

static void test_timers_expire_by_due_time_and_then_in_the_order_set(void **state)
{
    static const LONGLONG due[] = {-30 * US, -10 * US, -30 * US, -20 * US};
    static const uintptr_t order[] = {1, 3, 0, 2};
    KTIMER timers[4];
    KDPC dpcs[4];
    uintptr_t index;

    for (index = 0; index < 4; index++) {
        KeInitializeTimer(&timers[index]);
        KeInitializeDpc(&dpcs[index], see, (PVOID)index);
        KeSetTimer(&timers[index], ticks(due[index]), &dpcs[index]);
    }
    KeStallExecutionProcessor(50);
    assert_int_equal(seen.count, 4);
    for (index = 0; index < 4; index++) {
        assert_int_equal((uintptr_t)seen.contexts[index], order[index]);
    }
}

/* ---- Setting and cancelling ---- */

static void test_cancel_says_whether_the_timer_was_set(void **state)
{
    assert_false(KeCancelTimer(&timer));
    KeSetTimer(&timer, ticks(-MS), &dpc);
    assert_true(KeCancelTimer(&timer));
    assert_false(KeCancelTimer(&timer));
    delay(2 * MS);
    assert_int_equal(seen.count, 0);
    KeSetTimer(&timer, ticks(-MS), &dpc);
    delay(2 * MS);
    assert_false(KeCancelTimer(&timer));
    assert_true(KeReadStateTimer(&timer)); /* which a cancel leaves as it is */
}

static void test_cancel_of_a_due_timer_that_could_not_expire_succeeds(void **state)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);

    KeSetTimer(&timer, ticks(-10 * US), &dpc);
    KeStallExecutionProcessor(50);
    assert_true(KeCancelTimer(&timer));
    KeLowerIrql(old);
    assert_int_equal(seen.count, 0);
}

static void test_cancel_leaves_a_queued_dpc_to_be_removed(void **state)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);

    KeSetTimer(&timer, ticks(0), &dpc);
    assert_false(KeCancelTimer(&timer));
    assert_true(KeRemoveQueueDpc(&dpc));
    KeLowerIrql(old);
    assert_int_equal(seen.count, 0);
}

static void test_set_of_a_set_timer_replaces_it(void **state)
{
    KeSetTimerEx(&timer, ticks(-MS), 1, &dpc);
    assert_true(KeSetTimer(&timer, ticks(-5 * MS), &dpc));
    delay(20 * MS);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.times[0], 5 * MS);
}

static void test_set_clears_the_signal(void **state)
{
    KeSetTimer(&timer, ticks(0), NULL);
    assert_true(KeReadStateTimer(&timer));
    KeSetTimer(&timer, ticks(-MS), NULL);
    assert_false(KeReadStateTimer(&timer));
    assert_true(KeCancelTimer(&timer));
    assert_false(KeReadStateTimer(&timer));
}

/* Sets the timer again until it has run three times; cancels where it is periodic. */
static VOID NTAPI again(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    if (DeferredContext != NULL) {
        KeCancelTimer(&timer);
    } else if (seen.count < 2) {
        KeSetTimer(&timer, ticks(-10 * US), Dpc);
    }
    see(Dpc, DeferredContext, SystemArgument1, SystemArgument2);
}

static void test_dpc_may_set_its_timer_again(void **state)
{
    KeInitializeDpc(&dpc, again, NULL);
    KeSetTimer(&timer, ticks(-10 * US), &dpc);
    KeStallExecutionProcessor(50);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.times[2], 30 * US);
}

static void test_dpc_may_cancel_its_periodic_timer(void **state)
{
    KeInitializeDpc(&dpc, again, &timer);
    KeSetTimerEx(&timer, ticks(-MS), 1, &dpc);
    delay(10 * MS);
    assert_int_equal(seen.count, 1);
}

/* ---- Waits ---- */

static void test_wait_for_a_notification_timer_leaves_it_signalled(void **state)
{
    KeSetTimer(&timer, ticks(-5 * MS), NULL);
    assert_int_equal(wait_for(&timer, 0), STATUS_TIMEOUT);
    assert_int_equal(wait_for(&timer, -20 * MS), STATUS_SUCCESS);
    assert_int_equal(aero_nt_now_ns(machine.nt), 5000000);
    assert_int_equal(wait_for(&timer, 0), STATUS_SUCCESS);
    assert_true(KeReadStateTimer(&timer));
}

static void test_wait_for_a_synchronization_timer_takes_the_signal(void **state)
{
    KeInitializeTimerEx(&timer, SynchronizationTimer);
    KeSetTimerEx(&timer, ticks(-5 * MS), 5, NULL);
    assert_int_equal(wait_for(&timer, -20 * MS), STATUS_SUCCESS);
    assert_false(KeReadStateTimer(&timer));
    assert_int_equal(wait_for(&timer, -20 * MS), STATUS_SUCCESS);
    assert_int_equal(aero_nt_now_ns(machine.nt), 10000000);
    assert_true(KeCancelTimer(&timer));
    assert_int_equal(wait_for(&timer, -10 * US), STATUS_TIMEOUT);
}

static void test_wait_for_ever_for_a_virtual_timer_takes_no_time(void **state)
{
    KeSetTimer(&timer, ticks(-3600000LL * MS), NULL); /* an hour */
    assert_int_equal(KeWaitForSingleObject(&timer, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_int_equal(aero_nt_now_ns(machine.nt), UINT64_C(3600000000000));
}

static void test_wait_shorter_than_the_timer_times_out(void **state)
{
    KeSetTimer(&timer, ticks(-5 * MS), NULL);
    assert_int_equal(wait_for(&timer, -2 * MS), STATUS_TIMEOUT);
    assert_int_equal(aero_nt_now_ns(machine.nt), 2000000);
    assert_true(KeCancelTimer(&timer));
}

static void test_wait_for_an_event_wakes_for_the_timer_that_sets_it(void **state)
{
    ULONGLONG began = KeQueryInterruptTime();

    KeSetTimer(&timer, ticks(-2 * MS), &dpc);
    assert_int_equal(wait_for(&event, -100000LL * MS), STATUS_SUCCESS);
    assert_int_equal(seen.count, 1);
    assert_true(seen.times[0] - began >= 2 * MS);
    assert_int_equal(wait_for(&event, -2 * MS), STATUS_TIMEOUT);
}

static void test_virtual_wait_that_times_out_passes_its_timers_and_its_time(void **state)
{
    KTIMER later;
    KEVENT never;

    KeInitializeTimer(&later);
    KeInitializeEvent(&never, NotificationEvent, FALSE);
    KeSetTimer(&timer, ticks(-MS), &dpc);
    KeSetTimer(&later, ticks(-3 * MS), NULL);
    assert_int_equal(wait_for(&never, -2 * MS), STATUS_TIMEOUT);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.times[0], MS);
    assert_int_equal(aero_nt_now_ns(machine.nt), 2000000);
    assert_false(KeReadStateTimer(&later));
    assert_true(KeCancelTimer(&later));
}

/* ---- What the driver may do wrong ---- */

static void test_uninitialised_timer_is_reported(void **state)
{
    KTIMER wild;

    memset(&wild, 0xA5, sizeof wild);
    assert_false(KeSetTimer(&wild, ticks(0), &dpc));
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    assert_false(KeCancelTimer(&wild));
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    assert_false(KeReadStateTimer(&wild));
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    assert_int_equal(wait_for(&wild, 0), STATUS_INVALID_PARAMETER);
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    KeInitializeTimerEx(&wild, (TIMER_TYPE)2);
    assert_false(KeSetTimer(&wild, ticks(0), &dpc));
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    assert_int_equal(seen.count, 0);
}

static void test_timer_initialised_while_set_is_reported(void **state)
{
    KeSetTimer(&timer, ticks(-MS), &dpc);
    KeInitializeTimer(&timer);
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    delay(MS);
    assert_int_equal(seen.count, 1);
}

static void test_negative_period_is_reported_and_expires_once(void **state)
{
    KeSetTimerEx(&timer, ticks(-MS), -1, &dpc);
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    delay(10 * MS);
    assert_int_equal(seen.count, 1);
}

static void test_dpc_without_a_routine_is_reported(void **state)
{
    KDPC empty;

    memset(&empty, 0, sizeof empty);
    KeSetTimer(&timer, ticks(-MS), &empty);
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
    delay(MS);
    assert_true(KeReadStateTimer(&timer));
}

static void test_timer_calls_above_dispatch_level_are_reported(void **state)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);

    KeSetTimer(&timer, ticks(-MS), NULL);
    KeSetTimerEx(&timer, ticks(-MS), 1, NULL);
    KeReadStateTimer(&timer);
    KeCancelTimer(&timer);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    KfRaiseIrql(DISPATCH_LEVEL + 1);
    KeSetTimer(&timer, ticks(-MS), NULL);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeSetTimerEx(&timer, ticks(-MS), 1, NULL);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeReadStateTimer(&timer);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeCancelTimer(&timer);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeLowerIrql(old);
}

static void test_one_timer_too_many_is_reported(void **state)
{
    static KTIMER timers[AERO_NT_TIMERS_MAX + 1];
    uint32_t index;

    for (index = 0; index < AERO_NT_TIMERS_MAX; index++) {
        KeInitializeTimer(&timers[index]);
        KeSetTimer(&timers[index], ticks(-MS), NULL);
    }
    KeSetTimer(&timers[0], ticks(-MS), NULL); /* set already */
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    KeInitializeTimer(&timers[index]);
    KeSetTimer(&timers[index], ticks(-MS), NULL);
    assert_true(nt_fixture_broke(&machine, "TIMER-LIMIT"));
    delay(MS);
    for (index = 0; index <= AERO_NT_TIMERS_MAX; index++) {
        assert_int_equal(KeReadStateTimer(&timers[index]), index < AERO_NT_TIMERS_MAX);
    }
}

static void test_timer_set_at_destroy_is_a_leak_and_its_memory_is_left_alone(void **state)
{
    PKTIMER gone = ExAllocatePoolWithTag(NonPagedPool, sizeof *gone, 1);

    KeInitializeTimer(gone);
    KeSetTimerEx(gone, ticks(-3600000LL * MS), 1000, &dpc);
    ExFreePoolWithTag(gone, 1);
    assert_int_equal(nt_fixture_close(&machine), 1);
    assert_string_equal(rule, "LEAK-TIMER");
}

/* ---- The real clock ---- */

static void test_real_timer_expires_among_register_accesses(void **state)
{
    uint64_t end_ns = sim_os_now_ns() + UINT64_C(10000000000);
    ULONGLONG began = KeQueryInterruptTime();

    KeSetTimer(&timer, ticks(-MS), &dpc);
    while (seen.count == 0 && sim_os_now_ns() < end_ns) {
        READ_REGISTER_UCHAR(machine.bars[0]);
    }
    assert_int_equal(seen.count, 1);
    assert_true(seen.times[0] - began >= MS);
}

/* Also where it fell due while a lock was held, and where that is all that the CPU does. */
static void test_real_timer_expires_among_spin_locks(void **state)
{
    uint64_t end_ns = sim_os_now_ns() + 20 * UINT64_C(1000000000);
    KSPIN_LOCK lock;
    KIRQL old;

    KeInitializeSpinLock(&lock);
    KeSetTimerEx(&timer, ticks(-MS), 1, &dpc);
    while (seen.count < 3 && sim_os_now_ns() < end_ns) {
        KeAcquireSpinLock(&lock, &old);
        KeReleaseSpinLock(&lock, old);
    }
    assert_true(KeCancelTimer(&timer));
    assert_true(seen.count >= 3);
}

static void test_real_timer_expires_in_a_delay_and_in_stalls(void **state)
{
    uint32_t stall;

    KeSetTimer(&timer, ticks(-MS), &dpc);
    delay(2 * MS);
    assert_int_equal(seen.count, 1);
    KeSetTimer(&timer, ticks(-100 * US), &dpc);
    for (stall = 0; stall < 3; stall++) {
        KeStallExecutionProcessor(50);
    }
    assert_int_equal(seen.count, 2);
}

static void test_real_wait_for_a_periodic_timer_is_not_early(void **state)
{
    ULONGLONG began = KeQueryInterruptTime();

    KeInitializeTimerEx(&timer, SynchronizationTimer);
    KeSetTimerEx(&timer, ticks(-2 * MS), 1, &dpc);
    assert_int_equal(wait_for(&timer, -100000LL * MS), STATUS_SUCCESS);
    assert_true(KeQueryInterruptTime() - began >= 2 * MS);
    assert_int_equal(KeWaitForSingleObject(&timer, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_true(KeQueryInterruptTime() - began >= 3 * MS);
    assert_true(seen.count >= 2);
    assert_true(KeCancelTimer(&timer));
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define REAL(name)      cmocka_unit_test_setup_teardown(name, set_up_real, tear_down)
#define REAL_SPIN(name) cmocka_unit_test_setup_teardown(name, set_up_real_spinning, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timer_expires_in_a_stall_at_its_due_time),
        TEST(test_timer_without_a_dpc_is_signalled),
        TEST(test_timer_with_an_absolute_due_time_expires_then),
        TEST(test_timer_due_in_the_past_expires_inside_the_call),
        TEST(test_timer_at_dispatch_level_waits_for_the_drop),
        TEST(test_periodic_timer_keeps_step_in_a_delay),
        TEST(test_periodic_timer_kept_off_counts_missed_periods_once),
        TEST(test_timers_expire_by_due_time_and_then_in_the_order_set),
        TEST(test_cancel_says_whether_the_timer_was_set),
        TEST(test_cancel_of_a_due_timer_that_could_not_expire_succeeds),
        TEST(test_cancel_leaves_a_queued_dpc_to_be_removed),
        TEST(test_set_of_a_set_timer_replaces_it),
        TEST(test_set_clears_the_signal),
        TEST(test_dpc_may_set_its_timer_again),
        TEST(test_dpc_may_cancel_its_periodic_timer),
        TEST(test_wait_for_a_notification_timer_leaves_it_signalled),
        TEST(test_wait_for_a_synchronization_timer_takes_the_signal),
        TEST(test_wait_for_ever_for_a_virtual_timer_takes_no_time),
        TEST(test_wait_shorter_than_the_timer_times_out),
        TEST(test_wait_for_an_event_wakes_for_the_timer_that_sets_it),
        REAL(test_wait_for_an_event_wakes_for_the_timer_that_sets_it),
        REAL_SPIN(test_wait_for_an_event_wakes_for_the_timer_that_sets_it),
        TEST(test_virtual_wait_that_times_out_passes_its_timers_and_its_time),
        TEST(test_uninitialised_timer_is_reported),
        TEST(test_timer_initialised_while_set_is_reported),
        TEST(test_negative_period_is_reported_and_expires_once),
        TEST(test_dpc_without_a_routine_is_reported),
        TEST(test_timer_calls_above_dispatch_level_are_reported),
        TEST(test_one_timer_too_many_is_reported),
        TEST(test_timer_set_at_destroy_is_a_leak_and_its_memory_is_left_alone),
        REAL(test_real_timer_expires_among_register_accesses),
        REAL(test_real_timer_expires_among_spin_locks),
        REAL(test_real_timer_expires_in_a_delay_and_in_stalls),
        REAL(test_real_wait_for_a_periodic_timer_is_not_early),
        REAL_SPIN(test_real_wait_for_a_periodic_timer_is_not_early),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

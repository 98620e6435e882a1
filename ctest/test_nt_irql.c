/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * IRQL: raising, lowering, and the calls that have an upper limit, each kept and broken. One CPU, no device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_fixture.h"
#include "test_program.h"

static struct nt_fixture machine;

static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.clock = AERO_NT_CLOCK_VIRTUAL;
    plan.options.max_wait_ns = 1000000;
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

static void test_irql_raised_and_lowered_comes_back(void **state)
{
    KIRQL first, second;

    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &first);
    KeRaiseIrql(HIGH_LEVEL, &second);
    assert_int_equal(first, PASSIVE_LEVEL);
    assert_int_equal(second, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), HIGH_LEVEL);
    KeLowerIrql(second);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(first);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_irql_raised_to_lower_is_reported_and_stays(void **state)
{
    KIRQL first, second;

    KeRaiseIrql(DISPATCH_LEVEL, &first);
    KeRaiseIrql(APC_LEVEL, &second);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeLowerIrql(first);
}

static void test_irql_lowered_to_higher_is_reported_and_stays(void **state)
{
    KeLowerIrql(DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_irql_beyond_the_highest_is_reported(void **state)
{
    KIRQL old;

    KeRaiseIrql(HIGH_LEVEL + 1, &old);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_delay_at_apc_level_is_allowed(void **state)
{
    LARGE_INTEGER interval;
    KIRQL old;

    interval.QuadPart = -10;
    KeRaiseIrql(APC_LEVEL, &old);
    assert_int_equal(KeDelayExecutionThread(KernelMode, FALSE, &interval), STATUS_SUCCESS);
    KeLowerIrql(old);
    assert_int_equal(aero_nt_waited_ns(machine.nt), 1000);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_delay_at_dispatch_level_is_reported(void **state)
{
    LARGE_INTEGER interval;
    KIRQL old;

    interval.QuadPart = -10;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    KeLowerIrql(old);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_wait_with_timeout_at_dispatch_level_is_reported(void **state)
{
    LARGE_INTEGER timeout;
    KEVENT event;
    KIRQL old;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    timeout.QuadPart = -10;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    assert_int_equal(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &timeout), STATUS_TIMEOUT);
    KeLowerIrql(old);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_wait_of_zero_at_dispatch_level_is_allowed(void **state)
{
    LARGE_INTEGER timeout;
    KEVENT event;
    KIRQL old;

    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    timeout.QuadPart = 0;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    assert_int_equal(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &timeout), STATUS_SUCCESS);
    assert_int_equal(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &timeout), STATUS_TIMEOUT);
    KeLowerIrql(old);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_set_event_above_dispatch_level_is_reported(void **state)
{
    KEVENT event;
    KIRQL old;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeRaiseIrql(DISPATCH_LEVEL + 1, &old);
    KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
    KeLowerIrql(old);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_stall_of_fifty_us_is_allowed_anywhere(void **state)
{
    struct aero_nt_counters counters;
    KIRQL old;

    KeStallExecutionProcessor(20);
    KeRaiseIrql(HIGH_LEVEL, &old);
    KeStallExecutionProcessor(50);
    KeLowerIrql(old);
    aero_nt_counters(machine.nt, &counters);
    assert_int_equal(counters.stalls, 2);
    assert_int_equal(counters.stalled_ns, 70000);
    assert_int_equal(counters.stalled_ns_raised, 50000);
    assert_int_equal(counters.stalled_ns_longest, 50000);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_stall_of_fifty_one_us_is_reported(void **state)
{
    KeStallExecutionProcessor(51);
    assert_int_equal(aero_nt_breach_at(machine.nt, 0)->value, 51);
    assert_true(nt_fixture_broke(&machine, "STALL"));
}

static void test_virtual_clock_moves_by_stalls_and_delays_alone(void **state)
{
    LARGE_INTEGER interval, system, frequency;

    assert_int_equal(KeQueryInterruptTime(), 0);
    KeQuerySystemTime(&system);
    KeStallExecutionProcessor(50);
    interval.QuadPart = -10000; /* 1 ms */
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    assert_int_equal(aero_nt_now_ns(machine.nt), 1050000);
    assert_int_equal(KeQueryPerformanceCounter(&frequency).QuadPart, 10500);
    assert_int_equal(frequency.QuadPart, 10000000);
    interval.QuadPart = system.QuadPart + 20000; /* absolute: 2 ms after the beginning */
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    assert_int_equal(aero_nt_now_ns(machine.nt), 2000000);
}

static void test_assertion_of_the_driver_is_reported(void **state)
{
    NT_ASSERT(machine.nt != NULL);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    NT_ASSERT(machine.nt == NULL);
    assert_true(nt_fixture_broke(&machine, "ASSERT"));
}

static void note_rule(void *context, const struct aero_nt_breach *breach)
{
    *(const char **)context = breach->rule;
}

static void test_bug_check_with_callback_goes_to_it_and_returns(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();
    const char *rule = NULL;

    assert_int_equal(nt_fixture_close(&machine), 0);
    plan.options.breach = note_rule;
    plan.options.breach_context = &rule;
    assert_true(nt_fixture_open(&machine, &plan));
    KeBugCheckEx(0xD1, 1, 2, 3, 4);
    assert_string_equal(rule, "BUGCHECK");
    assert_int_equal(aero_nt_breach_at(machine.nt, 0)->value, 0xD1);
    assert_true(nt_fixture_broke(&machine, "BUGCHECK"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_irql_raised_and_lowered_comes_back),
        TEST(test_irql_raised_to_lower_is_reported_and_stays),
        TEST(test_irql_lowered_to_higher_is_reported_and_stays),
        TEST(test_irql_beyond_the_highest_is_reported),
        TEST(test_delay_at_apc_level_is_allowed),
        TEST(test_delay_at_dispatch_level_is_reported),
        TEST(test_wait_with_timeout_at_dispatch_level_is_reported),
        TEST(test_wait_of_zero_at_dispatch_level_is_allowed),
        TEST(test_set_event_above_dispatch_level_is_reported),
        TEST(test_stall_of_fifty_us_is_allowed_anywhere),
        TEST(test_stall_of_fifty_one_us_is_reported),
        TEST(test_virtual_clock_moves_by_stalls_and_delays_alone),
        TEST(test_assertion_of_the_driver_is_reported),
        TEST(test_bug_check_with_callback_goes_to_it_and_returns),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

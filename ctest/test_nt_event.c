/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Events and waits: states, time-outs, and one virtual CPU waking another, awake and asleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_fixture.h"
#include "os.h"
#include "test_program.h"

static struct nt_fixture machine;
static KEVENT ping, pong;

static int set_up_with_spin(uint32_t spin_ns, uint64_t max_wait_ns)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.options.spin_ns = spin_ns;
    if (max_wait_ns != 0) {
        plan.options.max_wait_ns = max_wait_ns;
    }
    KeInitializeEvent(&ping, SynchronizationEvent, FALSE);
    KeInitializeEvent(&pong, SynchronizationEvent, FALSE);
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_with_spin(50000, 0);
}

static int set_up_impatient(void **state)
{
    return set_up_with_spin(0, 1000000);
}

static int set_up_sleeping(void **state)
{
    return set_up_with_spin(0, 0);
}

static int set_up_spinning(void **state)
{
    return set_up_with_spin(1000000, 0);
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

static NTSTATUS wait_for(PRKEVENT event, LONGLONG timeout)
{
    LARGE_INTEGER interval;

    interval.QuadPart = timeout;
    return KeWaitForSingleObject(event, Executive, KernelMode, FALSE, &interval);
}

static void test_event_state_is_set_cleared_and_read(void **state)
{
    KEVENT event;

    KeInitializeEvent(&event, NotificationEvent, TRUE);
    assert_int_equal(KeReadStateEvent(&event), 1);
    assert_int_equal(KeResetEvent(&event), 1);
    assert_int_equal(KeReadStateEvent(&event), 0);
    assert_int_equal(KeSetEvent(&event, IO_NO_INCREMENT, FALSE), 0);
    assert_int_equal(KeSetEvent(&event, IO_NO_INCREMENT, FALSE), 1);
    KeClearEvent(&event);
    assert_int_equal(KeReadStateEvent(&event), 0);
}

static void test_notification_event_stays_set_after_a_wait(void **state)
{
    KEVENT event;

    KeInitializeEvent(&event, NotificationEvent, TRUE);
    assert_int_equal(wait_for(&event, 0), STATUS_SUCCESS);
    assert_int_equal(wait_for(&event, -10), STATUS_SUCCESS);
    assert_int_equal(KeReadStateEvent(&event), 1);
}

static void test_synchronization_event_is_taken_by_a_wait(void **state)
{
    KeSetEvent(&ping, IO_NO_INCREMENT, FALSE);
    assert_int_equal(wait_for(&ping, -10), STATUS_SUCCESS);
    assert_int_equal(KeReadStateEvent(&ping), 0);
}

static void test_wait_for_an_unset_event_times_out_and_not_early(void **state)
{
    uint64_t began_ns = sim_os_now_ns();

    assert_int_equal(wait_for(&ping, -20000), STATUS_TIMEOUT); /* 2 ms */
    assert_true(sim_os_now_ns() - began_ns >= 2000000);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_wait_until_a_time_gone_by_times_out(void **state)
{
    assert_int_equal(wait_for(&ping, 1), STATUS_TIMEOUT);
}

static void test_wait_for_ever_without_a_waker_is_reported(void **state)
{
    assert_int_equal(KeWaitForSingleObject(&ping, Executive, KernelMode, FALSE, NULL), STATUS_TIMEOUT);
    assert_true(nt_fixture_broke(&machine, "WAIT-FOREVER"));
}

static void test_wait_for_an_uninitialised_object_is_reported(void **state)
{
    KEVENT event;

    memset(&event, 0xA5, sizeof event);
    assert_int_equal(wait_for(&event, 0), STATUS_INVALID_PARAMETER);
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
}

static void test_delay_on_the_real_clock_is_not_short(void **state)
{
    uint64_t began_ns = aero_nt_now_ns(machine.nt);
    LARGE_INTEGER interval;

    interval.QuadPart = -20000;
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    KeStallExecutionProcessor(50);
    assert_true(aero_nt_now_ns(machine.nt) - began_ns >= 2050000);
}

enum { ROUNDS = 3000 };
static uint32_t carried; /* handed to and fro by the events alone */
static _Atomic uint32_t failures;

static void play_pong(void *context)
{
    uint32_t round;

    if (!aero_nt_cpu_enter(machine.nt, 1)) {
        atomic_fetch_add(&failures, 1);
        return;
    }
    for (round = 0; round < ROUNDS && atomic_load(&failures) == 0; round++) {
        if (KeWaitForSingleObject(&ping, Executive, KernelMode, FALSE, NULL) != STATUS_SUCCESS) {
            atomic_fetch_add(&failures, 1);
        }
        carried++;
        KeSetEvent(&pong, IO_NO_INCREMENT, FALSE);
    }
    aero_nt_cpu_leave(machine.nt);
}

static void test_events_carry_data_between_two_cpus_without_loss(void **state)
{
    struct sim_os_thread *thread;
    uint32_t round;

    carried = 0;
    atomic_store(&failures, 0);
    thread = sim_os_thread_start(play_pong, NULL, -1);
    assert_non_null(thread);
    for (round = 0; round < ROUNDS && atomic_load(&failures) == 0; round++) {
        carried++;
        KeSetEvent(&ping, IO_NO_INCREMENT, FALSE);
        if (KeWaitForSingleObject(&pong, Executive, KernelMode, FALSE, NULL) != STATUS_SUCCESS) {
            atomic_fetch_add(&failures, 1);
        }
    }
    sim_os_thread_join(thread);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(carried, 2 * ROUNDS);
}

static _Atomic uint32_t dpc_begun;
static uint32_t dpc_result;

static VOID NTAPI slow_dpc(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    uint32_t turn;

    atomic_store(&dpc_begun, 1);
    for (turn = 0; turn < 10; turn++) {
        sim_os_yield();
    }
    dpc_result = 42;
}

static void run_slow_dpc(void *context)
{
    KDPC dpc;

    if (aero_nt_cpu_enter(machine.nt, 1)) {
        KeInitializeDpc(&dpc, slow_dpc, NULL);
        KeInsertQueueDpc(&dpc, NULL, NULL);
        aero_nt_cpu_leave(machine.nt);
    }
}

static void test_flush_returns_after_a_dpc_on_the_other_cpu(void **state)
{
    struct sim_os_thread *thread;
    uint32_t result = 0;
    bool begun;

    dpc_result = 0;
    atomic_store(&dpc_begun, 0);
    thread = sim_os_thread_start(run_slow_dpc, NULL, -1);
    assert_non_null(thread);
    begun = nt_fixture_await(&dpc_begun, 1);
    if (begun) {
        KeFlushQueuedDpcs();
        result = dpc_result;
    }
    sim_os_thread_join(thread);
    assert_true(begun);
    assert_int_equal(result, 42);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_event_state_is_set_cleared_and_read),
        TEST(test_notification_event_stays_set_after_a_wait),
        TEST(test_synchronization_event_is_taken_by_a_wait),
        TEST(test_wait_for_an_unset_event_times_out_and_not_early),
        TEST(test_wait_until_a_time_gone_by_times_out),
        cmocka_unit_test_setup_teardown(test_wait_for_ever_without_a_waker_is_reported, set_up_impatient,
                                        tear_down),
        TEST(test_wait_for_an_uninitialised_object_is_reported),
        TEST(test_delay_on_the_real_clock_is_not_short),
        cmocka_unit_test_setup_teardown(test_events_carry_data_between_two_cpus_without_loss, set_up_sleeping,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_events_carry_data_between_two_cpus_without_loss, set_up_spinning,
                                        tear_down),
        TEST(test_flush_returns_after_a_dpc_on_the_other_cpu),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

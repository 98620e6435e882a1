/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Interrupts and DPCs: when they are taken, on whose line, what happens to routines that misbehave. Most run
 * stepped: a tick raises the line inside the call, so that each moment is known. The rest has a worker.
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

#define ISR_OFFSET 0x2000

static struct nt_fixture machine;

/* One driver a device. Plain members are touched by the CPU of its line alone. */
struct driver {
    uint32_t index;
    bool deaf;         /* claims nothing and reads nothing */
    bool claims_blind; /* claims without reading ISR */
    bool bad_irql;     /* leaves IRQL changed */
    bool bad_lock;     /* leaves a lock held */
    PKINTERRUPT interrupt;
    KDPC dpc;
    KEVENT event;
    KSPIN_LOCK lock;
    _Atomic uint32_t interrupts;
    uint32_t refused;
    uint32_t dpcs;
    uint32_t dpcs_coalesced;
    KIRQL irql_seen;
    KIRQL dpc_irql_seen;
};
static struct driver drivers[NT_FIXTURE_DEVICES_MAX];

static BOOLEAN NTAPI driver_isr(PKINTERRUPT Interrupt, PVOID ServiceContext)
{
    struct driver *driver = ServiceContext;

    driver->irql_seen = KeGetCurrentIrql();
    if (driver->bad_irql) {
        KeLowerIrql(DISPATCH_LEVEL);
    }
    if (driver->bad_lock) {
        KIRQL ignored;

        KeAcquireSpinLock(&driver->lock, &ignored);
    }
    if (driver->deaf ||
        (!driver->claims_blind && READ_REGISTER_UCHAR(machine.bars[driver->index] + ISR_OFFSET) == 0)) {
        driver->refused++;
        return FALSE;
    }
    atomic_fetch_add(&driver->interrupts, 1);
    driver->dpcs_coalesced += !KeInsertQueueDpc(&driver->dpc, driver, NULL);
    return TRUE;
}

static VOID NTAPI driver_dpc(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    struct driver *driver = DeferredContext;

    driver->dpc_irql_seen = KeGetCurrentIrql();
    driver->dpcs += SystemArgument1 == driver;
    KeSetEvent(&driver->event, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS driver_connect(uint32_t index)
{
    const struct aero_nt_device_info *info = &machine.infos[index];
    struct driver *driver = &drivers[index];

    return IoConnectInterrupt(&driver->interrupt, driver_isr, driver, NULL, info->interrupt_vector,
                              (KIRQL)info->interrupt_irql, (KIRQL)info->interrupt_irql, LevelSensitive, TRUE,
                              (KAFFINITY)info->interrupt_affinity, FALSE);
}

static NTSTATUS driver_wait(uint32_t index)
{
    return KeWaitForSingleObject(&drivers[index].event, Executive, KernelMode, FALSE, NULL);
}

static int drivers_set_up(const struct nt_fixture_plan *plan)
{
    uint32_t index;

    memset(drivers, 0, sizeof drivers);
    if (!nt_fixture_open(&machine, plan)) {
        return -1;
    }
    for (index = 0; index < plan->device_count; index++) {
        drivers[index].index = index;
        KeInitializeDpc(&drivers[index].dpc, driver_dpc, &drivers[index]);
        KeInitializeEvent(&drivers[index].event, SynchronizationEvent, FALSE);
        KeInitializeSpinLock(&drivers[index].lock);
        nt_fixture_bring_up(&machine, index);
        if (!NT_SUCCESS(driver_connect(index))) {
            return -1;
        }
    }
    return 0;
}

/* Device 0 alone on line 0; 1 and 2 share line 3. */
static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.clock = AERO_NT_CLOCK_VIRTUAL;
    plan.device_count = 3;
    plan.attach[1].line = 3;
    plan.attach[2].line = 3;
    return drivers_set_up(&plan);
}

static int set_up_sleeping(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.spin_ns = 0;
    plan.worker = true;
    plan.device_count = 1;
    return drivers_set_up(&plan);
}

static int set_up_spinning(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.spin_ns = 1000000;
    plan.worker = true;
    plan.device_count = 2;
    plan.attach[1].line = 1;
    return drivers_set_up(&plan);
}

static int tear_down(void **state)
{
    uint32_t index;

    for (index = 0; index < machine.device_count; index++) {
        if (drivers[index].interrupt != NULL) {
            IoDisconnectInterrupt(drivers[index].interrupt);
        }
    }
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

/* An interruption point and nothing else. */
static void point(void)
{
    KeStallExecutionProcessor(0);
}

static void test_interrupt_is_taken_at_the_next_interruption_point(void **state)
{
    nt_fixture_tick(&machine, 0);
    assert_int_equal(drivers[0].interrupts, 0);
    point();
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(drivers[0].dpcs, 1);
    assert_int_equal(drivers[0].irql_seen, machine.infos[0].interrupt_irql);
    assert_int_equal(drivers[0].dpc_irql_seen, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    point();
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_interrupt_is_taken_before_a_register_access(void **state)
{
    nt_fixture_tick(&machine, 0);
    assert_int_equal(READ_REGISTER_UCHAR(machine.bars[0] + ISR_OFFSET), 0); /* the routine was there first */
    assert_int_equal(drivers[0].interrupts, 1);
}

static void test_interrupt_at_dispatch_level_is_taken_and_its_dpc_waits(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(drivers[0].dpcs, 0);
    KeLowerIrql(old);
    assert_int_equal(drivers[0].dpcs, 1);
}

static void test_interrupt_at_its_own_irql_waits(void **state)
{
    KIRQL old;

    KeRaiseIrql((KIRQL)machine.infos[0].interrupt_irql, &old);
    nt_fixture_tick(&machine, 0);
    point();
    point();
    assert_int_equal(drivers[0].interrupts, 0);
    KeLowerIrql(DISPATCH_LEVEL);
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(drivers[0].dpcs, 0);
    KeLowerIrql(old);
    assert_int_equal(drivers[0].dpcs, 1);
}

static void test_interrupt_of_a_higher_line_passes_a_lower_irql(void **state)
{
    KIRQL old;

    KeRaiseIrql((KIRQL)machine.infos[0].interrupt_irql, &old);
    nt_fixture_tick(&machine, 0);
    nt_fixture_tick(&machine, 1);
    point();
    assert_int_equal(drivers[0].interrupts, 0);
    assert_int_equal(drivers[1].interrupts, 1);
    KeLowerIrql(old);
    assert_int_equal(drivers[0].interrupts, 1);
}

static void test_interrupt_at_high_level_is_taken_when_it_drops(void **state)
{
    KIRQL old;

    KeRaiseIrql(HIGH_LEVEL, &old);
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(drivers[0].interrupts, 0);
    KeLowerIrql(old);
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(drivers[0].dpcs, 1);
}

static void test_interrupt_acknowledged_before_it_is_taken_never_comes(void **state)
{
    KIRQL old;

    KeRaiseIrql(HIGH_LEVEL, &old);
    nt_fixture_tick(&machine, 0);
    assert_true(READ_REGISTER_UCHAR(machine.bars[0] + ISR_OFFSET) != 0);
    KeLowerIrql(old);
    point();
    assert_int_equal(drivers[0].interrupts + drivers[0].refused, 0);
}

/* INT-9 */
static void test_shared_line_reaches_the_device_that_raised_it(void **state)
{
    struct aero_nt_counters counters;

    assert_int_equal(machine.infos[1].interrupt_vector, machine.infos[2].interrupt_vector);
    nt_fixture_tick(&machine, 2);
    point();
    assert_int_equal(drivers[1].interrupts, 0);
    assert_int_equal(drivers[1].refused, 1); /* connected first, asked first, not its own */
    assert_int_equal(drivers[2].interrupts, 1);
    nt_fixture_tick(&machine, 1);
    nt_fixture_tick(&machine, 2);
    point();
    assert_int_equal(drivers[1].interrupts, 1);
    assert_int_equal(drivers[2].interrupts, 2);
    aero_nt_counters(machine.nt, &counters);
    assert_int_equal(counters.interrupts, 3);
    assert_int_equal(counters.interrupts_unclaimed, 0);
}

static void test_unclaimed_line_is_a_storm_and_masked_until_it_changes(void **state)
{
    struct aero_nt_counters counters;

    drivers[0].deaf = true;
    nt_fixture_tick(&machine, 0);
    point();
    assert_true(nt_fixture_broke(&machine, "INTERRUPT-STORM"));
    aero_nt_counters(machine.nt, &counters);
    assert_int_equal(counters.interrupts, 1000);
    assert_int_equal(counters.interrupts_unclaimed, 1000);
    point();
    aero_nt_counters(machine.nt, &counters);
    assert_int_equal(counters.interrupts, 1000);
    drivers[0].deaf = false;
    assert_true(READ_REGISTER_UCHAR(machine.bars[0] + ISR_OFFSET) != 0);
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(drivers[0].interrupts, 1);
}

static void test_isr_that_claims_without_acknowledging_is_a_storm(void **state)
{
    drivers[0].claims_blind = true;
    nt_fixture_tick(&machine, 0);
    point();
    assert_true(nt_fixture_broke(&machine, "INTERRUPT-STORM"));
    assert_int_equal(drivers[0].dpcs, 1);
    assert_int_equal(drivers[0].dpcs_coalesced, 999);
}

static void test_isr_returning_at_another_irql_is_reported(void **state)
{
    drivers[0].bad_irql = true;
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(aero_nt_breach_count(machine.nt), 2); /* lowered below its own lock, and came back so */
    assert_string_equal(aero_nt_breach_at(machine.nt, 0)->rule, "SPINLOCK-HELD");
    assert_string_equal(aero_nt_breach_at(machine.nt, 1)->rule, "ISR-RETURN");
    aero_nt_breach_forget(machine.nt);
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void test_isr_returning_with_a_lock_is_reported_and_the_lock_freed(void **state)
{
    drivers[0].bad_lock = true;
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(aero_nt_breach_count(machine.nt), 2); /* acquired above DISPATCH_LEVEL, and kept */
    assert_string_equal(aero_nt_breach_at(machine.nt, 1)->rule, "ISR-RETURN");
    aero_nt_breach_forget(machine.nt);
    assert_true(drivers[0].lock == 0);
}

static void test_line_without_a_routine_is_masked_and_taken_once_connected(void **state)
{
    IoDisconnectInterrupt(drivers[0].interrupt);
    drivers[0].interrupt = NULL;
    nt_fixture_tick(&machine, 0);
    point();
    assert_int_equal(drivers[0].interrupts, 0);
    assert_int_equal(driver_connect(0), STATUS_SUCCESS);
    assert_int_equal(drivers[0].interrupts, 1);
}

static void test_disconnect_twice_is_reported(void **state)
{
    IoDisconnectInterrupt(drivers[0].interrupt);
    IoDisconnectInterrupt(drivers[0].interrupt);
    drivers[0].interrupt = NULL;
    assert_true(nt_fixture_broke(&machine, "INTERRUPT-CONNECT"));
}

static void test_connect_with_wrong_arguments_is_reported(void **state)
{
    const struct aero_nt_device_info *info = &machine.infos[0];
    KIRQL irql = (KIRQL)info->interrupt_irql;
    PKINTERRUPT interrupt;

    assert_int_equal(IoConnectInterrupt(&interrupt, driver_isr, NULL, NULL, info->interrupt_vector + 1, irql,
                                        irql, LevelSensitive, TRUE, 1, FALSE),
                     STATUS_INVALID_PARAMETER);
    assert_true(nt_fixture_broke(&machine, "INTERRUPT-CONNECT"));
    assert_int_equal(IoConnectInterrupt(&interrupt, driver_isr, NULL, NULL, info->interrupt_vector, irql,
                                        irql, LevelSensitive, TRUE, 2, FALSE),
                     STATUS_INVALID_PARAMETER); /* a CPU that the line doesn't go to */
    assert_true(nt_fixture_broke(&machine, "INTERRUPT-CONNECT"));
    assert_null(interrupt);
}

static void test_connect_to_a_line_that_is_not_shared_is_refused(void **state)
{
    const struct aero_nt_device_info *info = &machine.infos[0];
    KIRQL irql = (KIRQL)info->interrupt_irql;
    PKINTERRUPT interrupt;

    assert_int_equal(IoConnectInterrupt(&interrupt, driver_isr, NULL, NULL, info->interrupt_vector, irql,
                                        irql, LevelSensitive, FALSE, 1, FALSE),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_connect_without_memory_is_refused(void **state)
{
    IoDisconnectInterrupt(drivers[0].interrupt);
    aero_nt_fail_allocation_after(machine.nt, 0);
    assert_int_equal(driver_connect(0), STATUS_INSUFFICIENT_RESOURCES);
    assert_null(drivers[0].interrupt);
}

static void test_connected_interrupt_is_a_leak(void **state)
{
    assert_int_equal(nt_fixture_close(&machine), 3);
}

static BOOLEAN NTAPI note_irql(PVOID SynchronizeContext)
{
    *(KIRQL *)SynchronizeContext = KeGetCurrentIrql();
    nt_fixture_tick(&machine, 0);
    point();
    return drivers[0].interrupts == 0;
}

static void test_synchronize_execution_keeps_the_interrupt_out(void **state)
{
    KIRQL seen = 0;

    assert_true(KeSynchronizeExecution(drivers[0].interrupt, note_irql, &seen));
    assert_int_equal(seen, machine.infos[0].interrupt_irql);
    assert_int_equal(drivers[0].interrupts, 1);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void test_dpc_inserted_at_passive_level_runs_at_once(void **state)
{
    assert_true(KeInsertQueueDpc(&drivers[0].dpc, &drivers[0], NULL));
    assert_int_equal(drivers[0].dpcs, 1);
}

static void test_dpc_inserted_twice_runs_once_with_the_first_arguments(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    assert_true(KeInsertQueueDpc(&drivers[0].dpc, &drivers[0], NULL));
    assert_false(KeInsertQueueDpc(&drivers[0].dpc, NULL, NULL));
    KeLowerIrql(old);
    assert_int_equal(drivers[0].dpcs, 1);
    assert_true(KeInsertQueueDpc(&drivers[0].dpc, &drivers[0], NULL));
    assert_int_equal(drivers[0].dpcs, 2);
}

static void test_dpc_removed_never_runs(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    assert_true(KeInsertQueueDpc(&drivers[0].dpc, &drivers[0], NULL));
    assert_true(KeInsertQueueDpc(&drivers[1].dpc, &drivers[1], NULL));
    assert_true(KeRemoveQueueDpc(&drivers[0].dpc));
    assert_false(KeRemoveQueueDpc(&drivers[0].dpc));
    KeLowerIrql(old);
    assert_int_equal(drivers[0].dpcs, 0);
    assert_int_equal(drivers[1].dpcs, 1);
}

static VOID NTAPI bad_dpc(PRKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    KeAcquireSpinLockAtDpcLevel(&drivers[0].lock);
}

static void test_dpc_returning_with_a_lock_is_reported_and_the_lock_freed(void **state)
{
    KDPC dpc;

    KeInitializeDpc(&dpc, bad_dpc, NULL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
    assert_true(nt_fixture_broke(&machine, "DPC-RETURN"));
    assert_true(drivers[0].lock == 0);
}

static void test_cpu_left_with_a_dpc_queued_is_reported(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeInsertQueueDpc(&drivers[0].dpc, &drivers[0], NULL);
    aero_nt_cpu_leave(machine.nt);
    assert_true(nt_fixture_broke(&machine, "CPU-LEFT"));
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
    KeFlushQueuedDpcs();
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeLowerIrql(old);
    assert_int_equal(drivers[0].dpcs, 1);
}

enum { ROUNDS = 2000 };

/* Each tick: the worker raises the line, the waiting CPU wakes, runs routine and DPC, and its wait ends. */
static void test_worker_interrupts_end_every_wait(void **state)
{
    uint32_t round;

    for (round = 0; round < ROUNDS; round++) {
        nt_fixture_tick(&machine, 0);
        assert_int_equal(driver_wait(0), STATUS_SUCCESS);
    }
    assert_int_equal(drivers[0].interrupts, ROUNDS);
    assert_int_equal(drivers[0].dpcs, ROUNDS);
    assert_int_equal(drivers[0].refused, 0);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_sleeping_cpu_sleeps_at_most_once_a_tick(void **state)
{
    struct aero_nt_counters counters;

    test_worker_interrupts_end_every_wait(state);
    aero_nt_counters(machine.nt, &counters);
    /* Once a tick; the host may wake a thread for nothing. */
    assert_true(counters.sleeps <= ROUNDS + ROUNDS / 10);
    assert_int_equal(counters.interrupts, ROUNDS);
}

static void test_two_lines_interrupt_one_cpu_without_loss(void **state)
{
    uint32_t round;

    for (round = 0; round < ROUNDS; round++) {
        nt_fixture_tick(&machine, round & 1);
        nt_fixture_tick(&machine, ~round & 1);
        assert_int_equal(driver_wait(0), STATUS_SUCCESS);
        assert_int_equal(driver_wait(1), STATUS_SUCCESS);
    }
    assert_int_equal(drivers[0].interrupts, ROUNDS);
    assert_int_equal(drivers[1].interrupts, ROUNDS);
}

#define TEST(name)          cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_SLEEPING(name) cmocka_unit_test_setup_teardown(name, set_up_sleeping, tear_down)
#define TEST_SPINNING(name) cmocka_unit_test_setup_teardown(name, set_up_spinning, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_interrupt_is_taken_at_the_next_interruption_point),
        TEST(test_interrupt_is_taken_before_a_register_access),
        TEST(test_interrupt_at_dispatch_level_is_taken_and_its_dpc_waits),
        TEST(test_interrupt_at_its_own_irql_waits),
        TEST(test_interrupt_of_a_higher_line_passes_a_lower_irql),
        TEST(test_interrupt_at_high_level_is_taken_when_it_drops),
        TEST(test_interrupt_acknowledged_before_it_is_taken_never_comes),
        TEST(test_shared_line_reaches_the_device_that_raised_it),
        TEST(test_unclaimed_line_is_a_storm_and_masked_until_it_changes),
        TEST(test_isr_that_claims_without_acknowledging_is_a_storm),
        TEST(test_isr_returning_at_another_irql_is_reported),
        TEST(test_isr_returning_with_a_lock_is_reported_and_the_lock_freed),
        TEST(test_line_without_a_routine_is_masked_and_taken_once_connected),
        TEST(test_disconnect_twice_is_reported),
        TEST(test_connect_with_wrong_arguments_is_reported),
        TEST(test_connect_to_a_line_that_is_not_shared_is_refused),
        TEST(test_connect_without_memory_is_refused),
        TEST(test_connected_interrupt_is_a_leak),
        TEST(test_synchronize_execution_keeps_the_interrupt_out),
        TEST(test_dpc_inserted_at_passive_level_runs_at_once),
        TEST(test_dpc_inserted_twice_runs_once_with_the_first_arguments),
        TEST(test_dpc_removed_never_runs),
        TEST(test_dpc_returning_with_a_lock_is_reported_and_the_lock_freed),
        TEST(test_cpu_left_with_a_dpc_queued_is_reported),
        TEST_SLEEPING(test_worker_interrupts_end_every_wait),
        TEST_SLEEPING(test_sleeping_cpu_sleeps_at_most_once_a_tick),
        TEST_SPINNING(test_worker_interrupts_end_every_wait),
        TEST_SPINNING(test_two_lines_interrupt_one_cpu_without_loss),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

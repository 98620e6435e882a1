/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Spin locks: who holds them, at which IRQL, and two virtual CPUs that want the same one. */
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
static KSPIN_LOCK lock;

static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.options.clock = AERO_NT_CLOCK_VIRTUAL;
    plan.options.lock_timeout_ns = 1000000;
    KeInitializeSpinLock(&lock);
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int set_up_patient(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.worker = true;
    plan.device_count = 1;
    plan.attach[0].cpu = 1;
    KeInitializeSpinLock(&lock);
    if (!nt_fixture_open(&machine, &plan)) {
        return -1;
    }
    nt_fixture_bring_up(&machine, 0);
    return 0;
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

/* Runs a function as virtual CPU 1, while the test thread is CPU 0. */
struct other {
    void (*run)(void);
    struct sim_os_thread *thread;
};

static void other_main(void *context)
{
    struct other *other = context;

    if (aero_nt_cpu_enter(machine.nt, 1)) {
        other->run();
        aero_nt_cpu_leave(machine.nt);
    }
}

static void other_start(struct other *other, void (*run)(void))
{
    other->run = run;
    other->thread = sim_os_thread_start(other_main, other, -1);
    assert_non_null(other->thread);
}

static void test_spinlock_acquired_raises_and_released_lowers(void **state)
{
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    assert_int_equal(old, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_true(lock != 0);
    KeReleaseSpinLock(&lock, old);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(lock == 0);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_spinlock_above_dispatch_level_is_reported(void **state)
{
    KIRQL raised, old;

    KeRaiseIrql(DISPATCH_LEVEL + 1, &raised);
    KeAcquireSpinLock(&lock, &old);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL + 1);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeReleaseSpinLock(&lock, old);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeLowerIrql(raised);
}

static void test_spinlock_acquired_twice_is_reported_and_survives(void **state)
{
    KIRQL first, second;

    KeAcquireSpinLock(&lock, &first);
    KeAcquireSpinLock(&lock, &second);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-RECURSIVE"));
    KeReleaseSpinLock(&lock, second);
    assert_true(lock != 0);
    KeReleaseSpinLock(&lock, first);
    assert_true(lock == 0);
}

static void test_spinlock_released_unheld_is_reported(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeReleaseSpinLockFromDpcLevel(&lock);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-OWNER"));
    KeLowerIrql(old);
}

static void release_as_other(void)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeReleaseSpinLockFromDpcLevel(&lock);
    KeLowerIrql(old);
}

static void test_spinlock_released_by_other_cpu_is_reported_and_stays_held(void **state)
{
    struct other other;
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    other_start(&other, release_as_other);
    sim_os_thread_join(other.thread);
    assert_int_equal(aero_nt_breach_at(machine.nt, 0)->cpu, 1);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-OWNER"));
    assert_true(lock != 0);
    KeReleaseSpinLock(&lock, old);
}

static void test_spinlock_released_to_higher_irql_is_reported(void **state)
{
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, DISPATCH_LEVEL + 1);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeLowerIrql(old);
}

static void test_spinlock_dpc_level_forms_keep_irql(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeAcquireSpinLockAtDpcLevel(&lock);
    KeReleaseSpinLockFromDpcLevel(&lock);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_spinlock_at_dpc_level_form_at_passive_level_is_reported(void **state)
{
    KIRQL old;

    KeAcquireSpinLockAtDpcLevel(&lock);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeReleaseSpinLockFromDpcLevel(&lock);
    KeLowerIrql(old);
}

static void test_spinlock_released_out_of_order_is_allowed(void **state)
{
    KSPIN_LOCK second;
    KIRQL old;

    KeInitializeSpinLock(&second);
    KeAcquireSpinLock(&lock, &old);
    KeAcquireSpinLockAtDpcLevel(&second);
    KeReleaseSpinLockFromDpcLevel(&lock);
    assert_true(lock == 0);
    assert_true(second != 0);
    KeReleaseSpinLock(&second, old);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_irql_lowered_with_lock_held_is_reported(void **state)
{
    KIRQL old, back;

    KeAcquireSpinLock(&lock, &old);
    KeLowerIrql(old);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-HELD"));
    KeRaiseIrql(DISPATCH_LEVEL, &back);
    KeReleaseSpinLock(&lock, old);
}

static void test_wait_with_lock_held_is_reported(void **state)
{
    LARGE_INTEGER interval;
    KIRQL old;

    interval.QuadPart = -1;
    KeAcquireSpinLock(&lock, &old);
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    assert_int_equal(aero_nt_breach_count(machine.nt), 2); /* the IRQL, and the lock */
    assert_string_equal(aero_nt_breach_at(machine.nt, 1)->rule, "SPINLOCK-HELD");
    aero_nt_breach_forget(machine.nt);
    KeReleaseSpinLock(&lock, old);
}

static void test_spinlock_uninitialised_is_reported_and_taken(void **state)
{
    KIRQL old;

    lock = (KSPIN_LOCK)0xA5A5A5A5u;
    KeAcquireSpinLock(&lock, &old);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-CORRUPT"));
    KeReleaseSpinLock(&lock, old);
    assert_true(lock == 0);
}

static void test_spinlock_leaving_with_lock_held_is_reported_and_freed(void **state)
{
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    aero_nt_cpu_leave(machine.nt);
    assert_int_equal(aero_nt_breach_count(machine.nt), 2);
    assert_string_equal(aero_nt_breach_at(machine.nt, 0)->rule, "LEAK-LOCK");
    assert_string_equal(aero_nt_breach_at(machine.nt, 1)->rule, "CPU-LEFT");
    assert_true(lock == 0);
    aero_nt_breach_forget(machine.nt);
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
}

static void acquire_and_release(void)
{
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, old);
}

static void test_spinlock_never_released_times_out_on_the_other_cpu(void **state)
{
    struct other other;
    KIRQL old;

    KeAcquireSpinLock(&lock, &old);
    other_start(&other, acquire_and_release);
    sim_os_thread_join(other.thread);
    assert_true(nt_fixture_broke(&machine, "SPINLOCK-TIMEOUT"));
    assert_true(lock != 0);
    KeReleaseSpinLock(&lock, old);
}

enum { ROUNDS = 20000 };
static uint32_t shared_count;

static void count_under_lock(void)
{
    uint32_t round;

    for (round = 0; round < ROUNDS; round++) {
        KIRQL old;

        KeAcquireSpinLock(&lock, &old);
        shared_count++;
        KeReleaseSpinLock(&lock, old);
    }
}

static void test_spinlock_between_two_cpus_excludes(void **state)
{
    struct other other;

    shared_count = 0;
    other_start(&other, count_under_lock);
    count_under_lock();
    sim_os_thread_join(other.thread);
    assert_int_equal(shared_count, 2 * ROUNDS);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static _Atomic uint32_t other_ready;
static _Atomic uint32_t interrupted;
static PKINTERRUPT interrupt;

static BOOLEAN NTAPI count_interrupt(PKINTERRUPT Interrupt, PVOID ServiceContext)
{
    if (READ_REGISTER_UCHAR(machine.bars[0] + 0x2000) == 0) {
        return FALSE;
    }
    atomic_store(&interrupted, 1);
    return TRUE;
}

static void acquire_when_ready(void)
{
    KIRQL old;

    atomic_store(&other_ready, 1);
    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, old);
}

static void test_spinlock_spinning_cpu_takes_interrupts(void **state)
{
    struct aero_nt_device_info *info = &machine.infos[0];
    struct other other;
    bool ready, taken;
    KIRQL old;

    atomic_store(&other_ready, 0);
    atomic_store(&interrupted, 0);
    assert_int_equal(IoConnectInterrupt(&interrupt, count_interrupt, NULL, NULL, info->interrupt_vector,
                                        (KIRQL)info->interrupt_irql, (KIRQL)info->interrupt_irql,
                                        LevelSensitive, TRUE, (KAFFINITY)info->interrupt_affinity, FALSE),
                     STATUS_SUCCESS);
    KeAcquireSpinLock(&lock, &old);
    other_start(&other, acquire_when_ready);
    ready = nt_fixture_await(&other_ready, 1);
    nt_fixture_tick(&machine, 0);
    taken = nt_fixture_await(&interrupted, 1);
    KeReleaseSpinLock(&lock, old);
    sim_os_thread_join(other.thread);
    IoDisconnectInterrupt(interrupt);
    assert_true(ready);
    assert_true(taken);
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_PATIENT(name) cmocka_unit_test_setup_teardown(name, set_up_patient, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spinlock_acquired_raises_and_released_lowers),
        TEST(test_spinlock_above_dispatch_level_is_reported),
        TEST(test_spinlock_acquired_twice_is_reported_and_survives),
        TEST(test_spinlock_released_unheld_is_reported),
        TEST(test_spinlock_released_by_other_cpu_is_reported_and_stays_held),
        TEST(test_spinlock_released_to_higher_irql_is_reported),
        TEST(test_spinlock_dpc_level_forms_keep_irql),
        TEST(test_spinlock_at_dpc_level_form_at_passive_level_is_reported),
        TEST(test_spinlock_released_out_of_order_is_allowed),
        TEST(test_irql_lowered_with_lock_held_is_reported),
        TEST(test_wait_with_lock_held_is_reported),
        TEST(test_spinlock_uninitialised_is_reported_and_taken),
        TEST(test_spinlock_leaving_with_lock_held_is_reported_and_freed),
        TEST(test_spinlock_never_released_times_out_on_the_other_cpu),
        TEST_PATIENT(test_spinlock_between_two_cpus_excludes),
        TEST_PATIENT(test_spinlock_spinning_cpu_takes_interrupts),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * --break-on-breach. The culprits break a rule each, and go on where nothing stops them; the other tests run
 * them in a process of their own, with the option and without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#ifndef _WIN32
#include <signal.h>
#endif

#include "child.h"
#include "nt_fixture.h"
#include "os.h"
#include "test_program.h"

#define DEVICE_STATUS 0x14

static const char *this_program;
static struct nt_fixture machine;

static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.options.referee = true;
    plan.device_count = 1;
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

/* ---- Culprits: a debugger's stack is to name these functions ------------------------------------------- */

__attribute__((noinline)) static void culprit_lowers_upwards(void)
{
    KeLowerIrql(DISPATCH_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
}

__attribute__((noinline)) static void culprit_skips_acknowledge(void)
{
    WRITE_REGISTER_UCHAR(machine.bars[0] + DEVICE_STATUS, 0);
    READ_REGISTER_UCHAR(machine.bars[0] + DEVICE_STATUS);
    WRITE_REGISTER_UCHAR(machine.bars[0] + DEVICE_STATUS, 2);
}

static void *culprit_cpu; /* whom the second thread was, as sim_os_tls_get tells */

static void second_main(void *context)
{
    if (aero_nt_cpu_enter(machine.nt, 1)) {
        culprit_cpu = sim_os_tls_get();
        culprit_lowers_upwards();
        aero_nt_cpu_leave(machine.nt);
    }
}

static void stray_main(void *context)
{
    KeGetCurrentIrql();
}

static void run_on_a_thread(void (*run)(void *context))
{
    struct sim_os_thread *thread = sim_os_thread_start(run, NULL, -1);

    assert_non_null(thread);
    sim_os_thread_join(thread);
}

static void test_culprit_in_the_kernel(void **state)
{
    culprit_lowers_upwards();
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_culprit_in_a_second_thread(void **state)
{
    run_on_a_thread(second_main);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}

static void test_culprit_of_the_referee(void **state)
{
    culprit_skips_acknowledge();
    assert_true(nt_fixture_broke(&machine, "COM-19"));
}

static void test_culprit_that_is_no_cpu(void **state)
{
    uint32_t strays = aero_nt_stray_count();

    run_on_a_thread(stray_main);
    assert_int_equal(aero_nt_stray_count(), strays + 1);
}

static void test_culprit_of_nothing(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    KeLowerIrql(old);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

/* ---- What becomes of them ------------------------------------------------------------------------------ */

static void check_trapped(const char *culprit, const char *said)
{
    static struct child_end end;

    assert_true(child_run(this_program, "--break-on-breach", culprit, &end));
    if (!end.trapped || !strstr(end.output, said))
        fail_msg("%s: status 0x%x, and it said:\n%s", culprit, (unsigned)end.status, end.output);
}

static void check_passed(const char *option, const char *culprit)
{
    static struct child_end end;

    assert_true(child_run(this_program, option, culprit, &end));
    if (end.trapped || end.status != 0)
        fail_msg("%s: status 0x%x, and it said:\n%s", culprit, (unsigned)end.status, end.output);
}

static void test_break_on_breach_of_the_kernels_rule_traps(void **state)
{
    check_trapped("test_culprit_in_the_kernel", "nt: IRQL: cpu 0: KeLowerIrql: ");
}

static void test_break_on_breach_in_a_second_thread_traps(void **state)
{
    check_trapped("test_culprit_in_a_second_thread", "nt: IRQL: cpu 1: KeLowerIrql: ");
}

static void test_break_on_breach_seen_by_the_referee_traps(void **state)
{
    check_trapped("test_culprit_of_the_referee", "nt: COM-19: cpu 0: WRITE_REGISTER_UCHAR: ");
}

static void test_break_on_breach_by_no_cpu_traps(void **state)
{
    check_trapped("test_culprit_that_is_no_cpu", "nt: NO-CPU: KeGetCurrentIrql: ");
}

static void test_break_on_breach_without_a_breach_goes_on(void **state)
{
    check_passed("--break-on-breach", "test_culprit_of_nothing");
}

static void test_breach_without_the_option_goes_on(void **state)
{
    check_passed(NULL, "test_culprit_*");
}

static void test_command_line_not_understood_is_refused(void **state)
{
    static struct child_end end;

    assert_true(child_run(this_program, "--break-on-breech", NULL, &end));
    assert_int_equal(end.status, 2);
    assert_non_null(strstr(end.output, "test_nt_break: unknown option: --break-on-breech"));
    assert_true(child_run(this_program, NULL, "test_culprit", &end));
    assert_int_equal(end.status, 2);
    assert_non_null(strstr(end.output, "test_nt_break: no test matches 'test_culprit'"));
    assert_true(child_run(this_program, "test_culprit_*", "test_break_*", &end));
    assert_int_equal(end.status, 2);
    assert_non_null(strstr(end.output, "'test_break_*' is the second"));
}

#ifndef _WIN32
/* Where a debugger would stop: what the handler finds, on the thread that the signal comes to. */
static void *trapped_cpu;
static uint32_t traps, calls, calls_before_trap;

static void note_trap(int number)
{
    (void)number;
    trapped_cpu = sim_os_tls_get();
    calls_before_trap = calls;
    traps++;
}

static void note_breach(void *context, const struct aero_nt_breach *breach)
{
    calls++;
}

static void test_break_comes_on_the_culprits_thread_before_the_callback(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();
    void (*before)(int) = signal(SIGTRAP, note_trap);

    assert_ptr_not_equal(before, SIG_ERR);
    traps = calls = 0;
    plan.options.cpu_count = 2;
    plan.options.breach = note_breach;
    assert_true(nt_fixture_open(&machine, &plan));
    aero_nt_break_on_breach(true);
    run_on_a_thread(second_main);
    aero_nt_break_on_breach(false);
    signal(SIGTRAP, before);
    assert_int_equal(traps, 1);
    assert_int_equal(calls_before_trap, 0);
    assert_int_equal(calls, 1);
    assert_non_null(trapped_cpu);
    assert_ptr_equal(trapped_cpu, culprit_cpu);
    assert_ptr_not_equal(trapped_cpu, sim_os_tls_get());
    assert_true(nt_fixture_broke(&machine, "IRQL"));
}
#endif

#define CULPRIT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CULPRIT(test_culprit_in_the_kernel),
        CULPRIT(test_culprit_in_a_second_thread),
        CULPRIT(test_culprit_of_the_referee),
        CULPRIT(test_culprit_that_is_no_cpu),
        CULPRIT(test_culprit_of_nothing),
        cmocka_unit_test(test_break_on_breach_of_the_kernels_rule_traps),
        cmocka_unit_test(test_break_on_breach_in_a_second_thread_traps),
        cmocka_unit_test(test_break_on_breach_seen_by_the_referee_traps),
        cmocka_unit_test(test_break_on_breach_by_no_cpu_traps),
        cmocka_unit_test(test_break_on_breach_without_a_breach_goes_on),
        cmocka_unit_test(test_breach_without_the_option_goes_on),
        cmocka_unit_test(test_command_line_not_understood_is_refused),
#ifndef _WIN32
        cmocka_unit_test_teardown(test_break_comes_on_the_culprits_thread_before_the_callback, tear_down),
#endif
    };

    this_program = argv[0];
    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("break on breach", tests, NULL, NULL);
}

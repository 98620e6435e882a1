/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The referee: each clause that it watches, kept once and broken once. One stepped device behind the kernel's
 * registers.
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

enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0C,
    NUM_QUEUES = 0x12,
    STATUS = 0x14,
    GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_ENABLE = 0x1C,
    QUEUE_DESC = 0x20,
    NOTIFY = 0x1000,
    ISR = 0x2000,
    CONFIG = 0x3000,
};

static struct nt_fixture machine;

static int set_up_with(bool referee)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.options.referee = referee;
    plan.device_count = 1;
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_with(true);
}

static int set_up_without(void **state)
{
    return set_up_with(false);
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

static UCHAR read8(ULONG offset)
{
    return READ_REGISTER_UCHAR(machine.bars[0] + offset);
}

static USHORT read16(ULONG offset)
{
    return READ_REGISTER_USHORT((USHORT *)(machine.bars[0] + offset));
}

static ULONG read32(ULONG offset)
{
    return READ_REGISTER_ULONG((ULONG *)(machine.bars[0] + offset));
}

static void write8(ULONG offset, UCHAR value)
{
    WRITE_REGISTER_UCHAR(machine.bars[0] + offset, value);
}

static void write16(ULONG offset, USHORT value)
{
    WRITE_REGISTER_USHORT((USHORT *)(machine.bars[0] + offset), value);
}

static void write32(ULONG offset, ULONG value)
{
    WRITE_REGISTER_ULONG((ULONG *)(machine.bars[0] + offset), value);
}

/* Reset, ACKNOWLEDGE, DRIVER. */
static void begin(void)
{
    write8(STATUS, 0);
    (void)read8(STATUS);
    write8(STATUS, 0x01);
    write8(STATUS, 0x03);
}

/* VERSION_1 alone, the high half first or second as it may be. */
static void write_features(void)
{
    write32(DRIVER_FEATURE_SELECT, 0);
    write32(DRIVER_FEATURE, 0);
    write32(DRIVER_FEATURE_SELECT, 1);
    write32(DRIVER_FEATURE, 1);
}

static void negotiate(void)
{
    begin();
    write_features();
    write8(STATUS, 0x0B);
    (void)read8(STATUS);
}

static void set_up_queue(void)
{
    static const ULONG low[3] = {0x100000, 0x101000, 0x102000};
    ULONG part;

    write16(QUEUE_SELECT, 0);
    for (part = 0; part < 3; part++) {
        write32(QUEUE_DESC + 8 * part, low[part]);
        write32(QUEUE_DESC + 8 * part + 4, 0);
    }
    write16(QUEUE_ENABLE, 1);
}

static void bring_up(void)
{
    negotiate();
    set_up_queue();
    write8(STATUS, 0x0F);
}

/* One breach of that clause since the last look. */
static void expect(const char *clause)
{
    const struct aero_nt_breach *breach = aero_nt_breach_at(machine.nt, 0);

    assert_non_null(breach);
    assert_string_equal(breach->clause, clause);
    assert_true(nt_fixture_broke(&machine, clause));
}

static void expect_none(void)
{
    assert_true(aero_nt_breach_at(machine.nt, 0) == NULL);
}

static void test_referee_whole_bring_up_has_no_breach(void **state)
{
    bring_up();
    write16(NOTIFY, 0);
    (void)read8(ISR);
    (void)read8(GENERATION);
    (void)read32(CONFIG);
    (void)read16(NUM_QUEUES);
    write8(STATUS, 0);
    assert_int_equal(read8(STATUS), 0);
    expect_none();
}

static void test_referee_off_says_nothing(void **state)
{
    write8(STATUS, 0x0F);
    write16(NOTIFY + 2, 7);
    (void)read8(QUEUE_SIZE);
    expect_none();
}

/* ---- COM-3 ---- */

static _Atomic uint32_t other_entered, other_leave;

static void be_cpu_1(void *context)
{
    if (aero_nt_cpu_enter(machine.nt, 1)) {
        atomic_store(&other_entered, 1);
        nt_fixture_await(&other_leave, 1);
        aero_nt_cpu_leave(machine.nt);
    }
}

static void test_referee_com_3_selector_with_another_cpu_about(void **state)
{
    struct sim_os_thread *thread;
    uint32_t unlocked, locked, raised;
    KSPIN_LOCK lock;
    KIRQL old;
    bool about;

    KeInitializeSpinLock(&lock);
    atomic_store(&other_entered, 0);
    atomic_store(&other_leave, 0);
    write32(DEVICE_FEATURE_SELECT, 0); /* alone: no lock needed */
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    thread = sim_os_thread_start(be_cpu_1, NULL, -1);
    assert_non_null(thread);
    about = nt_fixture_await(&other_entered, 1);
    KeAcquireSpinLock(&lock, &old);
    write32(DEVICE_FEATURE_SELECT, 1);
    (void)read32(DEVICE_FEATURE);
    KeReleaseSpinLock(&lock, old);
    locked = aero_nt_breach_count(machine.nt);
    KeRaiseIrql(HIGH_LEVEL, &old);
    write32(DEVICE_FEATURE_SELECT, 1); /* above DISPATCH_LEVEL the caller is the only user */
    KeLowerIrql(old);
    raised = aero_nt_breach_count(machine.nt);
    (void)read16(NUM_QUEUES); /* no selector in it */
    (void)read16(QUEUE_SIZE);
    unlocked = aero_nt_breach_count(machine.nt);
    atomic_store(&other_leave, 1);
    sim_os_thread_join(thread);
    assert_true(about);
    assert_int_equal(locked, 0);
    assert_int_equal(raised, 0);
    assert_int_equal(unlocked, 1);
    expect("COM-3");
}

/* ---- COM-14 ---- */

static void test_referee_com_14_address_of_another_width(void **state)
{
    negotiate();
    write16(QUEUE_DESC, 0);
    expect("COM-14");
    (void)read8(QUEUE_DESC + 3);
    expect("COM-14");
}

static void test_referee_com_14_address_after_enable(void **state)
{
    negotiate();
    set_up_queue();
    expect_none();
    write32(QUEUE_DESC, 0x200000);
    expect("COM-14");
}

static void test_referee_com_14_enable_before_all_halves(void **state)
{
    negotiate();
    write16(QUEUE_SELECT, 0);
    write32(QUEUE_DESC, 0x100000);
    write16(QUEUE_ENABLE, 1);
    expect("COM-14");
}

static void test_referee_com_14_reset_forgets_queues(void **state)
{
    bring_up();
    bring_up();
    expect_none();
}

/* ---- COM-19, COM-17, COM-10, COM-18 ---- */

static void test_referee_com_19_driver_before_acknowledge(void **state)
{
    write8(STATUS, 0x02);
    expect("COM-19");
}

static void test_referee_com_19_acknowledge_and_driver_at_once(void **state)
{
    write8(STATUS, 0x03);
    expect("COM-19");
}

static void test_referee_com_19_features_ok_before_driver(void **state)
{
    write8(STATUS, 0x01);
    write8(STATUS, 0x09);
    expect("COM-19");
}

static void test_referee_com_19_bits_cleared(void **state)
{
    begin();
    write8(STATUS, 0x01);
    expect("COM-19");
}

static void test_referee_com_19_failed_is_allowed_at_any_time(void **state)
{
    begin();
    write8(STATUS, 0x83);
    expect_none();
}

static void test_referee_com_19_failed_after_refused_features_is_allowed(void **state)
{
    begin();
    write8(STATUS, 0x0B); /* VERSION_1 left out: the device clears FEATURES_OK (COM-9) */
    assert_int_equal(read8(STATUS), 0x03);
    write8(STATUS, 0x83);
    expect_none();
}

static void test_referee_com_19_features_written_after_features_ok(void **state)
{
    negotiate();
    write32(DRIVER_FEATURE, 1);
    expect("COM-19");
}

static void test_referee_com_17_undefined_bits(void **state)
{
    begin();
    write8(STATUS, 0x13);
    expect("COM-17");
}

static void test_referee_com_10_driver_ok_without_reading_back(void **state)
{
    begin();
    write_features();
    write8(STATUS, 0x0B);
    write8(STATUS, 0x0F);
    expect("COM-10");
}

static void test_referee_com_10_driver_ok_after_refused_features(void **state)
{
    begin();
    write8(STATUS, 0x0B);
    assert_int_equal(read8(STATUS), 0x03);
    write8(STATUS, 0x07);
    expect("COM-10");
}

static void test_referee_com_18_status_before_reset_reads_back(void **state)
{
    write8(STATUS, 0);
    write8(STATUS, 0x01);
    expect("COM-18");
}

/* ---- Doorbells ---- */

static void test_referee_ntf_2_doorbell_of_another_width_place_or_value(void **state)
{
    bring_up();
    write32(NOTIFY, 0);
    expect("NTF-2");
    write16(NOTIFY + 2, 0);
    expect("NTF-2");
    write16(NOTIFY + 4, 0);
    expect("NTF-2");
}

static void test_referee_ntf_4_doorbell_beyond_the_window(void **state)
{
    bring_up();
    write16(NOTIFY + 0x100, 64);
    expect("NTF-4");
}

static void test_referee_doorbell_before_driver_ok(void **state)
{
    negotiate();
    set_up_queue();
    write16(NOTIFY, 0);
    expect("COM-19");
}

static void test_referee_doorbell_of_a_queue_not_enabled(void **state)
{
    bring_up();
    write16(NOTIFY + 4, 1);
    expect("COM-19");
}

/* ---- Widths ---- */

static void test_referee_bar_6_common_field_of_another_width(void **state)
{
    (void)read32(QUEUE_SIZE); /* two fields at once */
    expect("BAR-6");
    (void)read8(QUEUE_SIZE);
    expect("BAR-6");
    (void)read16(STATUS);
    expect("BAR-6");
    write16(DRIVER_FEATURE, 0);
    expect("BAR-6");
}

static void test_referee_bar_6_isr_of_another_width(void **state)
{
    (void)read32(ISR);
    expect("BAR-6");
}

static void test_referee_com_21_device_config_unaligned(void **state)
{
    (void)read32(CONFIG);
    (void)read16(CONFIG + 2);
    (void)read8(CONFIG + 3);
    expect_none();
    (void)read32(CONFIG + 2);
    expect("COM-21");
    (void)read16(CONFIG + 1);
    expect("COM-21");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_referee_whole_bring_up_has_no_breach),
        cmocka_unit_test_setup_teardown(test_referee_off_says_nothing, set_up_without, tear_down),
        TEST(test_referee_com_3_selector_with_another_cpu_about),
        TEST(test_referee_com_14_address_of_another_width),
        TEST(test_referee_com_14_address_after_enable),
        TEST(test_referee_com_14_enable_before_all_halves),
        TEST(test_referee_com_14_reset_forgets_queues),
        TEST(test_referee_com_19_driver_before_acknowledge),
        TEST(test_referee_com_19_acknowledge_and_driver_at_once),
        TEST(test_referee_com_19_features_ok_before_driver),
        TEST(test_referee_com_19_bits_cleared),
        TEST(test_referee_com_19_failed_is_allowed_at_any_time),
        TEST(test_referee_com_19_failed_after_refused_features_is_allowed),
        TEST(test_referee_com_19_features_written_after_features_ok),
        TEST(test_referee_com_17_undefined_bits),
        TEST(test_referee_com_10_driver_ok_without_reading_back),
        TEST(test_referee_com_10_driver_ok_after_refused_features),
        TEST(test_referee_com_18_status_before_reset_reads_back),
        TEST(test_referee_ntf_2_doorbell_of_another_width_place_or_value),
        TEST(test_referee_ntf_4_doorbell_beyond_the_window),
        TEST(test_referee_doorbell_before_driver_ok),
        TEST(test_referee_doorbell_of_a_queue_not_enabled),
        TEST(test_referee_bar_6_common_field_of_another_width),
        TEST(test_referee_bar_6_isr_of_another_width),
        TEST(test_referee_com_21_device_config_unaligned),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

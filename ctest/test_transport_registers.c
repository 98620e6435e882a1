/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The transport over a bank of registers that lies as no device of the simulator does: each register that
 * can't be right is refused by name, the accesses are the ones that the contract wants, in its order, and
 * outputs are cleared.
 */
#include "test_program.h"
#include "test_transport_bank.h"

#define ACKNOWLEDGE VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER      VIRTIO_STATUS_DRIVER
#define FEATURES_OK VIRTIO_STATUS_FEATURES_OK
#define FAILED      VIRTIO_STATUS_FAILED

#define INDIRECT  VIRTIO_F_RING_INDIRECT_DESC
#define VERSION_1 VIRTIO_F_VERSION_1

#define DESC  0x123456780ull
#define AVAIL 0x223456782ull
#define USED  0x323456784ull

static struct aero_nt *nt;
static AERO_VIRTIO_PCI_MODERN_DEVICE device;

static int open_bank(void **state)
{
    struct aero_nt_options options = aero_nt_options_default();

    options.clock = AERO_NT_CLOCK_VIRTUAL;
    if (aero_nt_create(&options, &nt) != AERO_SIM_OK || !aero_nt_cpu_enter(nt, 0))
        return -1;
    bank_open();
    return AeroVirtioPciModernInitFromBar0(&device, bank.bar, sizeof bank.bar) == STATUS_SUCCESS ? 0 : -1;
}

static int close_bank(void **state)
{
    aero_nt_cpu_leave(nt);
    return aero_nt_destroy(nt) == 0 ? 0 : -1;
}

static void clear_log(void)
{
    bank.log[0] = 0;
}

/* ---- Reset ---- */

static void com_18_reset_waits_until_the_status_reads_0(void **state)
{
    bank.status = 0x0F;
    bank.reset_reads = 5;
    assert_int_equal(AeroVirtioResetDevice(&device), STATUS_SUCCESS);
    assert_string_equal(bank.log, "w14=0 r14 r14 r14 r14 r14 ");
    assert_int_equal(aero_nt_waited_ns(nt), (1 + 2 + 4 + 8) * 1000000u);
}

static void com_18_reset_at_once_waits_for_nothing(void **state)
{
    bank.status = 0x0F;
    assert_int_equal(AeroVirtioResetDevice(&device), STATUS_SUCCESS);
    assert_string_equal(bank.log, "w14=0 r14 ");
    assert_int_equal(aero_nt_waited_ns(nt), 0);
}

/* The budget is used to the end, and the last wait is followed by a look. */
static void com_18_reset_that_shows_at_the_last_look_succeeds(void **state)
{
    uint32_t looks;

    bank.status = 0x0F;
    bank.reset_stuck = true;
    assert_int_equal(AeroVirtioResetDevice(&device), STATUS_IO_TIMEOUT);
    looks = bank.accesses - 1;
    bank.reset_stuck = false;
    bank.reset_reads = looks;
    assert_int_equal(AeroVirtioResetDevice(&device), STATUS_SUCCESS);
    bank.status = 0x0F;
    bank.reset_reads = looks + 1;
    assert_int_equal(AeroVirtioResetDevice(&device), STATUS_IO_TIMEOUT);
}

static void com_18_reset_stuck_at_any_value_times_out(void **state)
{
    static const uint8_t values[] = {0x01, 0x0F, 0x40, 0x80, 0xFF};

    for (size_t i = 0; i < sizeof values; i++) {
        bank.status = values[i];
        bank.reset_stuck = true;
        assert_int_equal(AeroVirtioResetDevice(&device), STATUS_IO_TIMEOUT);
    }
}

static void test_negotiation_on_a_device_that_does_not_reset_stops_there(void **state)
{
    ULONGLONG negotiated = 77;

    bank.status = 0x0F;
    bank.reset_stuck = true;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0, 0, &negotiated), STATUS_IO_TIMEOUT);
    assert_int_equal(negotiated, 0);
    assert_int_equal(bank.status, 0x0F); /* neither ACKNOWLEDGE nor FAILED was written */
}

/* ---- Negotiation ---- */

static void com_19_negotiation_makes_exactly_these_accesses(void **state)
{
    ULONGLONG negotiated;

    bank.status = 0x8F;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0x20, INDIRECT | 0x10000 | 0x2, &negotiated),
                     STATUS_SUCCESS);
    assert_string_equal(bank.log, "w14=0 r14 w14=1 r14 w14=3 r14 "
                                  "w00=0 r00 r04 w00=1 r00 r04 "
                                  "w08=0 r08 w0c=10010020 w08=1 r08 w0c=1 "
                                  "w14=b r14 ");
    assert_true(negotiated == (VERSION_1 | INDIRECT | 0x10020));
    assert_true(bank.accepted == negotiated);
}

static void com_7_negotiation_of_nothing_still_takes_version_1_and_writes_both_halves(void **state)
{
    ULONGLONG negotiated;

    bank.accepted = UINT64_MAX;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0, 0, &negotiated), STATUS_SUCCESS);
    assert_true(negotiated == VERSION_1);
    assert_true(bank.accepted == VERSION_1);
    assert_non_null(strstr(bank.log, "w0c=0 "));
}

static void expect_refused(ULONGLONG required, ULONGLONG wanted, NTSTATUS status, uint8_t left)
{
    ULONGLONG negotiated = 77;

    assert_int_equal(AeroVirtioNegotiateFeatures(&device, required, wanted, &negotiated), status);
    assert_int_equal(negotiated, 0);
    assert_int_equal(bank.status, left);
}

static void com_7_version_1_missing_fails_the_device(void **state)
{
    bank.offered &= ~VERSION_1;
    expect_refused(0, 0, STATUS_NOT_SUPPORTED, ACKNOWLEDGE | DRIVER | FAILED);
    assert_true(bank.accepted == 0);
}

static void test_required_bit_not_offered_fails_the_device(void **state)
{
    bank.offered &= ~INDIRECT; /* quirk 34 */
    expect_refused(INDIRECT, 0, STATUS_NOT_SUPPORTED, ACKNOWLEDGE | DRIVER | FAILED);
}

static void test_wanted_bit_not_offered_is_left_out(void **state)
{
    ULONGLONG negotiated;

    bank.offered &= ~INDIRECT;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0, INDIRECT, &negotiated), STATUS_SUCCESS);
    assert_true(negotiated == VERSION_1);
}

static void com_10_features_ok_that_does_not_stick_fails_the_device(void **state)
{
    bank.refuse_features = true;
    expect_refused(0, INDIRECT, STATUS_NOT_SUPPORTED, ACKNOWLEDGE | DRIVER | FAILED);
    assert_null(strstr(bank.log, "w16")); /* no queue was touched */
}

/* Quirk 35. */
static void test_forbidden_ring_features_offered_and_wanted_are_not_taken(void **state)
{
    ULONGLONG negotiated;

    bank.offered = UINT64_MAX;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0, UINT64_MAX, &negotiated), STATUS_SUCCESS);
    assert_true(negotiated == (VERSION_1 | INDIRECT | 0xFFFFFF));
    assert_true(bank.accepted == negotiated);
}

static void test_forbidden_ring_features_required_are_refused_untouched(void **state)
{
    static const int bits[] = {24, 27, 29, 33, 34, 35, 38, 40, 41, 50, 63};

    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        expect_refused((ULONGLONG)1 << bits[i], 0, STATUS_INVALID_PARAMETER, 0);
    assert_int_equal(bank.accesses, 0);
}

static void com_20_needs_reset_on_the_way_is_not_ready(void **state)
{
    static const uint8_t steps[] = {ACKNOWLEDGE, DRIVER, FEATURES_OK};
    uint8_t reached = 0;

    for (size_t i = 0; i < sizeof steps; i++) {
        reached |= steps[i];
        bank.needs_reset_with = steps[i];
        expect_refused(0, 0, STATUS_DEVICE_NOT_READY, reached | FAILED | VIRTIO_STATUS_DEVICE_NEEDS_RESET);
        assert_non_null(strstr(bank.log, "w14=8")); /* FAILED, on top of what there was, ... */
        assert_null(strstr(bank.log, "w14=c"));     /* ... without the device's own bit (quirk 54) */
        assert_null(strstr(bank.log, "w14=4"));
        clear_log();
    }
}

static void test_status_bit_that_does_not_stick_is_an_error(void **state)
{
    bank_lie_times(BANK_STATUS, ACKNOWLEDGE, 2, 1); /* after DRIVER */
    expect_refused(0, 0, STATUS_IO_DEVICE_ERROR, ACKNOWLEDGE | DRIVER | FAILED);
}

static void test_feature_selector_that_does_not_hold_is_an_error(void **state)
{
    static const uint32_t selectors[] = {BANK_DEVICE_FEATURE_SELECT, BANK_DRIVER_FEATURE_SELECT};

    for (size_t i = 0; i < 2; i++) {
        bank_open();
        bank_lie(selectors[i], 0);
        expect_refused(0, 0, STATUS_IO_DEVICE_ERROR, ACKNOWLEDGE | DRIVER | FAILED);
    }
    bank_open();
    bank_lie(BANK_DEVICE_FEATURE_SELECT, 2);
    assert_true(AeroVirtioReadDeviceFeatures(&device) == 0);
}

/* A device that is there may offer all of a half. */
static void test_features_of_32_ones_on_a_living_device_are_features(void **state)
{
    bank.offered = VERSION_1 | 0xFFFFFFFFu;
    assert_true(AeroVirtioReadDeviceFeatures(&device) == bank.offered);
}

static void test_features_of_a_device_that_goes_meanwhile_are_none(void **state)
{
    for (uint32_t at = 1; at <= 6; at++) {
        bank_open();
        bank.gone_at = at;
        assert_true(AeroVirtioReadDeviceFeatures(&device) == 0);
    }
    bank.gone_at = 0;
    assert_true(AeroVirtioReadDeviceFeatures(&device) == bank.offered);
}

static void test_posted_selectors_are_flushed_before_use(void **state)
{
    ULONGLONG negotiated;
    USHORT size, notify_off;

    bank.posted_selectors = true;
    assert_int_equal(AeroVirtioNegotiateFeatures(&device, 0, INDIRECT, &negotiated), STATUS_SUCCESS);
    assert_true(bank.accepted == (VERSION_1 | INDIRECT));
    assert_int_equal(AeroVirtioQueryQueue(&device, 1, &size, &notify_off), STATUS_SUCCESS);
    assert_int_equal(size, 64);
    assert_int_equal(AeroVirtioSetupQueue(&device, 1, DESC, AVAIL, USED), STATUS_SUCCESS);
    assert_true(bank.enable[1] && !bank.enable[0]);
}

/* ---- Status ---- */

static void com_17_add_status_keeps_bits_and_leaves_the_devices_own_out(void **state)
{
    bank.status = 0x4B;
    AeroVirtioAddStatus(&device, VIRTIO_STATUS_DRIVER_OK);
    assert_string_equal(bank.log, "r14 w14=f ");
    clear_log();
    AeroVirtioAddStatus(&device, 0xFF);
    assert_string_equal(bank.log, "r14 w14=bf ");
    clear_log();
    bank.status = 0x03;
    AeroVirtioFailDevice(&device);
    assert_string_equal(bank.log, "r14 w14=83 ");
}

static void com_17_add_status_to_all_ones_writes_nothing(void **state)
{
    bank.status = 0xFF;
    AeroVirtioAddStatus(&device, VIRTIO_STATUS_DRIVER_OK);
    AeroVirtioFailDevice(&device);
    assert_string_equal(bank.log, "r14 r14 ");
}

/* ---- Queues ---- */

static void expect_query(USHORT queue, NTSTATUS status)
{
    USHORT size = 77, notify_off = 77;

    assert_int_equal(AeroVirtioQueryQueue(&device, queue, &size, &notify_off), status);
    assert_int_equal(size, 0);
    assert_int_equal(notify_off, 0);
    assert_int_equal(AeroVirtioSetupQueue(&device, queue, DESC, AVAIL, USED),
                     status == STATUS_NOT_SUPPORTED ? STATUS_INVALID_PARAMETER : status);
    assert_null(strstr(bank.log, "w20"));
    assert_null(strstr(bank.log, "w1c"));
}

static void com_12_queue_past_the_last_is_not_found(void **state)
{
    expect_query(3, STATUS_NOT_FOUND);
    expect_query(64, STATUS_NOT_FOUND);
    expect_query(0xFFFF, STATUS_NOT_FOUND);
    bank.num_queues = 0;
    expect_query(0, STATUS_NOT_FOUND);
}

static void com_12_queue_of_size_0_is_not_found(void **state)
{
    bank.size[1] = 0;
    expect_query(1, STATUS_NOT_FOUND);
}

static void test_queue_size_no_power_of_two_is_an_error(void **state)
{
    static const uint16_t sizes[] = {3, 100, 0x8001, 0xFFFF, 0xC000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bank.size[0] = sizes[i];
        expect_query(0, STATUS_IO_DEVICE_ERROR);
    }
}

static void test_queue_sizes_from_1_to_32768_are_taken(void **state)
{
    USHORT size, notify_off;

    for (uint32_t want = 1; want <= 32768; want *= 2) {
        bank.size[0] = (uint16_t)want;
        assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
        assert_int_equal(size, want);
        assert_int_equal(AeroVirtioSetupQueue(&device, 0, DESC, AVAIL, USED), STATUS_SUCCESS);
    }
}

static void ntf_1_notify_off_other_than_the_index_is_not_supported(void **state)
{
    static const uint16_t offs[] = {0, 2, 63, 64, 0x4000, 0xFFFF};

    for (size_t i = 0; i < sizeof offs / sizeof offs[0]; i++) {
        bank.notify_off[1] = offs[i];
        expect_query(1, STATUS_NOT_SUPPORTED);
    }
}

static void ntf_4_queue_whose_doorbell_lies_behind_the_window_is_not_supported(void **state)
{
    bank.num_queues = 100;
    bank_lie(BANK_QUEUE_SIZE, 8);
    bank_lie(BANK_QUEUE_NOTIFY_OFF, 64);
    expect_query(64, STATUS_NOT_SUPPORTED);
}

static void test_queue_selector_that_does_not_hold_is_an_error(void **state)
{
    bank_lie(BANK_QUEUE_SELECT, 0);
    expect_query(1, STATUS_IO_DEVICE_ERROR);
}

static void com_14_set_up_makes_exactly_these_accesses(void **state)
{
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioQueryQueue(&device, 1, &size, &notify_off), STATUS_SUCCESS);
    assert_string_equal(bank.log, "r12 w16=1 r16 r18 r1e ");
    clear_log();
    assert_int_equal(AeroVirtioSetupQueue(&device, 1, DESC, AVAIL, USED), STATUS_SUCCESS);
    assert_string_equal(bank.log, "r12 w16=1 r16 r18 "
                                  "w20=23456780 w24=1 r20 r24 "
                                  "w28=23456782 w2c=2 r28 r2c "
                                  "w30=23456784 w34=3 r30 r34 "
                                  "w1c=1 r1c ");
    assert_true(bank.locked_always); /* COM-3 */
}

/* Quirks 37 and 44: halves and an enable bit that survived a reset. */
static void com_14_set_up_over_leftovers_writes_every_half(void **state)
{
    USHORT size, notify_off;

    memset(bank.address, 0xFF, sizeof bank.address);
    bank.enable[0] = 1;
    assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioSetupQueue(&device, 0, 0x1000, 0x2000, 0x3000), STATUS_SUCCESS);
    assert_memory_equal(bank.address[0], ((uint32_t[]){0x1000, 0, 0x2000, 0, 0x3000, 0}),
                        sizeof bank.address[0]);
}

static void expect_set_up(ULONGLONG desc, ULONGLONG avail, ULONGLONG used, NTSTATUS status)
{
    clear_log();
    bank.enable[0] = 0;
    assert_int_equal(AeroVirtioSetupQueue(&device, 0, desc, avail, used), status);
}

static void rng_3_set_up_at_misaligned_or_zero_addresses_is_refused_untouched(void **state)
{
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
    expect_set_up(0, AVAIL, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, 0, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, AVAIL, 0, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC + 8, AVAIL, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC + 1, AVAIL, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, AVAIL + 1, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, AVAIL, USED + 2, STATUS_INVALID_PARAMETER);
    expect_set_up(0xFFFFFFFFFFFFF010u, AVAIL, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, 0xFFFFFFFFFFFFFDFEu, USED, STATUS_INVALID_PARAMETER);
    expect_set_up(DESC, AVAIL, 0xFFFFFFFFFFFFF800u, STATUS_INVALID_PARAMETER);
    assert_null(strstr(bank.log, "w20"));
    assert_false(bank.enable[0]);
    /* And at the very end of the address space, where each just fits. */
    expect_set_up(0xFFFFFFFFFFFFF000u, 0xFFFFFFFFFFFFFDFCu, 0xFFFFFFFFFFFFF7FCu, STATUS_SUCCESS);
}

static void test_set_up_of_a_queue_never_queried_is_refused(void **state)
{
    expect_set_up(DESC, AVAIL, USED, STATUS_INVALID_PARAMETER);
    assert_null(strstr(bank.log, "w20"));
}

/* Quirk 38. */
static void test_set_up_after_the_size_changed_is_refused(void **state)
{
    USHORT size, notify_off;

    assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
    bank.size[0] = 512;
    expect_set_up(DESC, AVAIL, USED, STATUS_IO_DEVICE_ERROR);
    assert_null(strstr(bank.log, "w20"));
    assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
    expect_set_up(DESC, AVAIL, USED, STATUS_SUCCESS);
}

static void test_set_up_whose_addresses_do_not_read_back_is_an_error(void **state)
{
    USHORT size, notify_off;

    for (uint32_t offset = BANK_ADDRESSES; offset < BANK_ADDRESSES_END; offset += 4) {
        bank_open();
        assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
        bank_lie(offset, 0);
        expect_set_up(DESC, AVAIL, USED, STATUS_IO_DEVICE_ERROR);
        assert_null(strstr(bank.log, "w1c"));
    }
}

static void com_13_set_up_whose_enable_reads_other_than_1_is_an_error(void **state)
{
    static const uint16_t values[] = {0, 2, 3, 0xFFFF};
    USHORT size, notify_off;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        bank_open();
        assert_int_equal(AeroVirtioQueryQueue(&device, 0, &size, &notify_off), STATUS_SUCCESS);
        bank_lie(BANK_QUEUE_ENABLE, values[i]);
        expect_set_up(DESC, AVAIL, USED, STATUS_IO_DEVICE_ERROR);
    }
}

/* ---- Doorbells, ISR ---- */

static void ntf_2_notify_writes_the_index_once_at_four_times_the_offset(void **state)
{
    assert_int_equal(AeroVirtioNotifyQueue(&device, 5, 7), STATUS_SUCCESS);
    assert_string_equal(bank.log, "w101c=5 ");
    clear_log();
    assert_int_equal(AeroVirtioNotifyQueue(&device, 63, 63), STATUS_SUCCESS);
    assert_string_equal(bank.log, "w10fc=3f ");
}

static void ntf_4_notify_outside_the_window_is_refused(void **state)
{
    static const USHORT offs[] = {64, 65, 0x4000, 0xFFFF};

    for (size_t i = 0; i < sizeof offs / sizeof offs[0]; i++)
        assert_int_equal(AeroVirtioNotifyQueue(&device, 0, offs[i]), STATUS_INVALID_PARAMETER);
    assert_int_equal(bank.accesses, 0);
}

static void int_1_isr_is_answered_raw_but_all_ones_as_0(void **state)
{
    for (uint32_t value = 0; value < 256; value++) {
        bank.isr = (uint8_t)value;
        assert_int_equal(AeroVirtioReadIsr(&device), value == 0xFF ? 0 : value);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_bank, close_bank)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(com_18_reset_waits_until_the_status_reads_0),
        TEST(com_18_reset_at_once_waits_for_nothing),
        TEST(com_18_reset_that_shows_at_the_last_look_succeeds),
        TEST(com_18_reset_stuck_at_any_value_times_out),
        TEST(test_negotiation_on_a_device_that_does_not_reset_stops_there),
        TEST(com_19_negotiation_makes_exactly_these_accesses),
        TEST(com_7_negotiation_of_nothing_still_takes_version_1_and_writes_both_halves),
        TEST(com_7_version_1_missing_fails_the_device),
        TEST(test_required_bit_not_offered_fails_the_device),
        TEST(test_wanted_bit_not_offered_is_left_out),
        TEST(com_10_features_ok_that_does_not_stick_fails_the_device),
        TEST(test_forbidden_ring_features_offered_and_wanted_are_not_taken),
        TEST(test_forbidden_ring_features_required_are_refused_untouched),
        TEST(com_20_needs_reset_on_the_way_is_not_ready),
        TEST(test_status_bit_that_does_not_stick_is_an_error),
        TEST(test_feature_selector_that_does_not_hold_is_an_error),
        TEST(test_features_of_32_ones_on_a_living_device_are_features),
        TEST(test_features_of_a_device_that_goes_meanwhile_are_none),
        TEST(test_posted_selectors_are_flushed_before_use),
        TEST(com_17_add_status_keeps_bits_and_leaves_the_devices_own_out),
        TEST(com_17_add_status_to_all_ones_writes_nothing),
        TEST(com_12_queue_past_the_last_is_not_found),
        TEST(com_12_queue_of_size_0_is_not_found),
        TEST(test_queue_size_no_power_of_two_is_an_error),
        TEST(test_queue_sizes_from_1_to_32768_are_taken),
        TEST(ntf_1_notify_off_other_than_the_index_is_not_supported),
        TEST(ntf_4_queue_whose_doorbell_lies_behind_the_window_is_not_supported),
        TEST(test_queue_selector_that_does_not_hold_is_an_error),
        TEST(com_14_set_up_makes_exactly_these_accesses),
        TEST(com_14_set_up_over_leftovers_writes_every_half),
        TEST(rng_3_set_up_at_misaligned_or_zero_addresses_is_refused_untouched),
        TEST(test_set_up_of_a_queue_never_queried_is_refused),
        TEST(test_set_up_after_the_size_changed_is_refused),
        TEST(test_set_up_whose_addresses_do_not_read_back_is_an_error),
        TEST(com_13_set_up_whose_enable_reads_other_than_1_is_an_error),
        TEST(ntf_2_notify_writes_the_index_once_at_four_times_the_offset),
        TEST(ntf_4_notify_outside_the_window_is_refused),
        TEST(int_1_isr_is_answered_raw_but_all_ones_as_0),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("transport_registers", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Device configuration by the transport, over a bank of registers that changes under it: widths, bounds,
 * generations that move, and a device that goes away at any of the accesses.
 */
#include "test_program.h"
#include "test_transport_bank.h"

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

/* Reads, and expects the bytes of the bank by these accesses. */
static void expect_read(ULONG offset, ULONG length, const char *accesses)
{
    uint8_t buffer[258];

    memset(buffer, 0xEE, sizeof buffer);
    bank.log[0] = 0;
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, offset, buffer + 1, length), STATUS_SUCCESS);
    assert_memory_equal(buffer + 1, bank.config + offset, length);
    assert_int_equal(buffer[0], 0xEE);
    assert_int_equal(buffer[length + 1], 0xEE);
    if (accesses)
        assert_string_equal(bank.log, accesses);
}

static void com_21_fields_are_read_by_their_own_width(void **state)
{
    expect_read(0, 1, "r15 r3000 r15 ");
    expect_read(6, 2, "r15 r3006 r15 ");
    expect_read(7, 2, "r15 r3007 r3008 r15 ");
    expect_read(4, 4, "r15 r3004 r15 ");
    expect_read(6, 4, "r15 r3006 r3007 r3008 r3009 r15 ");
    expect_read(8, 8, "r15 r3008 r300c r15 ");
    expect_read(4, 8, "r15 r3004 r3008 r15 ");
    expect_read(0, 6, "r15 r3000 r3001 r3002 r3003 r3004 r3005 r15 ");
    expect_read(252, 4, "r15 r30fc r15 ");
    expect_read(255, 1, "r15 r30ff r15 ");
    expect_read(0, 256, NULL);
    assert_true(bank.locked_always);
}

static void com_21_fields_are_written_by_their_own_width(void **state)
{
    static const uint8_t bytes[] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};

    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 1, bytes, 1), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 2, bytes, 2), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 5, bytes, 2), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 8, bytes, 4), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 16, bytes, 8), STATUS_SUCCESS);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 253, bytes, 3), STATUS_SUCCESS);
    assert_string_equal(bank.log, "w3001=11 r14 w3002=2211 r14 w3005=11 w3006=22 r14 w3008=44332211 r14 "
                                  "w3010=44332211 w3014=88776655 r14 w30fd=11 w30fe=22 w30ff=33 r14 ");
    assert_true(bank.locked_always);
}

static void test_config_outside_the_window_is_refused_untouched(void **state)
{
    static const struct {
        ULONG offset, length;
    } bad[] = {{0, 0},   {255, 2},         {256, 1},         {253, 4},
               {1, 256}, {0xFFFFFFFFu, 1}, {0xFFFFFFFFu, 2}, {0xFFFFFFF0u, 0x20}};
    uint8_t buffer[512], zeros[256] = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(buffer, 0xEE, sizeof buffer);
        assert_int_equal(AeroVirtioReadDeviceConfig(&device, bad[i].offset, buffer, bad[i].length),
                         STATUS_INVALID_PARAMETER);
        assert_memory_equal(buffer, zeros, bad[i].length);
        assert_int_equal(buffer[bad[i].length], 0xEE);
        assert_int_equal(AeroVirtioWriteDeviceConfig(&device, bad[i].offset, buffer, bad[i].length),
                         STATUS_INVALID_PARAMETER);
    }
    /* Longer than there is: no buffer has that length, so none is cleared. */
    buffer[0] = 0xEE;
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, buffer, 257), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 8, buffer, 0xFFFFFFFFu), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 8, buffer, 0xFFFFFFFFu), STATUS_INVALID_PARAMETER);
    assert_int_equal(buffer[0], 0xEE);
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, NULL, 4), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 0, NULL, 4), STATUS_INVALID_PARAMETER);
    assert_int_equal(bank.accesses, 0);
}

/* The bank changes a byte with each new generation: what comes back is of the last one. */
static void com_16_read_under_a_new_generation_is_tried_again(void **state)
{
    uint8_t byte;

    for (uint32_t changes = 1; changes <= 10; changes++) {
        bank_open();
        bank.generations = changes;
        bank.change = &bank.config[0];
        assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, &byte, 1), STATUS_SUCCESS);
        assert_int_equal(byte, 1 + changes);
    }
}

static void com_16_generation_that_never_settles_times_out_with_a_cleared_buffer(void **state)
{
    uint8_t buffer[8], zeros[8] = {0};

    bank.generations = UINT32_MAX;
    memset(buffer, 0xEE, sizeof buffer);
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, buffer, sizeof buffer), STATUS_IO_TIMEOUT);
    assert_memory_equal(buffer, zeros, sizeof buffer);
    assert_int_equal(bank.accesses, 1 + 10 * 3); /* bounded */
    bank_open();
    bank.generations = 11;
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, buffer, 1), STATUS_IO_TIMEOUT);
}

static void com_15_generation_of_255_is_a_generation(void **state)
{
    uint32_t value = 0;

    bank.generation = 0xFF;
    assert_int_equal(AeroVirtioReadDeviceConfig(&device, 0, &value, 4), STATUS_SUCCESS);
    assert_int_equal(value, 0x04030201);
}

/* All ones are a value as well. */
static void test_config_of_all_ones_on_a_living_device_is_read(void **state)
{
    memset(bank.config, 0xFF, sizeof bank.config);
    bank.generation = 0xFF;
    expect_read(0, 8, NULL);
}

static void test_config_of_a_device_that_goes_at_any_access_is_not_connected_or_whole(void **state)
{
    uint8_t buffer[8], zeros[8] = {0};
    NTSTATUS status;

    for (uint32_t at = 1;; at++) {
        bank_open();
        bank.gone_at = at;
        memset(buffer, 0xEE, sizeof buffer);
        status = AeroVirtioReadDeviceConfig(&device, 0, buffer, sizeof buffer);
        if (status == STATUS_SUCCESS)
            break;
        assert_int_equal(status, STATUS_DEVICE_NOT_CONNECTED);
        assert_memory_equal(buffer, zeros, sizeof buffer);
        assert_in_range(at, 1, 4); /* generation, low, high, generation */
    }
    assert_memory_equal(buffer, bank.config, sizeof buffer);
    for (uint32_t at = 1; at <= 3; at++) {
        bank_open();
        bank.gone_at = at;
        assert_int_equal(AeroVirtioWriteDeviceConfig(&device, 0, buffer, sizeof buffer),
                         STATUS_DEVICE_NOT_CONNECTED);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_bank, close_bank)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(com_21_fields_are_read_by_their_own_width),
        TEST(com_21_fields_are_written_by_their_own_width),
        TEST(test_config_outside_the_window_is_refused_untouched),
        TEST(com_16_read_under_a_new_generation_is_tried_again),
        TEST(com_16_generation_that_never_settles_times_out_with_a_cleared_buffer),
        TEST(com_15_generation_of_255_is_a_generation),
        TEST(test_config_of_all_ones_on_a_living_device_is_read),
        TEST(test_config_of_a_device_that_goes_at_any_access_is_not_connected_or_whole),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("transport_config", tests, NULL, NULL);
}

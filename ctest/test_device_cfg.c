/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Device configuration and its generation (COM-15, COM-16, COM-21, INT-6), with a model whose bytes the test
 * sets. The race between a changing device and a reading driver runs on a worker, all else without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

#define CONFIG_BYTES 46u /* no multiple of 4: a word straddles its end */
#define GENERATION   0x15u

/* What the model is to do, and what it saw: the test's, as only one device runs at a time. */
static struct {
    struct aero_sim_device *device;
    uint32_t offset, length;
    uint8_t bytes[300];
    uint32_t writes, write_offset, write_width, write_value;
    bool answer_writes;
    _Atomic uint32_t changes_left;
    uint32_t stamp;
} model_state;

static enum aero_sim_status open_model(void *state, struct aero_sim_device *device,
                                       const struct aero_sim_backend *backend, char *error,
                                       size_t error_bytes)
{
    uint8_t bytes[CONFIG_BYTES];

    for (uint8_t i = 0; i < CONFIG_BYTES; i++)
        bytes[i] = (uint8_t)(0x11 * i + 5);
    model_state.device = device;
    aero_sim_config_set(device, 0, bytes, sizeof bytes);
    return AERO_SIM_OK;
}

static void set_what_was_asked(void *state)
{
    aero_sim_config_set(model_state.device, model_state.offset, model_state.bytes, model_state.length);
}

static void on_config_write(void *state, uint32_t offset, uint32_t width, uint32_t value)
{
    uint8_t answer = (uint8_t)~value;

    model_state.writes++;
    model_state.write_offset = offset;
    model_state.write_width = width;
    model_state.write_value = value;
    if (model_state.answer_writes)
        aero_sim_config_set(model_state.device, offset + 1, &answer, 1);
}

static const struct aero_sim_queue_spec pulled[] = {{"q", 4, NULL}};
static const struct aero_sim_model configured = {.name = "configured",
                                                 .summary = "bytes to read",
                                                 .pci_device_id = 0x107F,
                                                 .config_bytes = CONFIG_BYTES,
                                                 .queue_count = 1,
                                                 .queues = pulled,
                                                 .open = open_model,
                                                 .event = set_what_was_asked,
                                                 .config_write = on_config_write};

static struct target *open_configured(bool live)
{
    struct target *target;

    memset(&model_state, 0, sizeof model_state);
    target = target_open(&(struct target_options){.model = &configured, .stepped = true});
    if (live) {
        target_negotiate(target, RING_DRIVER_ALL_FEATURES);
        target_ready(target);
    }
    target_settle(target);
    return target;
}

/* The model's event sets these bytes. */
static void change(struct target *target, uint32_t offset, uint32_t length, uint8_t seed)
{
    model_state.offset = offset;
    model_state.length = length;
    for (uint32_t i = 0; i < length; i++)
        model_state.bytes[i] = (uint8_t)(seed + i);
    aero_sim_device_wake(target->driver.device);
    target_settle(target);
    model_state.length = 0;
}

static void com_21_bytes_are_the_same_by_every_width(void **state)
{
    struct target *target = open_configured(false);

    for (uint32_t offset = 0; offset < 0x100; offset++) {
        uint64_t byte = offset < CONFIG_BYTES ? (uint8_t)(0x11 * offset + 5) : 0;

        assert_int_equal(target_read(target, 0x3000 + offset, 1), byte);
        assert_int_equal(target_read(target, 0x3000 + (offset & ~1u), 2) >> 8 * (offset & 1) & 0xFF, byte);
        assert_int_equal(target_read(target, 0x3000 + (offset & ~3u), 4) >> 8 * (offset & 3) & 0xFF, byte);
    }
    target_close(target);
}

static void com_21_widths_that_do_not_fit_read_zero(void **state)
{
    struct target *target = open_configured(false);

    assert_int_equal(target_read(target, 0x3000, 8), 0);
    assert_int_equal(target_read(target, 0x3001, 2), 0);
    assert_int_equal(target_read(target, 0x3002, 4), 0);
    assert_int_equal(target_read(target, 0x3000, 3), 0);
    target_close(target);
}

static void int_06_change_of_no_byte_is_none(void **state)
{
    struct target *target = open_configured(true);

    change(target, 0, 0, 0);
    assert_int_equal(target_read(target, GENERATION, 1), 0);
    target_expect_no_interrupt(target, 0);
    target_close(target);
}

static void com_15_generation_of_static_configuration_stays(void **state)
{
    struct target *target = open_configured(true);
    uint64_t generation = target_read(target, GENERATION, 1);

    for (uint32_t offset = 0; offset < 0x100; offset += 4)
        (void)target_read(target, 0x3000 + offset, 4);
    assert_int_equal(target_read(target, GENERATION, 1), generation);
    target_expect_no_interrupt(target, 0);
    target_close(target);
}

static void int_06_change_while_live_moves_generation_and_interrupts(void **state)
{
    struct target *target = open_configured(true);
    uint64_t generation = target_read(target, GENERATION, 1);

    change(target, 7, 6, 0x40);
    assert_int_not_equal(target_read(target, GENERATION, 1), generation);
    assert_int_equal(target->line, 1);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    assert_int_equal(target_read(target, 0x3004, 4),
                     0x40000000u | (0x11 * 6 + 5) << 16 | (0x11 * 5 + 5) << 8 | (0x11 * 4 + 5));
    assert_int_equal(target_read(target, 0x3008, 4), 0x44434241);
    assert_int_equal(target_read(target, 0x300C, 2), (uint8_t)(0x11 * 13 + 5) << 8 | 0x45);
    target_close(target);
}

static void com_15_change_before_driver_ok_moves_generation_in_silence(void **state)
{
    struct target *target = open_configured(false);
    uint64_t generation = target_read(target, GENERATION, 1);

    model_state.answer_writes = true;
    target_write(target, 0x3004, 1, 0x2B);
    assert_int_equal(target_read(target, 0x3005, 1), 0xD4);
    assert_int_not_equal(target_read(target, GENERATION, 1), generation);
    target_expect_no_interrupt(target, 0);
    target_close(target);
}

static void com_15_generation_moves_at_every_change_and_wraps(void **state)
{
    struct target *target = open_configured(true);
    uint64_t last = target_read(target, GENERATION, 1);

    for (uint32_t i = 0; i < 300; i++) {
        uint64_t now;

        change(target, 0, 1, (uint8_t)i);
        now = target_read(target, GENERATION, 1);
        assert_int_not_equal(now, last);
        assert_in_range(now, 0, 0xFF);
        last = now;
    }
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    target_close(target);
}

static void int_06_bytes_beyond_the_models_room_are_cut_off(void **state)
{
    struct target *target = open_configured(true);

    change(target, CONFIG_BYTES - 2, 200, 0x77);
    assert_int_equal(target_read(target, 0x3000 + CONFIG_BYTES - 2, 2), 0x7877);
    for (uint32_t offset = CONFIG_BYTES; offset < 0x100; offset += 2)
        assert_int_equal(target_read(target, 0x3000 + offset, 2), 0);
    change(target, CONFIG_BYTES, 1, 1);
    change(target, UINT32_MAX, 1, 1);
    assert_int_equal(target_read(target, 0x3000 + CONFIG_BYTES, 2), 0);
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    target_close(target);
}

static void test_device_cfg_write_reaches_the_model_as_it_was_made(void **state)
{
    static const struct {
        uint32_t offset, width;
    } legal[] = {
        {0, 1}, {0, 2}, {0, 4}, {3, 1}, {CONFIG_BYTES - 1, 1}, {CONFIG_BYTES - 2, 2}, {CONFIG_BYTES - 6, 4}};
    struct target *target = open_configured(true);

    for (uint32_t i = 0; i < sizeof legal / sizeof legal[0]; i++) {
        target_write(target, 0x3000 + legal[i].offset, legal[i].width, 0x8899AABBCCDDEEFF);
        assert_int_equal(model_state.writes, i + 1);
        assert_int_equal(model_state.write_offset, legal[i].offset);
        assert_int_equal(model_state.write_width, legal[i].width);
        assert_int_equal(model_state.write_value, 0xCCDDEEFF & UINT32_MAX >> (32 - 8 * legal[i].width));
    }
    target_close(target);
}

static void test_device_cfg_write_changes_no_byte_unless_the_model_does(void **state)
{
    struct target *target = open_configured(true);

    target_write(target, 0x3004, 1, 0x00);
    assert_int_equal(target_read(target, 0x3004, 2), (0x11 * 5 + 5) << 8 | (0x11 * 4 + 5));
    target_expect_no_interrupt(target, 0);
    model_state.answer_writes = true;
    target_write(target, 0x3004, 1, 0x2B);
    assert_int_equal(target_read(target, 0x3004, 2), 0xD4 << 8 | (0x11 * 4 + 5));
    assert_int_equal(target_read(target, RING_DRIVER_ISR, 1), 2);
    target_close(target);
}

static void test_device_cfg_write_that_does_not_fit_reaches_nobody(void **state)
{
    static const struct {
        uint32_t offset, width;
    } odd[] = {{0, 8},    {1, 2},     {2, 4}, {CONFIG_BYTES, 1}, {CONFIG_BYTES - 2, 4}, {0xFC, 4},
               {0xFF, 1}, {0x100, 1}, {0, 3}};
    struct target *target = open_configured(true);

    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        target_write(target, 0x3000 + odd[i].offset, odd[i].width, UINT64_MAX);
    assert_int_equal(model_state.writes, 0);
    target_close(target);
}

/* ---- A device that changes while the driver reads ---- */

#define CHANGES 20000u

static enum aero_sim_status open_at_zero(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    model_state.device = device;
    return AERO_SIM_OK;
}

/* Eight words, whose bytes are all the same number. */
static void set_all_alike(void *state)
{
    uint32_t left = atomic_load_explicit(&model_state.changes_left, memory_order_relaxed);
    uint8_t bytes[32];

    if (!left)
        return;
    memset(bytes, (uint8_t)++model_state.stamp, sizeof bytes);
    aero_sim_config_set(model_state.device, 0, bytes, sizeof bytes);
    atomic_store_explicit(&model_state.changes_left, left - 1, memory_order_relaxed);
    for (uint32_t i = 0; i < 10 * (left % 8); i++)
        sim_os_pause(); /* or no reader would ever find it at rest */
    aero_sim_device_wake(model_state.device);
}

/*
 * COM-16: generation, fields, generation. False: it changed meanwhile; even then no single word may be torn.
 */
static bool read_once(struct target *target, uint32_t words[8])
{
    uint64_t generation = target_read(target, GENERATION, 1);

    for (uint32_t i = 0; i < 8; i++) {
        words[i] = (uint32_t)target_read(target, 0x3000 + 4 * i, 4);
        assert_int_equal(words[i], (words[i] & 0xFF) * 0x01010101);
    }
    return target_read(target, GENERATION, 1) == generation;
}

static void com_16_reader_that_keeps_to_the_generation_sees_no_torn_value(void **state)
{
    static struct aero_sim_model changing;
    struct target *target;
    uint64_t end = target_deadline();
    uint32_t words[8];

    memset(&model_state, 0, sizeof model_state);
    changing = configured;
    changing.open = open_at_zero;
    changing.event = set_all_alike;
    target = target_open(&(struct target_options){.model = &changing, .spin_ns = 50000});
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    atomic_store(&model_state.changes_left, CHANGES);
    target_ready(target);
    while (atomic_load(&model_state.changes_left)) {
        assert_true(sim_os_now_ns() < end);
        if (!read_once(target, words))
            continue;
        for (uint32_t i = 1; i < 8; i++)
            assert_int_equal(words[i], words[0]);
    }
    target_settle(target);
    assert_true(read_once(target, words));
    assert_int_equal(words[7], (CHANGES & 0xFF) * 0x01010101);
    target_close(target);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(com_21_bytes_are_the_same_by_every_width),
        cmocka_unit_test(com_21_widths_that_do_not_fit_read_zero),
        cmocka_unit_test(int_06_change_of_no_byte_is_none),
        cmocka_unit_test(com_15_generation_of_static_configuration_stays),
        cmocka_unit_test(int_06_change_while_live_moves_generation_and_interrupts),
        cmocka_unit_test(com_15_change_before_driver_ok_moves_generation_in_silence),
        cmocka_unit_test(com_15_generation_moves_at_every_change_and_wraps),
        cmocka_unit_test(int_06_bytes_beyond_the_models_room_are_cut_off),
        cmocka_unit_test(test_device_cfg_write_reaches_the_model_as_it_was_made),
        cmocka_unit_test(test_device_cfg_write_changes_no_byte_unless_the_model_does),
        cmocka_unit_test(test_device_cfg_write_that_does_not_fit_reaches_nobody),
        cmocka_unit_test(com_16_reader_that_keeps_to_the_generation_sees_no_torn_value),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("device configuration", tests, NULL, NULL);
}

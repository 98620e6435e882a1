/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk, poked through aero_sim.h: what it says it is, which requests it takes and how they complete
 * (BLK-1, 2, 3, 5, 7). Everything once stepped and once with a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "blk_disk.h"
#include "temp_file.h"
#include "test_program.h"

/* ---- BLK-1, BLK-2, BLK-3: what the device says it is ---- */

static void blk_01_has_one_queue_of_128(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(ring_driver_read(&disk->driver, 0x12, 2), 1);
    ring_driver_write(&disk->driver, 0x16, 2, 0);
    assert_int_equal(ring_driver_read(&disk->driver, 0x18, 2), 128);
    ring_driver_write(&disk->driver, 0x16, 2, 1);
    assert_int_equal(ring_driver_read(&disk->driver, 0x18, 2), 0);
}

#define FEATURES (1ull << 32 | 1ull << 28 | 1ull << 2 | 1ull << 6 | 1ull << 9)

static void blk_02_offers_exactly_its_features(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(ring_driver_offered(&disk->driver), FEATURES);
}

static void blk_02_read_only_image_offers_no_ro(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, true), AERO_SIM_OK);
    blk_disk_power_on(disk);
    assert_int_equal(ring_driver_offered(&disk->driver), FEATURES);
}

static void blk_03_config_is_laid_out_byte_for_byte(void **state)
{
    struct blk_disk *disk = *state;
    uint8_t expected[256] = {0};

    expected[0x01] = BLK_SECTORS >> 8; /* capacity */
    expected[0x0C] = BLK_SEG_MAX;
    expected[0x15] = BLK_SECTOR >> 8; /* blk_size */
    for (uint32_t width = 1; width <= 4; width *= 2) {
        for (uint32_t offset = 0; offset < sizeof expected; offset += width) {
            uint32_t value = ring_driver_read(&disk->driver, RING_DRIVER_CONFIG + offset, width);

            assert_memory_equal(&value, expected + offset, width);
        }
    }
}

static void blk_03_config_writes_change_nothing(void **state)
{
    struct blk_disk *disk = *state;

    for (uint32_t offset = 0; offset < 0x18; offset += 4)
        ring_driver_write(&disk->driver, RING_DRIVER_CONFIG + offset, 4, 0xFFFFFFFF);
    blk_03_config_is_laid_out_byte_for_byte(state);
    assert_int_equal(blk_request(disk, BLK_IN, BLK_SECTORS, BLK_SECTOR), BLK_IOERR);
}

/* ---- BLK-5: types and directions ---- */

static void blk_05_in_reads_the_image(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_IN, 17, 8 * BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 17 * BLK_SECTOR, 8 * BLK_SECTOR);
    blk_expect_untouched(disk->data + 8 * BLK_SECTOR, 64);
    blk_expect_image_original(disk);
}

static void blk_05_out_writes_the_image_there_and_nowhere_else(void **state)
{
    struct blk_disk *disk = *state;
    uint8_t around[BLK_SECTOR];

    blk_fill(disk, 8 * BLK_SECTOR, 1);
    assert_int_equal(blk_request(disk, BLK_OUT, 17, 8 * BLK_SECTOR), BLK_OK);
    blk_expect_image(disk, 17 * BLK_SECTOR, disk->data, 8 * BLK_SECTOR);
    assert_true(temp_file_read(disk->path, 16 * BLK_SECTOR, around, BLK_SECTOR));
    blk_expect_original(around, 16 * BLK_SECTOR, BLK_SECTOR);
    assert_true(temp_file_read(disk->path, 25 * BLK_SECTOR, around, BLK_SECTOR));
    blk_expect_original(around, 25 * BLK_SECTOR, BLK_SECTOR);
}

static void blk_05_flush_needs_no_data_and_no_sector(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_FLUSH, UINT64_MAX, 0), BLK_OK);
    blk_expect_image_original(disk);
}

static void blk_05_any_other_type_gives_unsupp(void **state)
{
    struct blk_disk *disk = *state;
    const uint32_t types[] = {
        2,  3,     5,          6,         7, BLK_GET_ID, 9, 10, BLK_DISCARD, 12, BLK_WRITE_ZEROES,
        14, 0x100, 0x80000000, UINT32_MAX};

    for (uint32_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct ring_driver_buffer writable[] = {
            {disk->header_gpa, 16, false}, {disk->data_gpa, BLK_SECTOR, true}, {disk->status_gpa, 1, true}};

        assert_int_equal(blk_request(disk, types[i], 0, 0), BLK_UNSUPP);
        assert_int_equal(blk_request(disk, types[i], 0, BLK_SECTOR), BLK_UNSUPP);
        blk_put_header(disk, types[i], 0);
        assert_int_equal(blk_submit(disk, writable, 3), BLK_UNSUPP);
    }
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
    blk_expect_image_original(disk);
}

static void blk_05_in_with_readable_data_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, BLK_SECTOR, false},
                                                 {disk->data_gpa + BLK_SECTOR, BLK_SECTOR, true},
                                                 {disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_IN, 0);
    assert_int_equal(blk_submit(disk, buffers, 4), BLK_IOERR);
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
}

static void blk_05_out_with_writable_data_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, BLK_SECTOR, false},
                                                 {disk->data_gpa + BLK_SECTOR, BLK_SECTOR, true},
                                                 {disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_OUT, 0);
    assert_int_equal(blk_submit(disk, buffers, 4), BLK_IOERR);
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
    blk_expect_image_original(disk);
}

static void blk_05_flush_with_data_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, BLK_SECTOR), BLK_IOERR);
    blk_expect_image_original(disk);
}

/* ---- BLK-7: completion ---- */

/* Stepped, the order shows: the step before the one that moves the used index has the status in place. */
static void blk_07_status_is_written_before_the_used_index(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false}, {disk->data_gpa, BLK_SECTOR, true}, {disk->status_gpa, 1, true}};
    bool before = false;

    if (disk->driver.worker)
        return;
    blk_put_header(disk, BLK_IN, 1);
    assert_int_not_equal(ring_driver_add(&disk->queue, buffers, 3), RING_DRIVER_FULL);
    ring_driver_kick(&disk->queue);
    while (!ring_driver_used(&disk->queue)) {
        before = *disk->status == BLK_OK;
        assert_true(aero_sim_device_step(disk->driver.device));
    }
    assert_true(before);
    assert_true(ring_driver_wait(&disk->queue, NULL, NULL));
}

static void blk_07_used_length_is_zero_whatever_was_written(void **state)
{
    struct blk_disk *disk = *state;

    /* submit asserts it */
    assert_int_equal(blk_request(disk, BLK_IN, 0, 64 * BLK_SECTOR), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_OUT, 0, 64 * BLK_SECTOR), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_GET_ID, 0, 0), BLK_UNSUPP);
    assert_int_equal(blk_request(disk, BLK_IN, BLK_SECTORS, BLK_SECTOR), BLK_IOERR);
}

static void blk_07_full_queue_completes_with_a_status_each(void **state)
{
    struct blk_disk *disk = *state;
    uint64_t statuses = ring_driver_allocate(&disk->driver, 64, 1);
    uint8_t *status = ring_driver_at(&disk->driver, statuses, 64);

    blk_put_header(disk, BLK_FLUSH, 0);
    memset(status, BLK_UNTOUCHED, 64);
    for (uint32_t i = 0; i < 64; i++) {
        const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false}, {statuses + i, 1, true}};

        assert_int_not_equal(ring_driver_add(&disk->queue, buffers, 2), RING_DRIVER_FULL);
    }
    ring_driver_kick(&disk->queue);
    for (uint32_t i = 0; i < 64; i++)
        assert_true(ring_driver_wait(&disk->queue, NULL, NULL));
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(status[i], BLK_OK);
}

/* ---- At length ---- */

static void com_08_reset_and_a_second_bring_up_serve_again(void **state)
{
    struct blk_disk *disk = *state;

    for (uint32_t round = 0; round < 3; round++) {
        assert_int_equal(blk_request(disk, BLK_IN, round, BLK_SECTOR), BLK_OK);
        blk_expect_original(disk->data, round * BLK_SECTOR, BLK_SECTOR);
        assert_true(ring_driver_bring_up(&disk->driver, RING_DRIVER_ALL_FEATURES));
        ring_driver_queue_destroy(&disk->queue);
        assert_true(ring_driver_queue_create(&disk->queue, &disk->driver, 0));
        ring_driver_add_status(&disk->driver, RING_DRIVER_DRIVER_OK);
        assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG, 4), BLK_SECTORS);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(blk_01_has_one_queue_of_128),
        BLK_TEST(blk_02_offers_exactly_its_features),
        BLK_RAW_TEST(blk_02_read_only_image_offers_no_ro),
        BLK_TEST(blk_03_config_is_laid_out_byte_for_byte),
        BLK_TEST(blk_03_config_writes_change_nothing),
        BLK_TEST(blk_05_in_reads_the_image),
        BLK_TEST(blk_05_out_writes_the_image_there_and_nowhere_else),
        BLK_TEST(blk_05_flush_needs_no_data_and_no_sector),
        BLK_TEST(blk_05_any_other_type_gives_unsupp),
        BLK_TEST(blk_05_in_with_readable_data_gives_ioerr),
        BLK_TEST(blk_05_out_with_writable_data_gives_ioerr),
        BLK_TEST(blk_05_flush_with_data_gives_ioerr),
        BLK_TEST(blk_07_status_is_written_before_the_used_index),
        BLK_TEST(blk_07_used_length_is_zero_whatever_was_written),
        BLK_TEST(blk_07_full_queue_completes_with_a_status_each),
        BLK_TEST(com_08_reset_and_a_second_bring_up_serve_again),
    };
    int failed;

    test_program(argc, argv, tests);
    failed = cmocka_run_group_tests_name("blk, stepped", tests, blk_disk_stepped, NULL);
    return failed + cmocka_run_group_tests_name("blk, with a worker", tests, blk_disk_with_worker, NULL);
}

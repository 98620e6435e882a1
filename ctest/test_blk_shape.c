/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk, poked through aero_sim.h: requests in any shape and at any place (BLK-4, BLK-6), however they
 * lie in guest memory. Everything once stepped and once with a worker.
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

/* ---- BLK-4: the shape of a request ---- */

static void blk_04_header_in_any_number_of_pieces_is_read(void **state)
{
    struct blk_disk *disk = *state;

    for (uint32_t piece = 1; piece <= 16; piece++) {
        struct ring_driver_buffer buffers[18];
        uint32_t count = 0;

        blk_put_header(disk, BLK_IN, piece);
        memset(disk->data, BLK_UNTOUCHED, BLK_SECTOR);
        for (uint32_t at = 0; at < 16; at += piece)
            buffers[count++] =
                (struct ring_driver_buffer){disk->header_gpa + at, 16 - at < piece ? 16 - at : piece, false};
        buffers[count++] = (struct ring_driver_buffer){disk->data_gpa, BLK_SECTOR, true};
        buffers[count++] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
        assert_int_equal(blk_submit(disk, buffers, count), BLK_OK);
        blk_expect_original(disk->data, piece * BLK_SECTOR, BLK_SECTOR);
    }
}

static void blk_04_header_and_data_in_one_buffer_are_told_apart(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->data_gpa, 16 + BLK_SECTOR, false},
        {disk->status_gpa, 1, true},
    };

    blk_put_header(disk, BLK_OUT, 3);
    blk_fill(disk, 16 + BLK_SECTOR, 7);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(blk_submit(disk, buffers, 2), BLK_OK);
    blk_expect_image(disk, 3 * BLK_SECTOR, disk->data + 16, BLK_SECTOR);
}

static void blk_04_data_and_status_in_one_buffer_are_told_apart(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, BLK_SECTOR + 1, true},
    };

    blk_put_header(disk, BLK_IN, 5);
    assert_int_equal(blk_submit(disk, buffers, 2), BLK_UNTOUCHED);
    blk_expect_original(disk->data, 5 * BLK_SECTOR, BLK_SECTOR);
    assert_int_equal(disk->data[BLK_SECTOR], BLK_OK);
    assert_int_equal(disk->data[BLK_SECTOR + 1], BLK_UNTOUCHED);
}

static void blk_04_indirect_request_is_served(void **state)
{
    struct blk_disk *disk = *state;
    uint64_t table = ring_driver_allocate(&disk->driver, 16 * 4, 16);
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, 200, true},
        {disk->data_gpa + 200, BLK_SECTOR - 200, true},
        {disk->status_gpa, 1, true},
    };
    uint32_t length;

    blk_put_header(disk, BLK_IN, 9);
    assert_int_not_equal(ring_driver_add_indirect(&disk->queue, table, buffers, 4), RING_DRIVER_FULL);
    ring_driver_kick(&disk->queue);
    assert_true(ring_driver_wait(&disk->queue, NULL, &length));
    assert_int_equal(length, 0);
    assert_int_equal(*disk->status, BLK_OK);
    blk_expect_original(disk->data, 9 * BLK_SECTOR, BLK_SECTOR);
}

static void blk_04_nonzero_ioprio_changes_nothing(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, BLK_SECTOR, true},
        {disk->status_gpa, 1, true},
    };

    blk_put_header(disk, BLK_IN, 2);
    memset(disk->header + 4, 0xFF, 4);
    assert_int_equal(blk_submit(disk, buffers, 3), BLK_OK);
    blk_expect_original(disk->data, 2 * BLK_SECTOR, BLK_SECTOR);
}

static void blk_04_short_header_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    for (uint32_t length = 1; length < 16; length++) {
        const struct ring_driver_buffer buffers[] = {
            {disk->header_gpa, length, false},
            {disk->data_gpa, BLK_SECTOR, true},
            {disk->status_gpa, 1, true},
        };

        blk_put_header(disk, BLK_IN, 0);
        assert_int_equal(blk_submit(disk, buffers, 3), BLK_IOERR);
    }
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
}

static void blk_04_no_header_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->data_gpa, BLK_SECTOR, true},
                                                 {disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_IN, 0);
    assert_int_equal(blk_submit(disk, buffers, 2), BLK_IOERR);
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
}

static void blk_04_status_alone_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_IN, 0);
    assert_int_equal(blk_submit(disk, buffers, 1), BLK_IOERR);
}

static void blk_04_no_room_for_status_completes_and_does_nothing(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, BLK_SECTOR, false}};

    blk_put_header(disk, BLK_OUT, 0);
    assert_int_equal(blk_submit(disk, buffers, 2), BLK_UNTOUCHED);
    assert_int_equal(blk_submit(disk, buffers, 1), BLK_UNTOUCHED);
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
    blk_expect_image_original(disk);
}

static void blk_04_empty_chain_completes_and_does_nothing(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 0, false}, {disk->data_gpa, 0, true}, {disk->status_gpa, 0, true}};

    blk_put_header(disk, BLK_OUT, 0);
    assert_int_equal(blk_submit(disk, buffers, 3), BLK_UNTOUCHED);
    assert_int_equal(blk_submit(disk, buffers, 1), BLK_UNTOUCHED);
}

/*
 * The data land on the header itself, the first piece with another type and sector in it: what was read from
 * the header once must still count for the second piece.
 */
static void blk_04_header_overwritten_while_served_is_not_read_again(void **state)
{
    struct blk_disk *disk = *state;
    uint8_t sectors[2 * BLK_SECTOR];
    const struct ring_driver_buffer buffers[] = {
        {disk->data_gpa, 16, false},
        {disk->data_gpa, BLK_SECTOR, true},
        {disk->data_gpa + BLK_SECTOR, BLK_SECTOR, true},
        {disk->status_gpa, 1, true},
    };

    blk_put_header(disk, BLK_OUT, 77);
    blk_fill(disk, 2 * BLK_SECTOR, 3);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(blk_request(disk, BLK_OUT, 10, 2 * BLK_SECTOR), BLK_OK);
    memcpy(sectors, disk->data, sizeof sectors);

    blk_put_header(disk, BLK_IN, 10);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(blk_submit(disk, buffers, 4), BLK_OK);
    assert_memory_equal(disk->data, sectors, sizeof sectors);
    blk_expect_image(disk, 10 * BLK_SECTOR, sectors, sizeof sectors);
}

static void dma_04_buffers_above_4_gib_are_served(void **state)
{
    struct blk_disk *disk = *state;
    const uint64_t high = RING_DRIVER_HIGH_GPA + 12345;
    uint8_t *host = ring_driver_at(&disk->driver, high, 16 + BLK_SECTOR + 1);
    const struct ring_driver_buffer buffers[] = {
        {high, 16, false}, {high + 16, BLK_SECTOR, true}, {high + 16 + BLK_SECTOR, 1, true}};

    blk_put_header(disk, BLK_IN, 11);
    memcpy(host, disk->header, 16);
    host[16 + BLK_SECTOR] = BLK_UNTOUCHED;
    blk_submit(disk, buffers, 3);
    assert_int_equal(host[16 + BLK_SECTOR], BLK_OK);
    blk_expect_original(host + 16, 11 * BLK_SECTOR, BLK_SECTOR);
}

static void dma_03_buffers_across_a_region_border_are_served(void **state)
{
    struct blk_disk *disk = *state;
    const uint64_t border = RING_DRIVER_NEXT_GPA;
    const struct ring_driver_buffer in[] = {
        {disk->header_gpa, 16, false}, {border - 100, BLK_SECTOR, true}, {disk->status_gpa, 1, true}};
    const struct ring_driver_buffer out[] = {
        {disk->header_gpa, 16, false}, {border - 100, BLK_SECTOR, false}, {disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_IN, 12);
    assert_int_equal(blk_submit(disk, in, 3), BLK_OK);
    blk_expect_original(ring_driver_at(&disk->driver, border - 100, 100), 12 * BLK_SECTOR, 100);
    blk_expect_original(ring_driver_at(&disk->driver, border, BLK_SECTOR - 100), 12 * BLK_SECTOR + 100,
                        BLK_SECTOR - 100);
    blk_put_header(disk, BLK_OUT, 20);
    assert_int_equal(blk_submit(disk, out, 3), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_IN, 20, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 12 * BLK_SECTOR, BLK_SECTOR);
}

/* ---- BLK-6: bounds ---- */

static void blk_06_no_data_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_IN, 0, 0), BLK_IOERR);
    assert_int_equal(blk_request(disk, BLK_OUT, 0, 0), BLK_IOERR);
}

static void blk_06_data_of_no_length_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false}, {disk->data_gpa, 0, true}, {disk->status_gpa, 1, true}};

    blk_put_header(disk, BLK_IN, 0);
    assert_int_equal(blk_submit(disk, buffers, 3), BLK_IOERR);
}

static void blk_06_total_not_multiple_of_512_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const uint32_t totals[] = {1, 16, 511, 513, 1023, 1025, 4095};

    for (uint32_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        assert_int_equal(blk_request(disk, BLK_IN, 0, totals[i]), BLK_IOERR);
        assert_int_equal(blk_request(disk, BLK_OUT, 0, totals[i]), BLK_IOERR);
    }
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
    blk_expect_image_original(disk);
}

static void blk_06_odd_pieces_of_a_whole_total_are_served(void **state)
{
    struct blk_disk *disk = *state;
    const uint32_t pieces[] = {1000, 513, 511, 100, 33};

    for (uint32_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        blk_fill(disk, 4 * BLK_SECTOR, i);
        assert_int_equal(blk_request_cut(disk, BLK_OUT, 40, 4 * BLK_SECTOR, pieces[i]), BLK_OK);
        blk_expect_image(disk, 40 * BLK_SECTOR, disk->data, 4 * BLK_SECTOR);
        memset(disk->data, BLK_UNTOUCHED, 4 * BLK_SECTOR + 1);
        assert_int_equal(blk_request_cut(disk, BLK_IN, 40, 4 * BLK_SECTOR, pieces[i]), BLK_OK);
        blk_expect_image(disk, 40 * BLK_SECTOR, disk->data, 4 * BLK_SECTOR);
        assert_int_equal(disk->data[4 * BLK_SECTOR], BLK_UNTOUCHED);
    }
}

static void blk_06_seg_max_segments_are_served(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request_cut(disk, BLK_IN, 0, BLK_SEG_MAX * BLK_SECTOR, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 0, BLK_SEG_MAX * BLK_SECTOR);
    blk_fill(disk, BLK_SEG_MAX * BLK_SECTOR, 2);
    assert_int_equal(blk_request_cut(disk, BLK_OUT, 100, BLK_SEG_MAX * BLK_SECTOR, BLK_SECTOR), BLK_OK);
    blk_expect_image(disk, 100 * BLK_SECTOR, disk->data, BLK_SEG_MAX * BLK_SECTOR);
}

/* A queue of 128 holds that many only where the status byte shares its descriptor with data. */
static void blk_06_more_than_seg_max_segments_give_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    struct ring_driver_buffer buffers[BLK_SEG_MAX + 2];
    const uint32_t last = BLK_SEG_MAX + 1;

    blk_put_header(disk, BLK_IN, 0);
    buffers[0] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t i = 1; i <= last; i++)
        buffers[i] = (struct ring_driver_buffer){disk->data_gpa + (i - 1) * BLK_SECTOR, BLK_SECTOR, true};
    buffers[last].length++;
    blk_submit(disk, buffers, BLK_SEG_MAX + 2);
    blk_expect_untouched(disk->data, last * BLK_SECTOR);
    assert_int_equal(disk->data[last * BLK_SECTOR], BLK_IOERR);
}

static void blk_06_more_than_seg_max_segments_in_a_larger_queue_give_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(aero_sim_device_set_queue_size(disk->driver.device, 0, 256), AERO_SIM_OK);
    blk_disk_power_on(disk);
    assert_int_equal(blk_request_cut(disk, BLK_IN, 0, BLK_SEG_MAX * BLK_SECTOR, BLK_SECTOR), BLK_OK);
    assert_int_equal(blk_request_cut(disk, BLK_IN, 0, (BLK_SEG_MAX + 1) * BLK_SECTOR, BLK_SECTOR), BLK_IOERR);
    assert_int_equal(blk_request_cut(disk, BLK_OUT, 0, (BLK_SEG_MAX + 1) * BLK_SECTOR, BLK_SECTOR),
                     BLK_IOERR);
    blk_expect_image_original(disk);
}

/* A buffer that crosses into the next memory region is cut there by the simulator, not by the driver. */
static void blk_06_seg_max_segments_with_one_across_a_region_border_are_served(void **state)
{
    struct blk_disk *disk = *state;
    struct ring_driver_buffer buffers[BLK_SEG_MAX + 2];

    blk_put_header(disk, BLK_IN, 0);
    buffers[0] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t i = 1; i <= BLK_SEG_MAX; i++)
        buffers[i] = (struct ring_driver_buffer){disk->data_gpa + (i - 1) * BLK_SECTOR, BLK_SECTOR, true};
    buffers[1].gpa = RING_DRIVER_NEXT_GPA - 1;
    buffers[BLK_SEG_MAX + 1] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
    assert_int_equal(blk_submit(disk, buffers, BLK_SEG_MAX + 2), BLK_OK);
    blk_expect_original(ring_driver_at(&disk->driver, RING_DRIVER_NEXT_GPA, BLK_SECTOR - 1), 1,
                        BLK_SECTOR - 1);
    blk_expect_original(disk->data + BLK_SECTOR, BLK_SECTOR, (BLK_SEG_MAX - 1) * BLK_SECTOR);
}

/*
 * Each buffer is cut there, so there are more pieces than go to the host at once. They lie on each other: an
 * IN leaves the last sector there, an OUT writes one sector everywhere.
 */
static void blk_06_seg_max_segments_all_across_a_region_border_are_served(void **state)
{
    const uint64_t gpa = RING_DRIVER_NEXT_GPA - 200;
    struct blk_disk *disk = *state;
    struct ring_driver_buffer buffers[BLK_SEG_MAX + 2];

    for (uint32_t i = 1; i <= BLK_SEG_MAX; i++)
        buffers[i] = (struct ring_driver_buffer){gpa, BLK_SECTOR, true};
    buffers[0] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    buffers[BLK_SEG_MAX + 1] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
    blk_put_header(disk, BLK_IN, 7);
    assert_int_equal(blk_submit(disk, buffers, BLK_SEG_MAX + 2), BLK_OK);
    blk_expect_original(ring_driver_at(&disk->driver, gpa, 200), (BLK_SEG_MAX + 6) * BLK_SECTOR, 200);
    blk_expect_original(ring_driver_at(&disk->driver, gpa + 200, BLK_SECTOR - 200),
                        (BLK_SEG_MAX + 6) * BLK_SECTOR + 200, BLK_SECTOR - 200);

    for (uint32_t i = 1; i <= BLK_SEG_MAX; i++)
        buffers[i].writable = false;
    blk_put_header(disk, BLK_OUT, 20);
    assert_int_equal(blk_submit(disk, buffers, BLK_SEG_MAX + 2), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_IN, 20, BLK_SEG_MAX * BLK_SECTOR), BLK_OK);
    for (uint32_t i = 0; i < BLK_SEG_MAX; i++)
        blk_expect_original(disk->data + i * BLK_SECTOR, (BLK_SEG_MAX + 6) * BLK_SECTOR, BLK_SECTOR);
    assert_int_equal(blk_request(disk, BLK_IN, 20 + BLK_SEG_MAX, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, (20 + BLK_SEG_MAX) * BLK_SECTOR, BLK_SECTOR);
}

static void blk_06_last_sector_is_served(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_IN, BLK_SECTORS - 1, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, (BLK_SECTORS - 1) * BLK_SECTOR, BLK_SECTOR);
    blk_fill(disk, BLK_SECTOR, 4);
    assert_int_equal(blk_request(disk, BLK_OUT, BLK_SECTORS - 1, BLK_SECTOR), BLK_OK);
    blk_expect_image(disk, (BLK_SECTORS - 1) * BLK_SECTOR, disk->data, BLK_SECTOR);
}

static void blk_06_whole_disk_in_one_request_is_served(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(blk_request(disk, BLK_IN, 0, BLK_SECTORS * BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 0, BLK_SECTORS * BLK_SECTOR);
}

static void blk_06_sectors_beyond_capacity_give_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    const struct {
        uint64_t sector;
        uint32_t sectors;
    } cases[] = {
        {BLK_SECTORS, 1},
        {BLK_SECTORS + 1, 1},
        {BLK_SECTORS - 1, 2},
        {1, BLK_SECTORS},
        {1ull << 31, 1},
        {1ull << 32, 1},
        {(1ull << 55) - 1, 1}, /* from here on sector * 512 needs more than 64 bits, or nearly */
        {1ull << 55, 1},
        {(1ull << 55) + 1, 1},
        {1ull << 63, 1},
        {UINT64_MAX / BLK_SECTOR, 1},
        {UINT64_MAX - BLK_SECTORS + 1, BLK_SECTORS}, /* sector + sectors is 0 */
        {UINT64_MAX - 1, 2},
        {UINT64_MAX - 1, 1},
        {UINT64_MAX, 1},
        {UINT64_MAX, 2},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(blk_request(disk, BLK_IN, cases[i].sector, cases[i].sectors * BLK_SECTOR),
                         BLK_IOERR);
        assert_int_equal(blk_request(disk, BLK_OUT, cases[i].sector, cases[i].sectors * BLK_SECTOR),
                         BLK_IOERR);
    }
    blk_expect_untouched(disk->data, BLK_DATA_BYTES);
    blk_expect_image_original(disk);
}

/* ---- At length ---- */

/* xorshift32: the same requests on every host. */
static uint32_t dice(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void test_blk_random_requests_match_a_shadow(void **state)
{
    static uint8_t shadow[BLK_SECTORS * BLK_SECTOR];
    struct blk_disk *disk = *state;
    uint32_t seed = 20240607;

    for (uint32_t i = 0; i < sizeof shadow; i++)
        shadow[i] = temp_file_byte(i);
    for (uint32_t turn = 0; turn < 1500; turn++) {
        uint32_t sector = dice(&seed) % (BLK_SECTORS + 8);
        uint32_t bytes = dice(&seed) % 9 * BLK_SECTOR + (dice(&seed) % 16 ? 0 : 1 + dice(&seed) % 511);
        uint32_t piece = 64 + dice(&seed) % 4096;
        bool out = dice(&seed) % 2;
        bool fits = bytes && bytes % BLK_SECTOR == 0 && sector + bytes / BLK_SECTOR <= BLK_SECTORS;

        blk_fill(disk, bytes, turn);
        if (out && fits)
            memcpy(shadow + sector * BLK_SECTOR, disk->data, bytes);
        assert_int_equal(blk_request_cut(disk, out ? BLK_OUT : BLK_IN, sector, bytes, piece),
                         fits ? BLK_OK : BLK_IOERR);
        if (!out && fits)
            assert_memory_equal(disk->data, shadow + sector * BLK_SECTOR, bytes);
    }
    assert_int_equal(temp_file_size(disk->path), sizeof shadow);
    blk_expect_image(disk, 0, shadow, sizeof shadow);
    assert_int_equal(ring_driver_breaches(&disk->driver, NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(blk_04_header_in_any_number_of_pieces_is_read),
        BLK_TEST(blk_04_header_and_data_in_one_buffer_are_told_apart),
        BLK_TEST(blk_04_data_and_status_in_one_buffer_are_told_apart),
        BLK_TEST(blk_04_indirect_request_is_served),
        BLK_TEST(blk_04_nonzero_ioprio_changes_nothing),
        BLK_TEST(blk_04_short_header_gives_ioerr),
        BLK_TEST(blk_04_no_header_gives_ioerr),
        BLK_TEST(blk_04_status_alone_gives_ioerr),
        BLK_TEST(blk_04_no_room_for_status_completes_and_does_nothing),
        BLK_TEST(blk_04_empty_chain_completes_and_does_nothing),
        BLK_TEST(blk_04_header_overwritten_while_served_is_not_read_again),
        BLK_TEST(dma_03_buffers_across_a_region_border_are_served),
        BLK_TEST(dma_04_buffers_above_4_gib_are_served),
        BLK_TEST(blk_06_no_data_gives_ioerr),
        BLK_TEST(blk_06_data_of_no_length_gives_ioerr),
        BLK_TEST(blk_06_total_not_multiple_of_512_gives_ioerr),
        BLK_TEST(blk_06_odd_pieces_of_a_whole_total_are_served),
        BLK_TEST(blk_06_seg_max_segments_are_served),
        BLK_TEST(blk_06_more_than_seg_max_segments_give_ioerr),
        BLK_RAW_TEST(blk_06_more_than_seg_max_segments_in_a_larger_queue_give_ioerr),
        BLK_TEST(blk_06_seg_max_segments_with_one_across_a_region_border_are_served),
        BLK_TEST(blk_06_seg_max_segments_all_across_a_region_border_are_served),
        BLK_TEST(blk_06_last_sector_is_served),
        BLK_TEST(blk_06_whole_disk_in_one_request_is_served),
        BLK_TEST(blk_06_sectors_beyond_capacity_give_ioerr),
        BLK_TEST(test_blk_random_requests_match_a_shadow),
    };
    int failed;

    test_program(argc, argv, tests);
    failed = cmocka_run_group_tests_name("blk shape, stepped", tests, blk_disk_stepped, NULL);
    return failed +
           cmocka_run_group_tests_name("blk shape, with a worker", tests, blk_disk_with_worker, NULL);
}

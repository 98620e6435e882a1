/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk over an image file, poked through aero_sim.h: each clause BLK-1..8 kept and broken, everything
 * once with a worker and once stepped. What reached the image is checked through a second handle. Tests whose
 * fault the host has to be talked into (a full disk, a sync that fails) run on Linux alone.
 */
#ifndef _WIN32
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../simulator/devices/devices.h"
#include "os.h"
#include "ring_driver.h"
#include "temp_file.h"
#include "test_program.h"

#ifndef _WIN32
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Stands before libc's: the tests count syncs and have them fail. Called on the worker. */
static _Atomic uint32_t syncs;
static _Atomic uint32_t syncs_fail;

int fdatasync(int descriptor);
int fdatasync(int descriptor)
{
    atomic_fetch_add(&syncs, 1);
    if (atomic_load(&syncs_fail)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, descriptor);
}
#endif

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xA5 };

#define SECTOR  512u
#define SECTORS 256u
#define SEG_MAX 126u

static bool stepped;

struct disk {
    struct ring_driver driver;
    struct ring_driver_queue queue;
    char path[TEMP_FILE_PATH_MAX];
    uint64_t header_gpa, status_gpa, data_gpa; /* 16 bytes, 1 byte, DATA_BYTES */
    uint8_t *header, *status, *data;
};
#define DATA_BYTES 0x20000u

/* ---- Fixture ---- */

/* The image exists and the device is created; the test may configure it before power_on. */
static void make_disk(struct disk *disk, uint64_t image_bytes)
{
    memset(disk, 0, sizeof *disk);
    temp_file_path(disk->path, "test_blk");
    assert_true(temp_file_create(disk->path, image_bytes));
    assert_true(ring_driver_create(&disk->driver, &sim_model_blk, stepped));
    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, false), AERO_SIM_OK);
}

static void power_on(struct disk *disk)
{
    struct ring_driver *driver = &disk->driver;

    assert_int_equal(ring_driver_start(driver), AERO_SIM_OK);
    assert_true(ring_driver_bring_up(driver, RING_DRIVER_ALL_FEATURES));
    assert_true(ring_driver_queue_create(&disk->queue, driver, 0));
    ring_driver_add_status(driver, RING_DRIVER_DRIVER_OK);
    disk->header_gpa = ring_driver_allocate(driver, 16, 16);
    disk->status_gpa = ring_driver_allocate(driver, 1, 1);
    disk->data_gpa = ring_driver_allocate(driver, DATA_BYTES, 16);
    assert_true(disk->header_gpa && disk->status_gpa && disk->data_gpa);
    disk->header = ring_driver_at(driver, disk->header_gpa, 16);
    disk->status = ring_driver_at(driver, disk->status_gpa, 1);
    disk->data = ring_driver_at(driver, disk->data_gpa, DATA_BYTES);
    memset(disk->data, UNTOUCHED, DATA_BYTES);
}

static struct disk the_disk;

static int set_up_raw(void **state)
{
    make_disk(&the_disk, SECTORS * SECTOR);
    *state = &the_disk;
    return 0;
}

static int set_up(void **state)
{
    set_up_raw(state);
    power_on(&the_disk);
    return 0;
}

static int tear_down(void **state)
{
    struct disk *disk = *state;

    ring_driver_queue_destroy(&disk->queue);
    ring_driver_destroy(&disk->driver);
    temp_file_remove(disk->path);
    return 0;
}

/* ---- Requests ---- */

static void put_header(struct disk *disk, uint32_t type, uint64_t sector)
{
    const uint32_t ioprio = 0;

    memcpy(disk->header, &type, 4);
    memcpy(disk->header + 4, &ioprio, 4);
    memcpy(disk->header + 8, &sector, 8);
    *disk->status = UNTOUCHED;
}

/* Submits a chain as it is and sees it completed with length 0 (BLK-7). Answers the status byte. */
static uint8_t submit(struct disk *disk, const struct ring_driver_buffer *buffers, uint32_t count)
{
    int head = ring_driver_add(&disk->queue, buffers, count);
    uint32_t id, length;

    assert_int_not_equal(head, RING_DRIVER_FULL);
    ring_driver_kick(&disk->queue);
    assert_true(ring_driver_wait(&disk->queue, &id, &length));
    assert_int_equal(id, head);
    assert_int_equal(length, 0);
    return *disk->status;
}

/*
 * A request whose data are the first bytes of disk->data, cut into pieces of piece bytes; each its own
 * descriptor, as are header and status.
 */
static uint8_t request_cut(struct disk *disk, uint32_t type, uint64_t sector, uint32_t bytes, uint32_t piece)
{
    struct ring_driver_buffer buffers[130];
    uint32_t count = 0;

    put_header(disk, type, sector);
    buffers[count++] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t at = 0; at < bytes; at += piece) {
        assert_true(count < 129);
        buffers[count++] = (struct ring_driver_buffer){disk->data_gpa + at,
                                                       bytes - at < piece ? bytes - at : piece, type == IN};
    }
    buffers[count++] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
    return submit(disk, buffers, count);
}

static uint8_t request(struct disk *disk, uint32_t type, uint64_t sector, uint32_t bytes)
{
    return request_cut(disk, type, sector, bytes, bytes ? bytes : 1);
}

/* Do the bytes equal those that temp_file_create put at that offset? */
static void expect_original(const uint8_t *bytes, uint64_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], temp_file_byte(offset + i));
}

static void expect_untouched(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], UNTOUCHED);
}

static void expect_image_original(const struct disk *disk)
{
    static uint8_t image[SECTORS * SECTOR];

    assert_int_equal(temp_file_size(disk->path), sizeof image);
    assert_true(temp_file_read(disk->path, 0, image, sizeof image));
    expect_original(image, 0, sizeof image);
}

static void expect_image(const struct disk *disk, uint64_t offset, const uint8_t *bytes, uint32_t length)
{
    static uint8_t image[SECTORS * SECTOR];

    assert_true(length <= sizeof image);
    assert_true(temp_file_read(disk->path, offset, image, length));
    assert_memory_equal(image, bytes, length);
}

static void fill(struct disk *disk, uint32_t length, uint32_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        disk->data[i] = (uint8_t)((i + seed) * 2654435761u >> 24);
}

/* ---- BLK-1, BLK-2, BLK-3: what the device says it is ---- */

static void blk_01_has_one_queue_of_128(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(ring_driver_read(&disk->driver, 0x12, 2), 1);
    ring_driver_write(&disk->driver, 0x16, 2, 0);
    assert_int_equal(ring_driver_read(&disk->driver, 0x18, 2), 128);
    ring_driver_write(&disk->driver, 0x16, 2, 1);
    assert_int_equal(ring_driver_read(&disk->driver, 0x18, 2), 0);
}

#define FEATURES (1ull << 32 | 1ull << 28 | 1ull << 2 | 1ull << 6 | 1ull << 9)

static void blk_02_offers_exactly_its_features(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(ring_driver_offered(&disk->driver), FEATURES);
}

static void blk_02_read_only_image_offers_no_ro(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, true), AERO_SIM_OK);
    power_on(disk);
    assert_int_equal(ring_driver_offered(&disk->driver), FEATURES);
}

static void blk_03_config_is_laid_out_byte_for_byte(void **state)
{
    struct disk *disk = *state;
    uint8_t expected[256] = {0};

    expected[0x01] = SECTORS >> 8; /* capacity */
    expected[0x0C] = SEG_MAX;
    expected[0x15] = SECTOR >> 8; /* blk_size */
    for (uint32_t width = 1; width <= 4; width *= 2) {
        for (uint32_t offset = 0; offset < sizeof expected; offset += width) {
            uint32_t value = ring_driver_read(&disk->driver, RING_DRIVER_CONFIG + offset, width);

            assert_memory_equal(&value, expected + offset, width);
        }
    }
}

static void blk_03_config_writes_change_nothing(void **state)
{
    struct disk *disk = *state;

    for (uint32_t offset = 0; offset < 0x18; offset += 4)
        ring_driver_write(&disk->driver, RING_DRIVER_CONFIG + offset, 4, 0xFFFFFFFF);
    blk_03_config_is_laid_out_byte_for_byte(state);
    assert_int_equal(request(disk, IN, SECTORS, SECTOR), IOERR);
}

#ifndef _WIN32
/* A sparse file: 2 TiB and a sector, so that the capacity needs its high half. */
static void blk_03_capacity_beyond_32_bits_is_told_and_served(void **state)
{
    struct disk *disk = *state;
    const uint64_t last = 1ull << 32;

    if (truncate(disk->path, (off_t)((last + 1) * SECTOR)) != 0) {
        print_message("no sparse file of 2 TiB here\n");
        skip();
    }
    power_on(disk);
    assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG, 4), 1);
    assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG + 4, 4), 1);
    fill(disk, SECTOR, 1);
    assert_int_equal(request(disk, OUT, last, SECTOR), OK);
    expect_image(disk, last * SECTOR, disk->data, SECTOR);
    assert_int_equal(request(disk, IN, 0, SECTOR), OK); /* and not to its low half */
    expect_original(disk->data, 0, SECTOR);
    assert_int_equal(request(disk, IN, last + 1, SECTOR), IOERR);
}
#endif

/* ---- BLK-4: the shape of a request ---- */

static void blk_04_header_in_any_number_of_pieces_is_read(void **state)
{
    struct disk *disk = *state;

    for (uint32_t piece = 1; piece <= 16; piece++) {
        struct ring_driver_buffer buffers[18];
        uint32_t count = 0;

        put_header(disk, IN, piece);
        memset(disk->data, UNTOUCHED, SECTOR);
        for (uint32_t at = 0; at < 16; at += piece)
            buffers[count++] =
                (struct ring_driver_buffer){disk->header_gpa + at, 16 - at < piece ? 16 - at : piece, false};
        buffers[count++] = (struct ring_driver_buffer){disk->data_gpa, SECTOR, true};
        buffers[count++] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
        assert_int_equal(submit(disk, buffers, count), OK);
        expect_original(disk->data, piece * SECTOR, SECTOR);
    }
}

static void blk_04_header_and_data_in_one_buffer_are_told_apart(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->data_gpa, 16 + SECTOR, false},
        {disk->status_gpa, 1, true},
    };

    put_header(disk, OUT, 3);
    fill(disk, 16 + SECTOR, 7);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(submit(disk, buffers, 2), OK);
    expect_image(disk, 3 * SECTOR, disk->data + 16, SECTOR);
}

static void blk_04_data_and_status_in_one_buffer_are_told_apart(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, SECTOR + 1, true},
    };

    put_header(disk, IN, 5);
    assert_int_equal(submit(disk, buffers, 2), UNTOUCHED);
    expect_original(disk->data, 5 * SECTOR, SECTOR);
    assert_int_equal(disk->data[SECTOR], OK);
    assert_int_equal(disk->data[SECTOR + 1], UNTOUCHED);
}

static void blk_04_indirect_request_is_served(void **state)
{
    struct disk *disk = *state;
    uint64_t table = ring_driver_allocate(&disk->driver, 16 * 4, 16);
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, 200, true},
        {disk->data_gpa + 200, SECTOR - 200, true},
        {disk->status_gpa, 1, true},
    };
    uint32_t length;

    put_header(disk, IN, 9);
    assert_int_not_equal(ring_driver_add_indirect(&disk->queue, table, buffers, 4), RING_DRIVER_FULL);
    ring_driver_kick(&disk->queue);
    assert_true(ring_driver_wait(&disk->queue, NULL, &length));
    assert_int_equal(length, 0);
    assert_int_equal(*disk->status, OK);
    expect_original(disk->data, 9 * SECTOR, SECTOR);
}

static void blk_04_nonzero_ioprio_changes_nothing(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false},
        {disk->data_gpa, SECTOR, true},
        {disk->status_gpa, 1, true},
    };

    put_header(disk, IN, 2);
    memset(disk->header + 4, 0xFF, 4);
    assert_int_equal(submit(disk, buffers, 3), OK);
    expect_original(disk->data, 2 * SECTOR, SECTOR);
}

static void blk_04_short_header_gives_ioerr(void **state)
{
    struct disk *disk = *state;

    for (uint32_t length = 1; length < 16; length++) {
        const struct ring_driver_buffer buffers[] = {
            {disk->header_gpa, length, false},
            {disk->data_gpa, SECTOR, true},
            {disk->status_gpa, 1, true},
        };

        put_header(disk, IN, 0);
        assert_int_equal(submit(disk, buffers, 3), IOERR);
    }
    expect_untouched(disk->data, DATA_BYTES);
}

static void blk_04_no_header_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->data_gpa, SECTOR, true}, {disk->status_gpa, 1, true}};

    put_header(disk, IN, 0);
    assert_int_equal(submit(disk, buffers, 2), IOERR);
    expect_untouched(disk->data, DATA_BYTES);
}

static void blk_04_status_alone_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->status_gpa, 1, true}};

    put_header(disk, IN, 0);
    assert_int_equal(submit(disk, buffers, 1), IOERR);
}

static void blk_04_no_room_for_status_completes_and_does_nothing(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, SECTOR, false}};

    put_header(disk, OUT, 0);
    assert_int_equal(submit(disk, buffers, 2), UNTOUCHED);
    assert_int_equal(submit(disk, buffers, 1), UNTOUCHED);
    expect_untouched(disk->data, DATA_BYTES);
    expect_image_original(disk);
}

static void blk_04_empty_chain_completes_and_does_nothing(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 0, false}, {disk->data_gpa, 0, true}, {disk->status_gpa, 0, true}};

    put_header(disk, OUT, 0);
    assert_int_equal(submit(disk, buffers, 3), UNTOUCHED);
    assert_int_equal(submit(disk, buffers, 1), UNTOUCHED);
}

/*
 * The data land on the header itself, the first piece with another type and sector in it: what was read from
 * the header once must still count for the second piece.
 */
static void blk_04_header_overwritten_while_served_is_not_read_again(void **state)
{
    struct disk *disk = *state;
    uint8_t sectors[2 * SECTOR];
    const struct ring_driver_buffer buffers[] = {
        {disk->data_gpa, 16, false},
        {disk->data_gpa, SECTOR, true},
        {disk->data_gpa + SECTOR, SECTOR, true},
        {disk->status_gpa, 1, true},
    };

    put_header(disk, OUT, 77);
    fill(disk, 2 * SECTOR, 3);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(request(disk, OUT, 10, 2 * SECTOR), OK);
    memcpy(sectors, disk->data, sizeof sectors);

    put_header(disk, IN, 10);
    memcpy(disk->data, disk->header, 16);
    assert_int_equal(submit(disk, buffers, 4), OK);
    assert_memory_equal(disk->data, sectors, sizeof sectors);
    expect_image(disk, 10 * SECTOR, sectors, sizeof sectors);
}

static void dma_04_buffers_above_4_gib_are_served(void **state)
{
    struct disk *disk = *state;
    const uint64_t high = RING_DRIVER_HIGH_GPA + 12345;
    uint8_t *host = ring_driver_at(&disk->driver, high, 16 + SECTOR + 1);
    const struct ring_driver_buffer buffers[] = {
        {high, 16, false}, {high + 16, SECTOR, true}, {high + 16 + SECTOR, 1, true}};

    put_header(disk, IN, 11);
    memcpy(host, disk->header, 16);
    host[16 + SECTOR] = UNTOUCHED;
    submit(disk, buffers, 3);
    assert_int_equal(host[16 + SECTOR], OK);
    expect_original(host + 16, 11 * SECTOR, SECTOR);
}

static void dma_03_buffers_across_a_region_border_are_served(void **state)
{
    struct disk *disk = *state;
    const uint64_t border = RING_DRIVER_NEXT_GPA;
    const struct ring_driver_buffer in[] = {
        {disk->header_gpa, 16, false}, {border - 100, SECTOR, true}, {disk->status_gpa, 1, true}};
    const struct ring_driver_buffer out[] = {
        {disk->header_gpa, 16, false}, {border - 100, SECTOR, false}, {disk->status_gpa, 1, true}};

    put_header(disk, IN, 12);
    assert_int_equal(submit(disk, in, 3), OK);
    expect_original(ring_driver_at(&disk->driver, border - 100, 100), 12 * SECTOR, 100);
    expect_original(ring_driver_at(&disk->driver, border, SECTOR - 100), 12 * SECTOR + 100, SECTOR - 100);
    put_header(disk, OUT, 20);
    assert_int_equal(submit(disk, out, 3), OK);
    assert_int_equal(request(disk, IN, 20, SECTOR), OK);
    expect_original(disk->data, 12 * SECTOR, SECTOR);
}

/* ---- BLK-5: types and directions ---- */

static void blk_05_in_reads_the_image(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, IN, 17, 8 * SECTOR), OK);
    expect_original(disk->data, 17 * SECTOR, 8 * SECTOR);
    expect_untouched(disk->data + 8 * SECTOR, 64);
    expect_image_original(disk);
}

static void blk_05_out_writes_the_image_there_and_nowhere_else(void **state)
{
    struct disk *disk = *state;
    uint8_t around[SECTOR];

    fill(disk, 8 * SECTOR, 1);
    assert_int_equal(request(disk, OUT, 17, 8 * SECTOR), OK);
    expect_image(disk, 17 * SECTOR, disk->data, 8 * SECTOR);
    assert_true(temp_file_read(disk->path, 16 * SECTOR, around, SECTOR));
    expect_original(around, 16 * SECTOR, SECTOR);
    assert_true(temp_file_read(disk->path, 25 * SECTOR, around, SECTOR));
    expect_original(around, 25 * SECTOR, SECTOR);
}

static void blk_05_flush_needs_no_data_and_no_sector(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    assert_int_equal(request(disk, FLUSH, UINT64_MAX, 0), OK);
    expect_image_original(disk);
}

static void blk_05_any_other_type_gives_unsupp(void **state)
{
    struct disk *disk = *state;
    const uint32_t types[] = {2,  3,     5,          6,         7, GET_ID, 9, 10, DISCARD, 12, WRITE_ZEROES,
                              14, 0x100, 0x80000000, UINT32_MAX};

    for (uint32_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct ring_driver_buffer writable[] = {
            {disk->header_gpa, 16, false}, {disk->data_gpa, SECTOR, true}, {disk->status_gpa, 1, true}};

        assert_int_equal(request(disk, types[i], 0, 0), UNSUPP);
        assert_int_equal(request(disk, types[i], 0, SECTOR), UNSUPP);
        put_header(disk, types[i], 0);
        assert_int_equal(submit(disk, writable, 3), UNSUPP);
    }
    expect_untouched(disk->data, DATA_BYTES);
    expect_image_original(disk);
}

static void blk_05_in_with_readable_data_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, SECTOR, false},
                                                 {disk->data_gpa + SECTOR, SECTOR, true},
                                                 {disk->status_gpa, 1, true}};

    put_header(disk, IN, 0);
    assert_int_equal(submit(disk, buffers, 4), IOERR);
    expect_untouched(disk->data, DATA_BYTES);
}

static void blk_05_out_with_writable_data_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false},
                                                 {disk->data_gpa, SECTOR, false},
                                                 {disk->data_gpa + SECTOR, SECTOR, true},
                                                 {disk->status_gpa, 1, true}};

    put_header(disk, OUT, 0);
    assert_int_equal(submit(disk, buffers, 4), IOERR);
    expect_untouched(disk->data, DATA_BYTES);
    expect_image_original(disk);
}

static void blk_05_flush_with_data_gives_ioerr(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, FLUSH, 0, SECTOR), IOERR);
    expect_image_original(disk);
}

/* ---- BLK-6: bounds ---- */

static void blk_06_no_data_gives_ioerr(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, IN, 0, 0), IOERR);
    assert_int_equal(request(disk, OUT, 0, 0), IOERR);
}

static void blk_06_data_of_no_length_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false}, {disk->data_gpa, 0, true}, {disk->status_gpa, 1, true}};

    put_header(disk, IN, 0);
    assert_int_equal(submit(disk, buffers, 3), IOERR);
}

static void blk_06_total_not_multiple_of_512_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    const uint32_t totals[] = {1, 16, 511, 513, 1023, 1025, 4095};

    for (uint32_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        assert_int_equal(request(disk, IN, 0, totals[i]), IOERR);
        assert_int_equal(request(disk, OUT, 0, totals[i]), IOERR);
    }
    expect_untouched(disk->data, DATA_BYTES);
    expect_image_original(disk);
}

static void blk_06_odd_pieces_of_a_whole_total_are_served(void **state)
{
    struct disk *disk = *state;
    const uint32_t pieces[] = {1000, 513, 511, 100, 33};

    for (uint32_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        fill(disk, 4 * SECTOR, i);
        assert_int_equal(request_cut(disk, OUT, 40, 4 * SECTOR, pieces[i]), OK);
        expect_image(disk, 40 * SECTOR, disk->data, 4 * SECTOR);
        memset(disk->data, UNTOUCHED, 4 * SECTOR + 1);
        assert_int_equal(request_cut(disk, IN, 40, 4 * SECTOR, pieces[i]), OK);
        expect_image(disk, 40 * SECTOR, disk->data, 4 * SECTOR);
        assert_int_equal(disk->data[4 * SECTOR], UNTOUCHED);
    }
}

static void blk_06_seg_max_segments_are_served(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request_cut(disk, IN, 0, SEG_MAX * SECTOR, SECTOR), OK);
    expect_original(disk->data, 0, SEG_MAX * SECTOR);
    fill(disk, SEG_MAX * SECTOR, 2);
    assert_int_equal(request_cut(disk, OUT, 100, SEG_MAX * SECTOR, SECTOR), OK);
    expect_image(disk, 100 * SECTOR, disk->data, SEG_MAX * SECTOR);
}

/* A queue of 128 holds that many only where the status byte shares its descriptor with data. */
static void blk_06_more_than_seg_max_segments_give_ioerr(void **state)
{
    struct disk *disk = *state;
    struct ring_driver_buffer buffers[SEG_MAX + 2];
    const uint32_t last = SEG_MAX + 1;

    put_header(disk, IN, 0);
    buffers[0] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t i = 1; i <= last; i++)
        buffers[i] = (struct ring_driver_buffer){disk->data_gpa + (i - 1) * SECTOR, SECTOR, true};
    buffers[last].length++;
    submit(disk, buffers, SEG_MAX + 2);
    expect_untouched(disk->data, last * SECTOR);
    assert_int_equal(disk->data[last * SECTOR], IOERR);
}

static void blk_06_more_than_seg_max_segments_in_a_larger_queue_give_ioerr(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(aero_sim_device_set_queue_size(disk->driver.device, 0, 256), AERO_SIM_OK);
    power_on(disk);
    assert_int_equal(request_cut(disk, IN, 0, SEG_MAX * SECTOR, SECTOR), OK);
    assert_int_equal(request_cut(disk, IN, 0, (SEG_MAX + 1) * SECTOR, SECTOR), IOERR);
    assert_int_equal(request_cut(disk, OUT, 0, (SEG_MAX + 1) * SECTOR, SECTOR), IOERR);
    expect_image_original(disk);
}

/* A buffer that crosses into the next memory region is cut there by the simulator, not by the driver. */
static void blk_06_seg_max_segments_with_one_across_a_region_border_are_served(void **state)
{
    struct disk *disk = *state;
    struct ring_driver_buffer buffers[SEG_MAX + 2];

    put_header(disk, IN, 0);
    buffers[0] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t i = 1; i <= SEG_MAX; i++)
        buffers[i] = (struct ring_driver_buffer){disk->data_gpa + (i - 1) * SECTOR, SECTOR, true};
    buffers[1].gpa = RING_DRIVER_NEXT_GPA - 1;
    buffers[SEG_MAX + 1] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
    assert_int_equal(submit(disk, buffers, SEG_MAX + 2), OK);
    expect_original(ring_driver_at(&disk->driver, RING_DRIVER_NEXT_GPA, SECTOR - 1), 1, SECTOR - 1);
    expect_original(disk->data + SECTOR, SECTOR, (SEG_MAX - 1) * SECTOR);
}

static void blk_06_last_sector_is_served(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, IN, SECTORS - 1, SECTOR), OK);
    expect_original(disk->data, (SECTORS - 1) * SECTOR, SECTOR);
    fill(disk, SECTOR, 4);
    assert_int_equal(request(disk, OUT, SECTORS - 1, SECTOR), OK);
    expect_image(disk, (SECTORS - 1) * SECTOR, disk->data, SECTOR);
}

static void blk_06_whole_disk_in_one_request_is_served(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(request(disk, IN, 0, SECTORS * SECTOR), OK);
    expect_original(disk->data, 0, SECTORS * SECTOR);
}

static void blk_06_sectors_beyond_capacity_give_ioerr(void **state)
{
    struct disk *disk = *state;
    const struct {
        uint64_t sector;
        uint32_t sectors;
    } cases[] = {
        {SECTORS, 1},
        {SECTORS + 1, 1},
        {SECTORS - 1, 2},
        {1, SECTORS},
        {1ull << 31, 1},
        {1ull << 32, 1},
        {(1ull << 55) - 1, 1}, /* from here on sector * 512 needs more than 64 bits, or nearly */
        {1ull << 55, 1},
        {(1ull << 55) + 1, 1},
        {1ull << 63, 1},
        {UINT64_MAX / SECTOR, 1},
        {UINT64_MAX - SECTORS + 1, SECTORS}, /* sector + sectors is 0 */
        {UINT64_MAX - 1, 2},
        {UINT64_MAX - 1, 1},
        {UINT64_MAX, 1},
        {UINT64_MAX, 2},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(request(disk, IN, cases[i].sector, cases[i].sectors * SECTOR), IOERR);
        assert_int_equal(request(disk, OUT, cases[i].sector, cases[i].sectors * SECTOR), IOERR);
    }
    expect_untouched(disk->data, DATA_BYTES);
    expect_image_original(disk);
}

/* ---- BLK-7: completion ---- */

/* Stepped, the order shows: the step before the one that moves the used index has the status in place. */
static void blk_07_status_is_written_before_the_used_index(void **state)
{
    struct disk *disk = *state;
    const struct ring_driver_buffer buffers[] = {
        {disk->header_gpa, 16, false}, {disk->data_gpa, SECTOR, true}, {disk->status_gpa, 1, true}};
    bool before = false;

    if (!stepped)
        return;
    put_header(disk, IN, 1);
    assert_int_not_equal(ring_driver_add(&disk->queue, buffers, 3), RING_DRIVER_FULL);
    ring_driver_kick(&disk->queue);
    while (!ring_driver_used(&disk->queue)) {
        before = *disk->status == OK;
        assert_true(aero_sim_device_step(disk->driver.device));
    }
    assert_true(before);
    assert_true(ring_driver_wait(&disk->queue, NULL, NULL));
}

static void blk_07_used_length_is_zero_whatever_was_written(void **state)
{
    struct disk *disk = *state;

    /* submit asserts it */
    assert_int_equal(request(disk, IN, 0, 64 * SECTOR), OK);
    assert_int_equal(request(disk, OUT, 0, 64 * SECTOR), OK);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    assert_int_equal(request(disk, GET_ID, 0, 0), UNSUPP);
    assert_int_equal(request(disk, IN, SECTORS, SECTOR), IOERR);
}

static void blk_07_full_queue_completes_with_a_status_each(void **state)
{
    struct disk *disk = *state;
    uint64_t statuses = ring_driver_allocate(&disk->driver, 64, 1);
    uint8_t *status = ring_driver_at(&disk->driver, statuses, 64);

    put_header(disk, FLUSH, 0);
    memset(status, UNTOUCHED, 64);
    for (uint32_t i = 0; i < 64; i++) {
        const struct ring_driver_buffer buffers[] = {{disk->header_gpa, 16, false}, {statuses + i, 1, true}};

        assert_int_not_equal(ring_driver_add(&disk->queue, buffers, 2), RING_DRIVER_FULL);
    }
    ring_driver_kick(&disk->queue);
    for (uint32_t i = 0; i < 64; i++)
        assert_true(ring_driver_wait(&disk->queue, NULL, NULL));
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(status[i], OK);
}

/* ---- BLK-8: durability ---- */

/* As far as it can be seen from outside: what was written before a FLUSH is in the file once it completed. */
static void blk_08_flushed_data_outlive_the_device(void **state)
{
    struct disk *disk = *state;
    static uint8_t written[16 * SECTOR];

    fill(disk, sizeof written, 5);
    memcpy(written, disk->data, sizeof written);
    assert_int_equal(request(disk, OUT, 30, sizeof written), OK);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    expect_image(disk, 30 * SECTOR, written, sizeof written);
    ring_driver_queue_destroy(&disk->queue);
    ring_driver_destroy(&disk->driver);
    expect_image(disk, 30 * SECTOR, written, sizeof written);
    assert_int_equal(temp_file_size(disk->path), SECTORS * SECTOR);
}

#ifndef _WIN32
static void blk_08_each_flush_syncs_once_before_it_completes(void **state)
{
    struct disk *disk = *state;
    uint32_t before = atomic_load(&syncs);

    fill(disk, SECTOR, 6);
    assert_int_equal(request(disk, OUT, 0, SECTOR), OK);
    assert_int_equal(atomic_load(&syncs), before);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    assert_int_equal(atomic_load(&syncs), before + 1);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    assert_int_equal(atomic_load(&syncs), before + 2);
}

static void blk_08_sync_that_fails_gives_ioerr(void **state)
{
    struct disk *disk = *state;

    atomic_store(&syncs_fail, 1);
    request(disk, FLUSH, 0, 0);
    atomic_store(&syncs_fail, 0);
    assert_int_equal(*disk->status, IOERR);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
}

/* ---- Faults of the host ---- */

static void blk_06_image_that_shrank_gives_ioerr(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(truncate(disk->path, 3 * SECTOR + 100), 0);
    assert_int_equal(request(disk, IN, 2, SECTOR), OK);
    assert_int_equal(request(disk, IN, 3, SECTOR), IOERR);
    assert_int_equal(request(disk, IN, SECTORS - 1, SECTOR), IOERR);
}

static void test_blk_host_refuses_to_write_gives_ioerr(void **state)
{
    struct disk *disk = *state;
    struct rlimit old, none;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    /* Nothing may be printed meanwhile: it could be to a file. */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    request(disk, OUT, 0, SECTOR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(*disk->status, IOERR);
    expect_image_original(disk);
}
#endif

static void test_blk_read_only_image_refuses_out_alone(void **state)
{
    struct disk *disk = *state;

    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, true), AERO_SIM_OK);
    power_on(disk);
    assert_int_equal(request(disk, OUT, 0, SECTOR), IOERR);
    assert_int_equal(request(disk, FLUSH, 0, 0), OK);
    assert_int_equal(request(disk, IN, 6, SECTOR), OK);
    expect_original(disk->data, 6 * SECTOR, SECTOR);
    expect_image_original(disk);
}

/* ---- Images that can't be opened ---- */

/* Start fails with that text, on one line, and leaves a device that can be destroyed. */
static void expect_start_fails(struct disk *disk, const char *path, const char *text)
{
    char expected[256];
    const char *error;

    if (path)
        assert_int_equal(aero_sim_device_set_backend(disk->driver.device, path, false), AERO_SIM_OK);
    assert_int_equal(ring_driver_start(&disk->driver), AERO_SIM_IO);
    error = aero_sim_device_error(disk->driver.device);
    snprintf(expected, sizeof expected, path ? "image '%s': %s" : "%.0s%s", path ? path : "", text);
    assert_string_equal(error, expected);
}

static void test_blk_image_missing_is_said(void **state)
{
    expect_start_fails(*state, "no-such-image.img", "No such file or directory");
}

static void test_blk_image_empty_is_said(void **state)
{
    struct disk *disk = *state;

    assert_true(temp_file_create(disk->path, 0));
    expect_start_fails(disk, disk->path, "is empty, a disk has at least 512 bytes");
}

static void test_blk_image_of_1000_bytes_is_said(void **state)
{
    struct disk *disk = *state;

    assert_true(temp_file_create(disk->path, 1000));
    expect_start_fails(disk, disk->path, "1000 bytes is no multiple of 512");
}

static void test_blk_image_that_is_a_folder_is_said(void **state)
{
#ifdef _WIN32
    expect_start_fails(*state, ".", "is a directory, not a regular file");
#else
    expect_start_fails(*state, ".", "is a directory, not a regular file or block device");
#endif
}

static void test_blk_no_image_is_said(void **state)
{
    struct disk *disk = *state;

    aero_sim_device_destroy(disk->driver.device);
    assert_int_equal(aero_sim_device_create(&sim_model_blk, disk->driver.memory, disk->driver.worker,
                                            &disk->driver.device),
                     0);
    expect_start_fails(disk, NULL, "blk needs an image file");
}

static void test_blk_one_sector_image_is_a_disk(void **state)
{
    struct disk *disk = *state;

    assert_true(temp_file_create(disk->path, SECTOR));
    power_on(disk);
    assert_int_equal(request(disk, IN, 0, SECTOR), OK);
    expect_original(disk->data, 0, SECTOR);
    assert_int_equal(request(disk, IN, 1, SECTOR), IOERR);
}

/* ---- At length ---- */

static void com_08_reset_and_a_second_bring_up_serve_again(void **state)
{
    struct disk *disk = *state;

    for (uint32_t round = 0; round < 3; round++) {
        assert_int_equal(request(disk, IN, round, SECTOR), OK);
        expect_original(disk->data, round * SECTOR, SECTOR);
        assert_true(ring_driver_bring_up(&disk->driver, RING_DRIVER_ALL_FEATURES));
        ring_driver_queue_destroy(&disk->queue);
        assert_true(ring_driver_queue_create(&disk->queue, &disk->driver, 0));
        ring_driver_add_status(&disk->driver, RING_DRIVER_DRIVER_OK);
        assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG, 4), SECTORS);
    }
}

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
    static uint8_t shadow[SECTORS * SECTOR];
    struct disk *disk = *state;
    uint32_t seed = 20240607;

    for (uint32_t i = 0; i < sizeof shadow; i++)
        shadow[i] = temp_file_byte(i);
    for (uint32_t turn = 0; turn < 1500; turn++) {
        uint32_t sector = dice(&seed) % (SECTORS + 8);
        uint32_t bytes = dice(&seed) % 9 * SECTOR + (dice(&seed) % 16 ? 0 : 1 + dice(&seed) % 511);
        uint32_t piece = 64 + dice(&seed) % 4096;
        bool out = dice(&seed) % 2;
        bool fits = bytes && bytes % SECTOR == 0 && sector + bytes / SECTOR <= SECTORS;

        fill(disk, bytes, turn);
        if (out && fits)
            memcpy(shadow + sector * SECTOR, disk->data, bytes);
        assert_int_equal(request_cut(disk, out ? OUT : IN, sector, bytes, piece), fits ? OK : IOERR);
        if (!out && fits)
            assert_memory_equal(disk->data, shadow + sector * SECTOR, bytes);
    }
    assert_int_equal(temp_file_size(disk->path), sizeof shadow);
    expect_image(disk, 0, shadow, sizeof shadow);
    assert_int_equal(ring_driver_breaches(&disk->driver, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define RAW_TEST(name) \
    cmocka_unit_test_setup_teardown(name, set_up_raw, tear_down) /* configures, then starts */

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(blk_01_has_one_queue_of_128),
        TEST(blk_02_offers_exactly_its_features),
        RAW_TEST(blk_02_read_only_image_offers_no_ro),
        TEST(blk_03_config_is_laid_out_byte_for_byte),
        TEST(blk_03_config_writes_change_nothing),
        TEST(blk_04_header_in_any_number_of_pieces_is_read),
        TEST(blk_04_header_and_data_in_one_buffer_are_told_apart),
        TEST(blk_04_data_and_status_in_one_buffer_are_told_apart),
        TEST(blk_04_indirect_request_is_served),
        TEST(blk_04_nonzero_ioprio_changes_nothing),
        TEST(blk_04_short_header_gives_ioerr),
        TEST(blk_04_no_header_gives_ioerr),
        TEST(blk_04_status_alone_gives_ioerr),
        TEST(blk_04_no_room_for_status_completes_and_does_nothing),
        TEST(blk_04_empty_chain_completes_and_does_nothing),
        TEST(blk_04_header_overwritten_while_served_is_not_read_again),
        TEST(dma_03_buffers_across_a_region_border_are_served),
        TEST(dma_04_buffers_above_4_gib_are_served),
        TEST(blk_05_in_reads_the_image),
        TEST(blk_05_out_writes_the_image_there_and_nowhere_else),
        TEST(blk_05_flush_needs_no_data_and_no_sector),
        TEST(blk_05_any_other_type_gives_unsupp),
        TEST(blk_05_in_with_readable_data_gives_ioerr),
        TEST(blk_05_out_with_writable_data_gives_ioerr),
        TEST(blk_05_flush_with_data_gives_ioerr),
        TEST(blk_06_no_data_gives_ioerr),
        TEST(blk_06_data_of_no_length_gives_ioerr),
        TEST(blk_06_total_not_multiple_of_512_gives_ioerr),
        TEST(blk_06_odd_pieces_of_a_whole_total_are_served),
        TEST(blk_06_seg_max_segments_are_served),
        TEST(blk_06_more_than_seg_max_segments_give_ioerr),
        RAW_TEST(blk_06_more_than_seg_max_segments_in_a_larger_queue_give_ioerr),
        TEST(blk_06_seg_max_segments_with_one_across_a_region_border_are_served),
        TEST(blk_06_last_sector_is_served),
        TEST(blk_06_whole_disk_in_one_request_is_served),
        TEST(blk_06_sectors_beyond_capacity_give_ioerr),
        TEST(blk_07_status_is_written_before_the_used_index),
        TEST(blk_07_used_length_is_zero_whatever_was_written),
        TEST(blk_07_full_queue_completes_with_a_status_each),
        TEST(blk_08_flushed_data_outlive_the_device),
#ifndef _WIN32
        RAW_TEST(blk_03_capacity_beyond_32_bits_is_told_and_served),
        TEST(blk_08_each_flush_syncs_once_before_it_completes),
        TEST(blk_08_sync_that_fails_gives_ioerr),
        TEST(blk_06_image_that_shrank_gives_ioerr),
        TEST(test_blk_host_refuses_to_write_gives_ioerr),
#endif
        RAW_TEST(test_blk_read_only_image_refuses_out_alone),
        RAW_TEST(test_blk_image_missing_is_said),
        RAW_TEST(test_blk_image_empty_is_said),
        RAW_TEST(test_blk_image_of_1000_bytes_is_said),
        RAW_TEST(test_blk_image_that_is_a_folder_is_said),
        RAW_TEST(test_blk_no_image_is_said),
        RAW_TEST(test_blk_one_sector_image_is_a_disk),
        TEST(com_08_reset_and_a_second_bring_up_serve_again),
        TEST(test_blk_random_requests_match_a_shadow),
    };
    int failed;

    test_program(argc, argv, tests);
    stepped = true;
    failed = cmocka_run_group_tests_name("blk, stepped", tests, NULL, NULL);
    stepped = false;
    return failed + cmocka_run_group_tests_name("blk, with a worker", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For the suites of the virtio-blk model: a disk over a temporary image, brought up through aero_sim.h alone,
 * and requests to it. Fails the test by CMocka: on the test's thread only.
 */
#ifndef BLK_DISK_H
#define BLK_DISK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ring_driver.h"
#include "temp_file.h"

/* Request types, those that BLK-5 serves and some that it refuses; and status bytes. */
enum { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_WRITE_ZEROES = 13 };
enum { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2, BLK_UNTOUCHED = 0xA5 /* what stood there before */ };

#define BLK_SECTOR     512u
#define BLK_SECTORS    256u /* of the image, as it is made */
#define BLK_SEG_MAX    126u
#define BLK_DATA_BYTES 0x20000u

struct blk_disk {
    struct ring_driver driver;
    struct ring_driver_queue queue;
    char path[TEMP_FILE_PATH_MAX];
    uint64_t header_gpa, status_gpa, data_gpa; /* 16 bytes, 1 byte, BLK_DATA_BYTES */
    uint8_t *header, *status, *data;
};

/* ---- The disk: *state is a struct blk_disk ---- */

/* Set-ups of a group: its disks are stepped, or have a worker. */
int blk_disk_stepped(void **state);
int blk_disk_with_worker(void **state);

/*
 * BLK_TEST: the disk is at DRIVER_OK. BLK_RAW_TEST: the image exists and the device is created; the test may
 * configure both, and then calls blk_disk_power_on.
 */
#define BLK_TEST(name)     cmocka_unit_test_setup_teardown(name, blk_disk_set_up, blk_disk_tear_down)
#define BLK_RAW_TEST(name) cmocka_unit_test_setup_teardown(name, blk_disk_set_up_raw, blk_disk_tear_down)
int blk_disk_set_up(void **state);
int blk_disk_set_up_raw(void **state);
int blk_disk_tear_down(void **state);
void blk_disk_power_on(struct blk_disk *disk);

/* ---- Requests ---- */

void blk_put_header(struct blk_disk *disk, uint32_t type, uint64_t sector);
/* Submits a chain as it is and sees it completed with length 0 (BLK-7). Answers the status byte. */
uint8_t blk_submit(struct blk_disk *disk, const struct ring_driver_buffer *buffers, uint32_t count);
/*
 * A request whose data are the first bytes of disk->data, cut into pieces of piece bytes; each its own
 * descriptor, as are header and status.
 */
uint8_t blk_request_cut(struct blk_disk *disk, uint32_t type, uint64_t sector, uint32_t bytes,
                        uint32_t piece);
/* The same with the data in one piece. */
uint8_t blk_request(struct blk_disk *disk, uint32_t type, uint64_t sector, uint32_t bytes);

/* Fills disk->data with bytes that follow from the seed. */
void blk_fill(struct blk_disk *disk, uint32_t length, uint32_t seed);

/* Do the bytes equal those that the image was made with, at that offset? */
void blk_expect_original(const uint8_t *bytes, uint64_t offset, uint32_t length);
void blk_expect_untouched(const uint8_t *bytes, uint32_t length);
/* The image by another handle: still as it was made; or with these bytes at that offset. */
void blk_expect_image_original(const struct blk_disk *disk);
void blk_expect_image(const struct blk_disk *disk, uint64_t offset, const uint8_t *bytes, uint32_t length);

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A disk for the virtio-blk suites; see blk_disk.h. */
#include "blk_disk.h"

#include <string.h>

#include "../../simulator/devices/devices.h"

/* ---- The disk ---- */

static struct blk_disk the_disk;
static bool stepped; /* the next disks: chosen for a group of tests */

int blk_disk_stepped(void **state)
{
    stepped = true;
    return 0;
}

int blk_disk_with_worker(void **state)
{
    stepped = false;
    return 0;
}

static void create(struct blk_disk *disk, uint64_t image_bytes)
{
    memset(disk, 0, sizeof *disk);
    temp_file_path(disk->path, "blk_disk");
    assert_true(temp_file_create(disk->path, image_bytes));
    assert_true(ring_driver_create(&disk->driver, &sim_model_blk, stepped));
    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, false), AERO_SIM_OK);
}

void blk_disk_power_on(struct blk_disk *disk)
{
    struct ring_driver *driver = &disk->driver;

    assert_int_equal(ring_driver_start(driver), AERO_SIM_OK);
    assert_true(ring_driver_bring_up(driver, RING_DRIVER_ALL_FEATURES));
    assert_true(ring_driver_queue_create(&disk->queue, driver, 0));
    ring_driver_add_status(driver, RING_DRIVER_DRIVER_OK);
    disk->header_gpa = ring_driver_allocate(driver, 16, 16);
    disk->status_gpa = ring_driver_allocate(driver, 1, 1);
    disk->data_gpa = ring_driver_allocate(driver, BLK_DATA_BYTES, 16);
    assert_true(disk->header_gpa && disk->status_gpa && disk->data_gpa);
    disk->header = ring_driver_at(driver, disk->header_gpa, 16);
    disk->status = ring_driver_at(driver, disk->status_gpa, 1);
    disk->data = ring_driver_at(driver, disk->data_gpa, BLK_DATA_BYTES);
    memset(disk->data, BLK_UNTOUCHED, BLK_DATA_BYTES);
}

int blk_disk_set_up_raw(void **state)
{
    create(&the_disk, BLK_SECTORS * BLK_SECTOR);
    *state = &the_disk;
    return 0;
}

int blk_disk_set_up(void **state)
{
    blk_disk_set_up_raw(state);
    blk_disk_power_on(&the_disk);
    return 0;
}

int blk_disk_tear_down(void **state)
{
    struct blk_disk *disk = *state;

    ring_driver_queue_destroy(&disk->queue);
    ring_driver_destroy(&disk->driver);
    temp_file_remove(disk->path);
    return 0;
}

/* ---- Requests ---- */

void blk_put_header(struct blk_disk *disk, uint32_t type, uint64_t sector)
{
    const uint32_t ioprio = 0;

    memcpy(disk->header, &type, 4);
    memcpy(disk->header + 4, &ioprio, 4);
    memcpy(disk->header + 8, &sector, 8);
    *disk->status = BLK_UNTOUCHED;
}

uint8_t blk_submit(struct blk_disk *disk, const struct ring_driver_buffer *buffers, uint32_t count)
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

uint8_t blk_request_cut(struct blk_disk *disk, uint32_t type, uint64_t sector, uint32_t bytes, uint32_t piece)
{
    struct ring_driver_buffer buffers[130];
    uint32_t count = 0;

    blk_put_header(disk, type, sector);
    buffers[count++] = (struct ring_driver_buffer){disk->header_gpa, 16, false};
    for (uint32_t at = 0; at < bytes; at += piece) {
        assert_true(count < 129);
        buffers[count++] = (struct ring_driver_buffer){
            disk->data_gpa + at, bytes - at < piece ? bytes - at : piece, type == BLK_IN};
    }
    buffers[count++] = (struct ring_driver_buffer){disk->status_gpa, 1, true};
    return blk_submit(disk, buffers, count);
}

uint8_t blk_request(struct blk_disk *disk, uint32_t type, uint64_t sector, uint32_t bytes)
{
    return blk_request_cut(disk, type, sector, bytes, bytes ? bytes : 1);
}

void blk_expect_original(const uint8_t *bytes, uint64_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], temp_file_byte(offset + i));
}

void blk_expect_untouched(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], BLK_UNTOUCHED);
}

void blk_expect_image_original(const struct blk_disk *disk)
{
    static uint8_t image[BLK_SECTORS * BLK_SECTOR];

    assert_int_equal(temp_file_size(disk->path), sizeof image);
    assert_true(temp_file_read(disk->path, 0, image, sizeof image));
    blk_expect_original(image, 0, sizeof image);
}

void blk_expect_image(const struct blk_disk *disk, uint64_t offset, const uint8_t *bytes, uint32_t length)
{
    static uint8_t image[BLK_SECTORS * BLK_SECTOR];

    assert_true(length <= sizeof image);
    assert_true(temp_file_read(disk->path, offset, image, length));
    assert_memory_equal(image, bytes, length);
}

void blk_fill(struct blk_disk *disk, uint32_t length, uint32_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        disk->data[i] = (uint8_t)((i + seed) * 2654435761u >> 24);
}

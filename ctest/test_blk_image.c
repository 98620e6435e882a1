/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk and its image file (BLK-8): what reached it, checked through a second handle; files that serve
 * badly or not at all. Tests whose fault the host has to be talked into (a full disk, a sync
 * that fails) run on Linux alone. Everything once stepped and once with a worker.
 */
#ifndef _WIN32
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../simulator/devices/devices.h"
#include "blk_disk.h"
#include "temp_file.h"
#include "test_program.h"

#ifndef _WIN32
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* These stand before libc's: the tests count host calls, and have syncs fail. Called on the worker. */
static _Atomic uint32_t transfers;

ssize_t preadv(int descriptor, const struct iovec *vector, int count, off_t offset)
{
    atomic_fetch_add(&transfers, 1);
    return syscall(SYS_preadv, descriptor, vector, count, (long)offset, (long)((uint64_t)offset >> 32));
}

ssize_t pwritev(int descriptor, const struct iovec *vector, int count, off_t offset)
{
    atomic_fetch_add(&transfers, 1);
    return syscall(SYS_pwritev, descriptor, vector, count, (long)offset, (long)((uint64_t)offset >> 32));
}

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

/* ---- BLK-3: a disk of more than 2 TiB ---- */

#ifndef _WIN32
/* A sparse file: 2 TiB and a sector, so that the capacity needs its high half. */
static void blk_03_capacity_beyond_32_bits_is_told_and_served(void **state)
{
    struct blk_disk *disk = *state;
    const uint64_t last = 1ull << 32;

    if (truncate(disk->path, (off_t)((last + 1) * BLK_SECTOR)) != 0) {
        print_message("no sparse file of 2 TiB here\n");
        skip();
    }
    blk_disk_power_on(disk);
    assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG, 4), 1);
    assert_int_equal(ring_driver_read(&disk->driver, RING_DRIVER_CONFIG + 4, 4), 1);
    blk_fill(disk, BLK_SECTOR, 1);
    assert_int_equal(blk_request(disk, BLK_OUT, last, BLK_SECTOR), BLK_OK);
    blk_expect_image(disk, last * BLK_SECTOR, disk->data, BLK_SECTOR);
    assert_int_equal(blk_request(disk, BLK_IN, 0, BLK_SECTOR), BLK_OK); /* and not to its low half */
    blk_expect_original(disk->data, 0, BLK_SECTOR);
    assert_int_equal(blk_request(disk, BLK_IN, last + 1, BLK_SECTOR), BLK_IOERR);
}
#endif

/* ---- BLK-8: durability ---- */

/* As far as it can be seen from outside: what was written before a FLUSH is in the file once it completed. */
static void blk_08_flushed_data_outlive_the_device(void **state)
{
    struct blk_disk *disk = *state;
    static uint8_t written[16 * BLK_SECTOR];

    blk_fill(disk, sizeof written, 5);
    memcpy(written, disk->data, sizeof written);
    assert_int_equal(blk_request(disk, BLK_OUT, 30, sizeof written), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    blk_expect_image(disk, 30 * BLK_SECTOR, written, sizeof written);
    ring_driver_queue_destroy(&disk->queue);
    ring_driver_destroy(&disk->driver);
    blk_expect_image(disk, 30 * BLK_SECTOR, written, sizeof written);
    assert_int_equal(temp_file_size(disk->path), BLK_SECTORS * BLK_SECTOR);
}

#ifndef _WIN32
static void blk_08_each_flush_syncs_once_before_it_completes(void **state)
{
    struct blk_disk *disk = *state;
    uint32_t before = atomic_load(&syncs);

    blk_fill(disk, BLK_SECTOR, 6);
    assert_int_equal(blk_request(disk, BLK_OUT, 0, BLK_SECTOR), BLK_OK);
    assert_int_equal(atomic_load(&syncs), before);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    assert_int_equal(atomic_load(&syncs), before + 1);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    assert_int_equal(atomic_load(&syncs), before + 2);
}

static void blk_08_sync_that_fails_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    atomic_store(&syncs_fail, 1);
    blk_request(disk, BLK_FLUSH, 0, 0);
    atomic_store(&syncs_fail, 0);
    assert_int_equal(*disk->status, BLK_IOERR);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
}

/* ---- Calls of the host ---- */

static void test_blk_request_of_many_segments_is_one_host_call(void **state)
{
    const uint32_t pieces[] = {2, 16, BLK_SEG_MAX};
    struct blk_disk *disk = *state;

    for (uint32_t i = 0; i < 3; i++) {
        uint32_t before = atomic_load(&transfers);

        assert_int_equal(blk_request_cut(disk, BLK_IN, 0, pieces[i] * BLK_SECTOR, BLK_SECTOR), BLK_OK);
        assert_int_equal(atomic_load(&transfers), before + 1);
        assert_int_equal(blk_request_cut(disk, BLK_OUT, 0, pieces[i] * BLK_SECTOR, BLK_SECTOR), BLK_OK);
        assert_int_equal(atomic_load(&transfers), before + 2);
    }
}

/* ---- Faults of the host ---- */

static void blk_06_image_that_shrank_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(truncate(disk->path, 3 * BLK_SECTOR + 100), 0);
    assert_int_equal(blk_request(disk, BLK_IN, 2, BLK_SECTOR), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_IN, 3, BLK_SECTOR), BLK_IOERR);
    assert_int_equal(blk_request(disk, BLK_IN, BLK_SECTORS - 1, BLK_SECTOR), BLK_IOERR);
    assert_int_equal(blk_request_cut(disk, BLK_IN, 0, 4 * BLK_SECTOR, BLK_SECTOR), BLK_IOERR);
}

static void test_blk_host_refuses_to_write_gives_ioerr(void **state)
{
    struct blk_disk *disk = *state;
    struct rlimit old, none;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    /* Nothing may be printed meanwhile: it could be to a file. */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    blk_request(disk, BLK_OUT, 0, BLK_SECTOR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(*disk->status, BLK_IOERR);
    blk_expect_image_original(disk);
}
#endif

/* ---- A read-only image ---- */

static void test_blk_read_only_image_refuses_out_alone(void **state)
{
    struct blk_disk *disk = *state;

    assert_int_equal(aero_sim_device_set_backend(disk->driver.device, disk->path, true), AERO_SIM_OK);
    blk_disk_power_on(disk);
    assert_int_equal(blk_request(disk, BLK_OUT, 0, BLK_SECTOR), BLK_IOERR);
    assert_int_equal(blk_request(disk, BLK_FLUSH, 0, 0), BLK_OK);
    assert_int_equal(blk_request(disk, BLK_IN, 6, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 6 * BLK_SECTOR, BLK_SECTOR);
    blk_expect_image_original(disk);
}

/* ---- Images that can't be opened ---- */

/* Start fails with that text, on one line, and leaves a device that can be destroyed. */
static void expect_start_fails(struct blk_disk *disk, const char *path, const char *text)
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
    struct blk_disk *disk = *state;

    assert_true(temp_file_create(disk->path, 0));
    expect_start_fails(disk, disk->path, "is empty, a disk has at least 512 bytes");
}

static void test_blk_image_of_1000_bytes_is_said(void **state)
{
    struct blk_disk *disk = *state;

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
    struct blk_disk *disk = *state;

    aero_sim_device_destroy(disk->driver.device);
    assert_int_equal(aero_sim_device_create(&sim_model_blk, disk->driver.memory, disk->driver.worker,
                                            &disk->driver.device),
                     0);
    expect_start_fails(disk, NULL, "blk needs an image file");
}

static void test_blk_one_sector_image_is_a_disk(void **state)
{
    struct blk_disk *disk = *state;

    assert_true(temp_file_create(disk->path, BLK_SECTOR));
    blk_disk_power_on(disk);
    assert_int_equal(blk_request(disk, BLK_IN, 0, BLK_SECTOR), BLK_OK);
    blk_expect_original(disk->data, 0, BLK_SECTOR);
    assert_int_equal(blk_request(disk, BLK_IN, 1, BLK_SECTOR), BLK_IOERR);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#ifndef _WIN32
        BLK_RAW_TEST(blk_03_capacity_beyond_32_bits_is_told_and_served),
#endif
        BLK_TEST(blk_08_flushed_data_outlive_the_device),
#ifndef _WIN32
        BLK_TEST(blk_08_each_flush_syncs_once_before_it_completes),
        BLK_TEST(blk_08_sync_that_fails_gives_ioerr),
        BLK_TEST(test_blk_request_of_many_segments_is_one_host_call),
        BLK_TEST(blk_06_image_that_shrank_gives_ioerr),
        BLK_TEST(test_blk_host_refuses_to_write_gives_ioerr),
#endif
        BLK_RAW_TEST(test_blk_read_only_image_refuses_out_alone),
        BLK_RAW_TEST(test_blk_image_missing_is_said),
        BLK_RAW_TEST(test_blk_image_empty_is_said),
        BLK_RAW_TEST(test_blk_image_of_1000_bytes_is_said),
        BLK_RAW_TEST(test_blk_image_that_is_a_folder_is_said),
        BLK_RAW_TEST(test_blk_no_image_is_said),
        BLK_RAW_TEST(test_blk_one_sector_image_is_a_disk),
    };
    int failed;

    test_program(argc, argv, tests);
    failed = cmocka_run_group_tests_name("blk image, stepped", tests, blk_disk_stepped, NULL);
    return failed +
           cmocka_run_group_tests_name("blk image, with a worker", tests, blk_disk_with_worker, NULL);
}

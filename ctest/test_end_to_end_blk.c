/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A disk, end to end: requests in the shape of BLK-4 through the real ring, interrupts and a DPC, to a
 * temporary image whose bytes are then read by another way. The status byte is filled with nonsense before
 * each request and is all that tells how it went (quirk 31). The referee is on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_scene.h"
#include "temp_file.h"
#include "test_program.h"

#define SECTOR     512u
#define SECTORS    128u
#define DATA_BYTES 0x2000u /* at most, a request */

enum { READ = 0, WRITE = 1, FLUSH = 4, DISCARD = 11 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xA5 };

static struct nt_scene scene;
static char path[TEMP_FILE_PATH_MAX];

static int set_up(void **state)
{
    *state = NULL;
    memset(&scene, 0, sizeof scene);
    temp_file_path(path, "test_end_to_end_blk");
    return temp_file_create(path, SECTORS * SECTOR) ? 0 : -1;
}

static int tear_down(void **state)
{
    uint32_t breaches = nt_scene_close(&scene);

    temp_file_remove(path);
    return breaches == 0 ? 0 : -1;
}

static void open_disk(uint16_t indirect)
{
    assert_true(nt_scene_create(&scene, aero_sim_model_find("blk"), NULL));
    assert_int_equal(aero_sim_device_set_backend(scene.rig.devices[0].device, path, false), AERO_SIM_OK);
    assert_true(nt_scene_power_on(&scene, 0));
    scene.config.IndirectEntries = indirect;
    assert_int_equal(nt_scene_start(&scene), STATUS_SUCCESS);
}

/* ---- Requests ---- */

/* Where a request keeps its things in the scene's buffer. Requests 0 to 3 don't meet. */
static uint8_t *data_of(uint32_t request)
{
    return scene.buffer + 0x1000 + DATA_BYTES * request;
}

static uint8_t *status_of(uint32_t request)
{
    return scene.buffer + 64 * request + 32;
}

static uint64_t gpa_of(const uint8_t *at)
{
    return scene.buffer_gpa + (uint64_t)(at - scene.buffer);
}

/* The data in pieces of `cut` bytes, 0: in one. Odd cuts are as good as any (DMA-3). */
static NTSTATUS submit(uint32_t request, uint32_t type, uint64_t sector, uint32_t bytes, uint32_t cut)
{
    uint8_t *header = scene.buffer + 64 * request;
    AERO_VIRTIO_SEGMENT segments[64];
    uint32_t count = 1, reserved = 0, readable;

    memset(segments, 0, sizeof segments);
    memcpy(header, &type, 4);
    memcpy(header + 4, &reserved, 4);
    memcpy(header + 8, &sector, 8);
    *status_of(request) = UNTOUCHED;
    segments[0] = (AERO_VIRTIO_SEGMENT){gpa_of(header), 16, 0};
    for (uint32_t done = 0; done < bytes; count++) {
        uint32_t part = cut && bytes - done > cut ? cut : bytes - done;

        segments[count] = (AERO_VIRTIO_SEGMENT){gpa_of(data_of(request)) + done, part, 0};
        done += part;
    }
    readable = type == WRITE ? count : 1;
    segments[count++] = (AERO_VIRTIO_SEGMENT){gpa_of(status_of(request)), 1, 0};
    return NtDriverSubmit(&scene.driver, 0, segments, (USHORT)readable, (USHORT)(count - readable),
                          (PVOID)(uintptr_t)request);
}

/* One request from submission to interrupt; its status byte. */
static uint8_t run(uint32_t request, uint32_t type, uint64_t sector, uint32_t bytes, uint32_t cut)
{
    uint32_t completed = scene.completed;

    assert_int_equal(submit(request, type, sector, bytes, cut), STATUS_SUCCESS);
    assert_true(nt_scene_await(&scene, completed + 1));
    assert_int_equal(scene.cookies[request].length, 0); /* BLK-7 */
    return *status_of(request);
}

static void expect_image(uint64_t sector, const uint8_t *data, uint32_t bytes)
{
    uint8_t image[DATA_BYTES];

    assert_true(temp_file_read(path, sector * SECTOR, image, bytes));
    assert_memory_equal(image, data, bytes);
}

/* ---- Tests ---- */

static void blk_03_capacity_is_read_by_the_driver(void **state)
{
    ULONGLONG capacity;

    open_disk(0);
    assert_int_equal(scene.driver.Queues[0].Size, 128);
    assert_int_equal(AeroVirtioReadDeviceConfig(&scene.driver.Transport, 0, &capacity, sizeof capacity),
                     STATUS_SUCCESS);
    assert_true(capacity == SECTORS);
    assert_true(scene.driver.Features & (1u << 9)); /* FLUSH */
}

static void read_write_and_flush(uint16_t indirect, uint32_t cut)
{
    uint8_t *data;

    open_disk(indirect);
    data = data_of(0);
    memset(data, 0xEE, DATA_BYTES);
    assert_int_equal(run(0, READ, 5, 8 * SECTOR, cut), OK);
    for (uint32_t i = 0; i < 8 * SECTOR; i++)
        assert_int_equal(data[i], temp_file_byte(5 * SECTOR + i));
    assert_int_equal(data[8 * SECTOR], 0xEE);
    data = data_of(1);
    for (uint32_t i = 0; i < 6 * SECTOR; i++)
        data[i] = (uint8_t)(i * 11 + i / 256 + 3);
    assert_int_equal(run(1, WRITE, 7, 6 * SECTOR, cut), OK);
    assert_int_equal(run(2, FLUSH, 0, 0, 0), OK);
    expect_image(7, data, 6 * SECTOR);
    assert_int_equal(run(0, READ, 7, 6 * SECTOR, cut), OK);
    assert_memory_equal(data_of(0), data, 6 * SECTOR);
    assert_int_equal(NtDriverStop(&scene.driver), STATUS_SUCCESS);
    assert_int_equal(aero_nt_live_count(scene.rig.nt), 1);
}

static void test_disk_direct_reads_writes_and_flushes(void **state)
{
    read_write_and_flush(0, 0);
}

static void test_disk_indirect_reads_writes_and_flushes(void **state)
{
    read_write_and_flush(64, 0);
}

static void test_disk_data_in_odd_pieces_reads_writes_and_flushes(void **state)
{
    read_write_and_flush(64, 333);
}

static void blk_05_unknown_type_and_beyond_the_end_are_told_in_the_status_byte(void **state)
{
    open_disk(0);
    assert_int_equal(run(0, DISCARD, 0, SECTOR, 0), UNSUPP);
    assert_int_equal(run(1, READ, SECTORS, SECTOR, 0), IOERR);
    assert_int_equal(run(2, WRITE, SECTORS - 1, 2 * SECTOR, 0), IOERR);
    assert_int_equal(run(3, WRITE, UINT64_MAX, SECTOR, 0), IOERR);
    assert_int_equal(run(0, READ, SECTORS - 1, SECTOR, 0), OK);
    assert_int_equal(atomic_load(&scene.rig.device_breaches), 0);
}

/* Four requests at a time, and again: every sector of the disk written, then read back. */
static void test_disk_several_requests_in_flight_keep_their_data(void **state)
{
    open_disk(8);
    for (uint32_t sector = 0; sector < SECTORS; sector += 4) {
        for (uint32_t request = 0; request < 4; request++) {
            memset(data_of(request), (int)(sector + request + 1), SECTOR);
            assert_int_equal(submit(request, WRITE, sector + request, SECTOR, 100), STATUS_SUCCESS);
        }
        assert_true(nt_scene_await(&scene, sector + 4));
        for (uint32_t request = 0; request < 4; request++)
            assert_int_equal(*status_of(request), OK);
    }
    assert_int_equal(run(0, FLUSH, 0, 0, 0), OK);
    for (uint32_t sector = 0; sector < SECTORS; sector++) {
        uint8_t expected[SECTOR];

        memset(expected, (int)(sector + 1), sizeof expected);
        expect_image(sector, expected, SECTOR);
    }
}

/*
 * A reset with requests in flight: each comes back once, completed or cancelled, and the disk works
 * afterwards.
 */
static void test_disk_reset_in_flight_gives_each_request_back_once(void **state)
{
    open_disk(8);
    for (uint32_t round = 0; round < 50; round++) {
        uint32_t back = scene.completed + scene.cancelled;

        for (uint32_t request = 0; request < 4; request++)
            assert_int_equal(submit(request, READ, request, SECTOR, 0), STATUS_SUCCESS);
        assert_int_equal(NtDriverRecover(&scene.driver), STATUS_SUCCESS);
        assert_int_equal(scene.completed + scene.cancelled, back + 4);
        assert_int_equal(NtDriverInFlight(&scene.driver, 0), 0);
        assert_int_equal(run(0, READ, round, SECTOR, 0), OK);
        assert_int_equal(data_of(0)[9], temp_file_byte(round * SECTOR + 9));
    }
    assert_int_equal(scene.strange, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(blk_03_capacity_is_read_by_the_driver),
        TEST(test_disk_direct_reads_writes_and_flushes),
        TEST(test_disk_indirect_reads_writes_and_flushes),
        TEST(test_disk_data_in_odd_pieces_reads_writes_and_flushes),
        TEST(blk_05_unknown_type_and_beyond_the_end_are_told_in_the_status_byte),
        TEST(test_disk_several_requests_in_flight_keep_their_data),
        TEST(test_disk_reset_in_flight_gives_each_request_back_once),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("end to end, disk", tests, NULL, NULL);
}

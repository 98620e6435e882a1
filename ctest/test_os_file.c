/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The host's floor, os.h: files. The same tests on Linux and on Windows; where a host can't be brought into a
 * situation, the test is left out there.
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

#include "os.h"
#include "temp_file.h"
#include "test_program.h"

#ifndef _WIN32
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Stand before libc's, so that the host may be made to stop short. Each call moves vector_most bytes at most
 * (0: any number); every second one is interrupted instead if vector_interrupts.
 */
static size_t vector_most;
static bool vector_interrupts;
static uint32_t vector_calls;

static ssize_t moved(long call, int descriptor, const struct iovec *vector, int count, off_t offset)
{
    struct iovec shorter[IOV_MAX];
    size_t room = vector_most ? vector_most : SIZE_MAX;

    if (vector_interrupts && vector_calls++ % 2) {
        errno = EINTR;
        return -1;
    }
    assert_in_range(count, 1, IOV_MAX);
    for (int i = 0; i < count; i++) {
        shorter[i] = vector[i];
        if (shorter[i].iov_len > room)
            shorter[i].iov_len = room;
        room -= shorter[i].iov_len;
    }
    return syscall(call, descriptor, shorter, count, (long)offset, (long)((uint64_t)offset >> 32));
}

ssize_t preadv(int descriptor, const struct iovec *vector, int count, off_t offset)
{
    return moved(SYS_preadv, descriptor, vector, count, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *vector, int count, off_t offset)
{
    return moved(SYS_pwritev, descriptor, vector, count, offset);
}
#endif

/* ---- Reading and writing ---- */

struct file_fixture {
    char path[TEMP_FILE_PATH_MAX];
    char error[256];
    struct sim_os_file *file;
};

static int set_up_file(void **state)
{
    static struct file_fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    temp_file_path(fixture.path, "test_os");
    if (!temp_file_create(fixture.path, 3000))
        return -1;
    fixture.file = sim_os_file_open(fixture.path, false, fixture.error, sizeof fixture.error);
    return fixture.file ? 0 : -1;
}

static int tear_down_file(void **state)
{
    struct file_fixture *fixture = *state;

    sim_os_file_close(fixture->file);
    return temp_file_remove(fixture->path) ? 0 : -1;
}

static void test_file_reads_at_offsets(void **state)
{
    struct file_fixture *fixture = *state;
    uint8_t bytes[100];

    assert_int_equal(sim_os_file_bytes(fixture->file), 3000);
    for (uint64_t offset = 0; offset <= 2900; offset += 290) {
        assert_true(sim_os_file_read(fixture->file, offset, bytes, sizeof bytes));
        for (uint32_t i = 0; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], temp_file_byte(offset + i));
    }
}

static void test_file_reads_beyond_its_end_are_refused(void **state)
{
    struct file_fixture *fixture = *state;
    uint8_t bytes[100];

    assert_false(sim_os_file_read(fixture->file, 2901, bytes, sizeof bytes));
    assert_false(sim_os_file_read(fixture->file, 3000, bytes, 1));
    assert_false(sim_os_file_read(fixture->file, 1ull << 40, bytes, 1));
    assert_true(sim_os_file_read(fixture->file, 3000, bytes, 0));
}

static void test_file_offsets_that_overflow_are_refused(void **state)
{
    struct file_fixture *fixture = *state;
    const uint64_t offsets[] = {UINT64_MAX, UINT64_MAX - 99, 1ull << 63, INT64_MAX, INT64_MAX - 50};
    uint8_t bytes[100] = {0};

    for (int i = 0; i < 5; i++) {
        assert_false(sim_os_file_read(fixture->file, offsets[i], bytes, sizeof bytes));
        assert_false(sim_os_file_write(fixture->file, offsets[i], bytes, sizeof bytes));
    }
    assert_int_equal(temp_file_size(fixture->path), 3000);
}

static void test_file_writes_are_seen_by_others_once_synced(void **state)
{
    struct file_fixture *fixture = *state;
    const uint8_t bytes[5] = {9, 8, 7, 6, 5};
    uint8_t seen[7];

    assert_true(sim_os_file_write(fixture->file, 1234, bytes, sizeof bytes));
    assert_true(sim_os_file_sync(fixture->file));
    assert_true(temp_file_read(fixture->path, 1233, seen, sizeof seen));
    assert_int_equal(seen[0], temp_file_byte(1233));
    assert_memory_equal(seen + 1, bytes, 5);
    assert_int_equal(seen[6], temp_file_byte(1239));
    assert_int_equal(temp_file_size(fixture->path), 3000);
}

static void test_file_read_only_refuses_writes_alone(void **state)
{
    struct file_fixture *fixture = *state;
    struct sim_os_file *file = sim_os_file_open(fixture->path, true, fixture->error, sizeof fixture->error);
    uint8_t byte = 1;

    assert_non_null(file);
    assert_false(sim_os_file_write(file, 0, &byte, 1));
    assert_true(sim_os_file_sync(file));
    assert_true(sim_os_file_read(file, 7, &byte, 1));
    assert_int_equal(byte, temp_file_byte(7));
    sim_os_file_close(file);
}

static void test_file_open_twice_is_one_file(void **state)
{
    struct file_fixture *fixture = *state;
    struct sim_os_file *file = sim_os_file_open(fixture->path, false, fixture->error, sizeof fixture->error);
    uint8_t byte = 0x5A;

    assert_non_null(file);
    assert_true(sim_os_file_write(file, 0, &byte, 1));
    byte = 0;
    assert_true(sim_os_file_read(fixture->file, 0, &byte, 1));
    assert_int_equal(byte, 0x5A);
    sim_os_file_close(file);
}

static void test_file_close_of_none_is_harmless(void **state)
{
    sim_os_file_close(NULL);
}

/* ---- Several buffers at once ---- */

#define FILE_BYTES 3000u
#define GUARD      0xEE

/* Cuts length bytes into buffers of `piece` bytes; an empty one stands behind each seventh. */
static size_t cut(struct sim_os_buffer *buffers, uint8_t *bytes, size_t length, size_t piece)
{
    size_t count = 0;

    for (size_t at = 0; at < length; at += piece) {
        buffers[count++] = (struct sim_os_buffer){bytes + at, length - at < piece ? length - at : piece};
        if (count % 8 == 7)
            buffers[count++] = (struct sim_os_buffer){NULL, 0};
    }
    return count;
}

/* Reads and writes the file but for its first and last byte, in such pieces, and looks at each byte. */
static void move_in_pieces(struct file_fixture *fixture, size_t piece)
{
    static struct sim_os_buffer buffers[2 * FILE_BYTES];
    static uint8_t bytes[FILE_BYTES], seen[FILE_BYTES];
    const size_t length = FILE_BYTES - 2;
    size_t count = cut(buffers, bytes + 1, length, piece);

    memset(bytes, GUARD, sizeof bytes);
    assert_true(sim_os_file_read_vector(fixture->file, 1, buffers, count));
    for (size_t i = 1; i <= length; i++)
        assert_int_equal(bytes[i], temp_file_byte(i));
    assert_int_equal(bytes[0], GUARD);
    assert_int_equal(bytes[length + 1], GUARD);

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)~temp_file_byte(i);
    assert_true(sim_os_file_write_vector(fixture->file, 1, buffers, count));
    bytes[0] = temp_file_byte(0);
    bytes[length + 1] = temp_file_byte(length + 1);
    assert_true(temp_file_read(fixture->path, 0, seen, sizeof seen));
    assert_memory_equal(seen, bytes, sizeof seen);
    assert_int_equal(temp_file_size(fixture->path), FILE_BYTES);
    assert_true(temp_file_create(fixture->path, FILE_BYTES));
}

static void test_file_vector_moves_every_buffer_in_order(void **state)
{
    move_in_pieces(*state, 1000);
    move_in_pieces(*state, 77);
    move_in_pieces(*state, FILE_BYTES);
}

/* More than 3000 of them; no host takes more than 1024 in one call. */
static void test_file_vector_of_more_buffers_than_a_host_takes_at_once_is_moved(void **state)
{
    move_in_pieces(*state, 1);
}

static void test_file_vector_of_no_bytes_is_done_at_once(void **state)
{
    struct file_fixture *fixture = *state;
    const struct sim_os_buffer empty[] = {{NULL, 0}, {NULL, 0}};

    assert_true(sim_os_file_read_vector(fixture->file, 0, NULL, 0));
    assert_true(sim_os_file_write_vector(fixture->file, 0, NULL, 0));
    assert_true(sim_os_file_read_vector(fixture->file, FILE_BYTES, empty, 2));
    assert_true(sim_os_file_write_vector(fixture->file, FILE_BYTES + 1, empty, 2));
    assert_int_equal(temp_file_size(fixture->path), FILE_BYTES);
}

static void test_file_vector_read_beyond_its_end_is_refused(void **state)
{
    struct file_fixture *fixture = *state;
    uint8_t bytes[4];
    const struct sim_os_buffer buffers[] = {{bytes, 2}, {bytes + 2, 1}, {NULL, 0}, {bytes + 3, 1}};

    assert_true(sim_os_file_read_vector(fixture->file, FILE_BYTES - 4, buffers, 4));
    for (uint64_t offset = FILE_BYTES - 3; offset <= FILE_BYTES; offset++)
        assert_false(sim_os_file_read_vector(fixture->file, offset, buffers, 4));
}

static void test_file_vector_offsets_that_overflow_are_refused(void **state)
{
    struct file_fixture *fixture = *state;
    const uint64_t offsets[] = {UINT64_MAX, UINT64_MAX - 99, 1ull << 63, INT64_MAX};
    uint8_t bytes[100] = {0};
    const struct sim_os_buffer buffers[] = {{bytes, 50}, {bytes + 50, 50}};

    for (int i = 0; i < 4; i++) {
        assert_false(sim_os_file_read_vector(fixture->file, offsets[i], buffers, 2));
        assert_false(sim_os_file_write_vector(fixture->file, offsets[i], buffers, 2));
    }
    assert_int_equal(temp_file_size(fixture->path), FILE_BYTES);
}

static void test_file_vector_of_a_read_only_file_is_not_written(void **state)
{
    struct file_fixture *fixture = *state;
    struct sim_os_file *file = sim_os_file_open(fixture->path, true, fixture->error, sizeof fixture->error);
    uint8_t byte = 1;
    const struct sim_os_buffer buffer = {&byte, 1};

    assert_non_null(file);
    assert_false(sim_os_file_write_vector(file, 0, &buffer, 1));
    assert_true(sim_os_file_read_vector(file, 7, &buffer, 1));
    assert_int_equal(byte, temp_file_byte(7));
    sim_os_file_close(file);
}

#ifndef _WIN32
static void test_file_vector_goes_on_where_the_host_stopped(void **state)
{
    const size_t most[] = {1, 3, 76, 77, 78, 500};

    for (int i = 0; i < 6; i++) {
        vector_most = most[i];
        vector_interrupts = i % 2;
        move_in_pieces(*state, 77);
        move_in_pieces(*state, 2000);
    }
    vector_most = 0;
    vector_interrupts = false;
}
#endif

/* ---- Opening ---- */

/* "grün-漢": by its UTF-8 bytes here, by UTF-16 or by bytes where the file is made. */
static void test_file_path_is_utf8(void **state)
{
    static const char name[] = "gr\xC3\xBCn-\xE6\xBC\xA2.tmp";
    char error[256];
    struct sim_os_file *file;
    FILE *made;

#ifdef _WIN32
    made = _wfopen(L"gr\x00FCn-\x6F22.tmp", L"wb");
#else
    made = fopen(name, "wb");
#endif
    assert_non_null(made);
    fputs("12345", made);
    fclose(made);
    file = sim_os_file_open(name, true, error, sizeof error);
    assert_non_null(file);
    assert_int_equal(sim_os_file_bytes(file), 5);
    sim_os_file_close(file);
#ifdef _WIN32
    _wremove(L"gr\x00FCn-\x6F22.tmp");
#else
    remove(name);
#endif
}

/* Opening fails with exactly that line. */
static void expect_error(const char *path, bool read_only, const char *expected)
{
    char error[256] = "";

    assert_null(sim_os_file_open(path, read_only, error, sizeof error));
    assert_string_equal(error, expected);
}

static void test_file_missing_is_said(void **state)
{
    expect_error("no-such-file.img", false, "image 'no-such-file.img': No such file or directory");
    expect_error("no-such-file.img", true, "image 'no-such-file.img': No such file or directory");
    expect_error("no/such/folder.img", false, "image 'no/such/folder.img': No such file or directory");
    expect_error("", false, "image '': No such file or directory");
}

static void test_file_that_is_a_folder_is_said(void **state)
{
#ifdef _WIN32
    expect_error(".", false, "image '.': is a directory, not a regular file");
    expect_error(".", true, "image '.': is a directory, not a regular file");
#else
    expect_error(".", false, "image '.': is a directory, not a regular file or block device");
    expect_error(".", true, "image '.': is a directory, not a regular file or block device");
#endif
}

static void test_file_error_is_cut_to_its_room(void **state)
{
    char error[12];

    memset(error, '#', sizeof error);
    assert_null(sim_os_file_open("no-such-file.img", false, error, 10));
    assert_string_equal(error, "image 'no");
    assert_int_equal(error[10], '#');
    assert_null(sim_os_file_open("no-such-file.img", false, NULL, 0));
}

#ifdef _WIN32
static void test_file_path_that_is_no_utf8_is_said(void **state)
{
    expect_error("bad\xFFname", false, "image 'bad\xFFname': its path is no UTF-8");
}
#else
static void test_file_that_is_a_device_is_said(void **state)
{
    expect_error("/dev/null", false,
                 "image '/dev/null': is a character device, not a regular file or block device");
}

static void test_file_that_is_a_pipe_is_said_without_waiting(void **state)
{
    char path[TEMP_FILE_PATH_MAX], expected[256];

    temp_file_path(path, "test_os_pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(expected, sizeof expected, "image '%s': is a pipe, not a regular file or block device", path);
    expect_error(path, true, expected);
    expect_error(path, false, expected);
    temp_file_remove(path);
}

/* Root may open anything, so it becomes somebody else meanwhile. */
static void test_file_that_may_not_be_opened_is_said(void **state)
{
    char path[TEMP_FILE_PATH_MAX], expected[256], error[256];
    uid_t me = geteuid();
    struct sim_os_file *file, *read_only;

    temp_file_path(path, "test_os_denied");
    assert_true(temp_file_create(path, 512));
    assert_int_equal(chmod(path, 0), 0);
    if (me == 0)
        assert_int_equal(seteuid(65534), 0);
    file = sim_os_file_open(path, false, error, sizeof error);
    read_only = sim_os_file_open(path, true, expected, sizeof expected);
    if (me == 0)
        assert_int_equal(seteuid(0), 0);
    temp_file_remove(path);
    assert_null(file);
    assert_null(read_only);
    assert_non_null(strstr(expected, ": Permission denied"));
    snprintf(expected, sizeof expected, "image '%s': Permission denied (it must be readable and writable)",
             path);
    assert_string_equal(error, expected);
}
#endif

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_file, tear_down_file)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_file_reads_at_offsets),
        FILE_TEST(test_file_reads_beyond_its_end_are_refused),
        FILE_TEST(test_file_offsets_that_overflow_are_refused),
        FILE_TEST(test_file_writes_are_seen_by_others_once_synced),
        FILE_TEST(test_file_read_only_refuses_writes_alone),
        FILE_TEST(test_file_open_twice_is_one_file),
        cmocka_unit_test(test_file_close_of_none_is_harmless),
        FILE_TEST(test_file_vector_moves_every_buffer_in_order),
        FILE_TEST(test_file_vector_of_more_buffers_than_a_host_takes_at_once_is_moved),
        FILE_TEST(test_file_vector_of_no_bytes_is_done_at_once),
        FILE_TEST(test_file_vector_read_beyond_its_end_is_refused),
        FILE_TEST(test_file_vector_offsets_that_overflow_are_refused),
        FILE_TEST(test_file_vector_of_a_read_only_file_is_not_written),
        cmocka_unit_test(test_file_path_is_utf8),
        cmocka_unit_test(test_file_missing_is_said),
        cmocka_unit_test(test_file_that_is_a_folder_is_said),
        cmocka_unit_test(test_file_error_is_cut_to_its_room),
#ifdef _WIN32
        cmocka_unit_test(test_file_path_that_is_no_utf8_is_said),
#else
        FILE_TEST(test_file_vector_goes_on_where_the_host_stopped),
        cmocka_unit_test(test_file_that_is_a_device_is_said),
        cmocka_unit_test(test_file_that_is_a_pipe_is_said_without_waiting),
        cmocka_unit_test(test_file_that_may_not_be_opened_is_said),
#endif
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("os file", tests, NULL, NULL);
}

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
#include <sys/stat.h>
#include <unistd.h>
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
        cmocka_unit_test(test_file_path_is_utf8),
        cmocka_unit_test(test_file_missing_is_said),
        cmocka_unit_test(test_file_that_is_a_folder_is_said),
        cmocka_unit_test(test_file_error_is_cut_to_its_room),
#ifdef _WIN32
        cmocka_unit_test(test_file_path_that_is_no_utf8_is_said),
#else
        cmocka_unit_test(test_file_that_is_a_device_is_said),
        cmocka_unit_test(test_file_that_is_a_pipe_is_said_without_waiting),
        cmocka_unit_test(test_file_that_may_not_be_opened_is_said),
#endif
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("os file", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Files for tests, in the current folder (ctest's: the build tree), named after the process so that programs
 * that run side by side don't meet. Calls answer whether they succeeded; any thread.
 */
#ifndef TEMP_FILE_H
#define TEMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEMP_FILE_PATH_MAX 96

/* "NAME.PID.tmp" into path; nothing is created. */
void temp_file_path(char path[TEMP_FILE_PATH_MAX], const char *name);

/* Makes or replaces the file, with size bytes whose values follow from their offsets (temp_file_byte). */
bool temp_file_create(const char *path, uint64_t size);
uint8_t temp_file_byte(uint64_t offset);

/* length bytes from offset on, by a handle of its own; false where there are fewer. */
bool temp_file_read(const char *path, uint64_t offset, void *to, size_t length);

/* The size, or UINT64_MAX where there is no such file. */
uint64_t temp_file_size(const char *path);
bool temp_file_remove(const char *path);

#endif

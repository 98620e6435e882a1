/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Files for tests, by way of stdio alone: what os_*.c does is checked by other means than its own. */
#include "temp_file.h"

#include <stdio.h>
#include <unistd.h>

void temp_file_path(char path[TEMP_FILE_PATH_MAX], const char *name)
{
    snprintf(path, TEMP_FILE_PATH_MAX, "%s.%ld.tmp", name, (long)getpid());
}

uint8_t temp_file_byte(uint64_t offset)
{
    /* No two sectors alike, and none that repeats within. */
    return (uint8_t)(offset * 167 + offset / 251 * 13 + offset / 512);
}

bool temp_file_create(const char *path, uint64_t size)
{
    FILE *file = fopen(path, "wb");
    bool good = file != NULL;

    for (uint64_t i = 0; good && i < size; i++)
        good = putc(temp_file_byte(i), file) != EOF;
    return file && fclose(file) == 0 && good;
}

bool temp_file_read(const char *path, uint64_t offset, void *to, size_t length)
{
    FILE *file = fopen(path, "rb");
    bool good = file && fseeko(file, (off_t)offset, SEEK_SET) == 0 && fread(to, 1, length, file) == length;

    if (file)
        fclose(file);
    return good;
}

uint64_t temp_file_size(const char *path)
{
    FILE *file = fopen(path, "rb");
    off_t size = -1;

    if (file && fseeko(file, 0, SEEK_END) == 0)
        size = ftello(file);
    if (file)
        fclose(file);
    return size < 0 ? UINT64_MAX : (uint64_t)size;
}

bool temp_file_remove(const char *path)
{
    return remove(path) == 0;
}

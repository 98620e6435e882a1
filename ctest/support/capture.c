/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* See capture.h. By way of a temporary file, for Windows has no memory streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "capture.h"

#include <cmocka.h>

#include "temp_file.h"

void capture(void (*write)(FILE *stream), char *text, size_t room)
{
    char path[TEMP_FILE_PATH_MAX];
    FILE *stream;
    size_t length;

    temp_file_path(path, "capture");
    stream = fopen(path, "wb+");
    assert_non_null(stream);
    write(stream);
    assert_int_equal(ferror(stream), 0);
    rewind(stream);
    length = fread(text, 1, room - 1, stream);
    text[length] = '\0';
    assert_true(length < room - 1);
    fclose(stream);
    assert_true(temp_file_remove(path));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a function writes to a stream, as a string. Uses CMocka: what goes wrong fails the test. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stddef.h>
#include <stdio.h>

/* Calls write, and puts all that it wrote into text, which has room for that many bytes. Test's thread. */
void capture(void (*write)(FILE *stream), char *text, size_t room);

#endif

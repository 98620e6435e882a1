/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The main job: a whole disk image through the real transport and a simulated virtio-blk device, there and
 * back.
 */
#ifndef BENCH_IMAGE_JOB_H
#define BENCH_IMAGE_JOB_H

#include "bench.h"

/*
 * Makes an image or takes the user's; reads all of it through the ring and compares it with the file; writes
 * it through the ring to a second image, flushes, compares the files; lets e2fsck judge the copy. Prints a
 * line on each to stdout, or the line that says what went wrong. false: something did, or a signal came.
 */
bool image_job_run(struct bench_session *session);

#endif

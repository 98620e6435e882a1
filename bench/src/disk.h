/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk from the driver's side (BLK-3, BLK-4): requests over the reference driver, for the image job and
 * the blk rows. Made and waited for by the virtual CPU's thread; completions are noted by the DPC.
 */
#ifndef BENCH_DISK_H
#define BENCH_DISK_H

#include "rig.h"

#define DISK_SECTOR 512u
#define DISK_PAGE   4096u /* data goes in segments of a page, as a driver for Windows would get them */

enum disk_type { DISK_IN = 0, DISK_OUT = 1, DISK_FLUSH = 4 }; /* BLK-5 */

#define DISK_REQUESTS_MAX 16u
#define DISK_PAGES_MAX    16u /* data pages of one request */

struct disk_request {
    REFERENCE_REQUEST driver; /* the driver's part of it */
    PUCHAR data;              /* rig memory; room for the disk's request_bytes */
    PUCHAR header, status;
    ULONGLONG data_gpa, header_gpa, status_gpa;
    uint64_t offset; /* of what is in flight: bytes */
    uint32_t bytes;
    bool done; /* completed, and not yet seen by the owner */
};

struct disk {
    struct rig *rig;
    uint64_t bytes;         /* its size */
    uint32_t request_bytes; /* the most data in one request */
    uint32_t request_count;
    struct disk_request requests[DISK_REQUESTS_MAX];
};

/*
 * Asks a started rig's device for its size and limits, and lays out so many requests of at most so many bytes
 * (less, where the device takes fewer segments). false: noted in the run.
 */
bool disk_open(struct disk *disk, struct rig *rig, uint32_t request_count, uint32_t request_bytes);

/* What rig_options need for it: enough descriptors in an indirect table, and FLUSH. */
struct rig_options disk_rig_options(const char *image, bool read_only);

/* Sends one; it is in flight until done. bytes is a multiple of 512, or 0 for a flush. */
NTSTATUS disk_submit(struct disk *disk, struct disk_request *request, enum disk_type type, uint64_t offset,
                     uint32_t bytes);

/* What the device said of a completed request: STATUS_SUCCESS, or STATUS_IO_DEVICE_ERROR. */
NTSTATUS disk_result(const struct disk_request *request);

#endif

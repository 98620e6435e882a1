/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk requests: see disk.h.
 */
#include "disk.h"

#include <string.h>

#define FEATURE_SEG_MAX (1ull << 2) /* masks */
#define FEATURE_FLUSH   (1ull << 9)

#define CONFIG_CAPACITY 0x00u /* le64, sectors (BLK-3) */
#define CONFIG_SEG_MAX  0x0Cu /* le32 */

#define PATIENCE_SECONDS 10 /* a disk may be busy with somebody else's work */

#define HEADER_BYTES 16u

#define ANSWER_OK   0
#define ANSWER_NONE 0xFF /* no device says this: the byte was never written */

/* DISPATCH_LEVEL */
static VOID request_is_done(PVOID context, REFERENCE_REQUEST *driver, ULONG length, NTSTATUS status)
{
    struct disk_request *request = CONTAINING_RECORD(driver, struct disk_request, driver);

    (void)context;
    (void)length; /* 0 by contract, whatever happened (BLK-7) */
    request->done = NT_SUCCESS(status);
}

struct rig_options disk_rig_options(const char *image, bool read_only)
{
    return (struct rig_options){.model = "blk",
                                .image = image,
                                .read_only = read_only,
                                .spin_ns = RIG_SPIN,
                                .indirect = DISK_PAGES_MAX + 2,
                                .features = FEATURE_SEG_MAX | FEATURE_FLUSH,
                                .complete = request_is_done};
}

static NTSTATUS ask(struct disk *disk, uint32_t *segments_out)
{
    AERO_VIRTIO_PCI_MODERN_DEVICE *device = &disk->rig->driver.Transport;
    ULONGLONG sectors;
    ULONG segments;
    NTSTATUS status;

    status = AeroVirtioReadDeviceConfig(device, CONFIG_CAPACITY, &sectors, sizeof sectors);
    if (NT_SUCCESS(status))
        status = AeroVirtioReadDeviceConfig(device, CONFIG_SEG_MAX, &segments, sizeof segments);
    if (!NT_SUCCESS(status))
        return status;
    disk->bytes = sectors * DISK_SECTOR;
    *segments_out = segments;
    return STATUS_SUCCESS;
}

bool disk_open(struct disk *disk, struct rig *rig, uint32_t request_count, uint32_t request_bytes)
{
    uint32_t pages = request_bytes / DISK_PAGE, segments = 0, stride, i;
    NTSTATUS status;

    memset(disk, 0, sizeof *disk);
    disk->rig = rig;
    status = ask(disk, &segments);
    if (!NT_SUCCESS(status))
        return rig_fail(rig, "AeroVirtioReadDeviceConfig", status);
    if (segments == 0)
        return bench_fail(rig->run, "virtio-blk says that it takes no data (seg_max 0)");
    if (pages > segments)
        pages = segments;
    if (pages > DISK_PAGES_MAX)
        pages = DISK_PAGES_MAX;
    disk->request_bytes = pages * DISK_PAGE;
    disk->request_count = request_count;

    stride = disk->request_bytes + DISK_PAGE; /* data, then a page for header and status */
    if (!rig_allocate(rig, request_count * stride))
        return false;
    for (i = 0; i < request_count; i++) {
        struct disk_request *request = &disk->requests[i];
        uint32_t at = i * stride;

        request->data = rig->memory + at;
        request->header = request->data + disk->request_bytes;
        request->status = request->header + SIM_LINE_BYTES;
        request->data_gpa = rig->memory_gpa + at;
        request->header_gpa = request->data_gpa + disk->request_bytes;
        request->status_gpa = request->header_gpa + SIM_LINE_BYTES;
    }
    rig->patience_seconds = PATIENCE_SECONDS;
    return true;
}

/* BLK-4: le32 type, le32 0, le64 sector. Driver and device are both of x86. */
static void write_header(struct disk_request *request, uint32_t type, uint64_t sector)
{
    memset(request->header, 0, HEADER_BYTES);
    memcpy(request->header, &type, sizeof type);
    memcpy(request->header + 8, &sector, sizeof sector);
    *request->status = ANSWER_NONE;
}

NTSTATUS disk_submit(struct disk *disk, struct disk_request *request, enum disk_type type, uint64_t offset,
                     uint32_t bytes)
{
    AERO_VIRTIO_SEGMENT segments[DISK_PAGES_MAX + 2];
    USHORT count = 0, readable;
    uint32_t at;

    request->offset = offset;
    request->bytes = bytes;
    request->done = false;
    write_header(request, type, offset / DISK_SECTOR);
    segments[count].Address = request->header_gpa;
    segments[count++].Length = HEADER_BYTES;
    for (at = 0; at < bytes; at += DISK_PAGE) {
        segments[count].Address = request->data_gpa + at;
        segments[count++].Length = bytes - at < DISK_PAGE ? bytes - at : DISK_PAGE;
    }
    readable = type == DISK_OUT ? count : 1;
    segments[count].Address = request->status_gpa;
    segments[count++].Length = 1;

    return rig_submit(disk->rig, &request->driver, segments, readable, (USHORT)(count - readable));
}

NTSTATUS disk_result(const struct disk_request *request)
{
    return *request->status == ANSWER_OK ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;
}

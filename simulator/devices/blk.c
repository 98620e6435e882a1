/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio-blk over a disk image (BLK-1..8): a regular file, or on Linux a block device, whose size is the
 * disk's and never changes. Data goes between the image and guest memory directly, all segments of a request
 * at once. Serves on the worker, so a slow disk holds up the other devices there; open and close run on the
 * thread that starts and stops the device.
 */
#include "bytes.h"
#include "devices.h"
#include "os.h"

#include <inttypes.h>
#include <stdio.h>

#define SECTOR_BYTES 512u
#define QUEUE_SIZE   128u
#define SEG_MAX      (QUEUE_SIZE - 2) /* beside the header and the status byte */

#define FEATURE_SEG_MAX  (1ull << 2)
#define FEATURE_BLK_SIZE (1ull << 6)
#define FEATURE_FLUSH    (1ull << 9)

/* BLK-3 */
enum { CONFIG_CAPACITY = 0x00, CONFIG_SEG_MAX = 0x0C, CONFIG_BLK_SIZE = 0x14, CONFIG_BYTES = 0x18 };

enum { HEADER_TYPE = 0, HEADER_SECTOR = 8, HEADER_BYTES = 16, STATUS_BYTES = 1 }; /* BLK-4 */

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4 }; /* BLK-5 */

enum blk_status { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };

struct blk {
    struct sim_os_file *image;
    uint64_t capacity; /* sectors */
};

/* ---- Open and close ---- */

static enum aero_sim_status blk_open(void *state, struct aero_sim_device *device,
                                     const struct aero_sim_backend *backend, char *error, size_t error_bytes)
{
    struct blk *blk = state;
    uint8_t config[CONFIG_BYTES] = {0};
    uint64_t bytes;

    if (!backend->path) {
        snprintf(error, error_bytes, "blk needs an image file");
        return AERO_SIM_IO;
    }
    /* Read-only, the image refuses each OUT by itself: RO is never offered (BLK-2). */
    blk->image = sim_os_file_open(backend->path, backend->read_only, error, error_bytes);
    if (!blk->image)
        return AERO_SIM_IO;
    bytes = sim_os_file_bytes(blk->image);
    if (bytes == 0 || bytes % SECTOR_BYTES) {
        if (bytes == 0)
            snprintf(error, error_bytes, "image '%s': is empty, a disk has at least 512 bytes",
                     backend->path);
        else
            snprintf(error, error_bytes, "image '%s': %" PRIu64 " bytes is no multiple of 512", backend->path,
                     bytes);
        sim_os_file_close(blk->image);
        blk->image = NULL;
        return AERO_SIM_IO;
    }
    blk->capacity = bytes / SECTOR_BYTES;
    sim_put_le64(config + CONFIG_CAPACITY, blk->capacity);
    sim_put_le32(config + CONFIG_SEG_MAX, SEG_MAX);
    sim_put_le32(config + CONFIG_BLK_SIZE, SECTOR_BYTES);
    aero_sim_config_set(device, 0, config, sizeof config);
    return AERO_SIM_OK;
}

static void blk_close(void *state)
{
    struct blk *blk = state;

    sim_os_file_close(blk->image);
    blk->image = NULL;
}

/* ---- Requests ---- */

/* The data of a request: bytes [skip, skip + bytes) of a run of segments, however the driver cut it. */
struct span {
    const struct aero_sim_segment *segments;
    uint32_t count;
    uint64_t skip;
    uint64_t bytes;
};

/* The part of the next segment that lies in the span. The span is used up as the caller goes along. */
static struct aero_sim_segment span_part(struct span *span, const struct aero_sim_segment *segment)
{
    struct aero_sim_segment part = {0};
    uint32_t skip = span->skip < segment->length ? (uint32_t)span->skip : segment->length;

    span->skip -= skip;
    part.data = segment->data + skip;
    part.length = segment->length - skip;
    if (part.length > span->bytes)
        part.length = (uint32_t)span->bytes;
    span->bytes -= part.length;
    return part;
}

/*
 * How many data segments the driver gave. Those that we see may be more: a buffer that crosses into another
 * memory region is cut there, which must not be counted against the driver. So it is never more than there
 * are descriptors beside those of header and status.
 */
static uint32_t data_segments(const struct aero_sim_chain *chain, struct span span)
{
    uint32_t total = chain->readable_count + chain->writable_count;
    uint32_t with_data = 0, without, most;

    for (uint32_t i = 0; i < span.count; i++)
        with_data += span_part(&span, &span.segments[i]).length != 0;
    without = total - with_data;
    most = chain->descriptors > without ? chain->descriptors - without : 0;
    return with_data < most ? with_data : most;
}

/* BLK-6, for a span of data that is to lie from sector on. Nothing overflows, whatever the driver says. */
static bool fits(const struct blk *blk, const struct aero_sim_chain *chain, const struct span *span,
                 uint64_t sector)
{
    uint64_t sectors = span->bytes / SECTOR_BYTES;

    return span->bytes != 0 && span->bytes % SECTOR_BYTES == 0 && sector <= blk->capacity &&
           sectors <= blk->capacity - sector && data_segments(chain, *span) <= SEG_MAX;
}

#define PARTS_MAX SEG_MAX /* at once; borders between memory regions may cut a request into more */

static bool move_parts(struct blk *blk, bool to_image, uint64_t offset, const struct sim_os_buffer *parts,
                       uint32_t count)
{
    return to_image ? sim_os_file_write_vector(blk->image, offset, parts, count)
                    : sim_os_file_read_vector(blk->image, offset, parts, count);
}

static enum blk_status transfer(struct blk *blk, const struct aero_sim_chain *chain, struct span span,
                                uint64_t sector, bool to_image)
{
    struct sim_os_buffer parts[PARTS_MAX];
    uint64_t first, end; /* byte of the parts, in the image */
    uint32_t count = 0;

    if (!fits(blk, chain, &span, sector))
        return STATUS_IOERR;
    first = end = sector * SECTOR_BYTES;
    for (uint32_t i = 0; i < span.count; i++) {
        struct aero_sim_segment part = span_part(&span, &span.segments[i]);

        if (part.length == 0)
            continue;
        if (count == PARTS_MAX) {
            if (!move_parts(blk, to_image, first, parts, count))
                return STATUS_IOERR;
            first = end;
            count = 0;
        }
        parts[count++] = (struct sim_os_buffer){part.data, part.length};
        end += part.length;
    }
    return move_parts(blk, to_image, first, parts, count) ? STATUS_OK : STATUS_IOERR;
}

static enum blk_status request(struct blk *blk, const struct aero_sim_chain *chain)
{
    uint8_t header[HEADER_BYTES];
    struct span out, in;

    /* Read once: what the driver makes of it afterwards is of no account. */
    if (aero_sim_chain_read(chain, 0, header, sizeof header) != sizeof header)
        return STATUS_IOERR;
    out.segments = chain->segments;
    out.count = chain->readable_count;
    out.skip = HEADER_BYTES;
    out.bytes = chain->readable_bytes - HEADER_BYTES;
    in.segments = chain->segments + chain->readable_count;
    in.count = chain->writable_count;
    in.skip = 0;
    in.bytes = chain->writable_bytes - STATUS_BYTES;
    switch (sim_get_le32(header + HEADER_TYPE)) {
    case TYPE_IN:
        if (out.bytes)
            return STATUS_IOERR; /* data of the wrong direction, here and below: BLK-5 */
        return transfer(blk, chain, in, sim_get_le64(header + HEADER_SECTOR), false);
    case TYPE_OUT:
        if (in.bytes)
            return STATUS_IOERR;
        return transfer(blk, chain, out, sim_get_le64(header + HEADER_SECTOR), true);
    case TYPE_FLUSH:
        if (in.bytes || out.bytes)
            return STATUS_IOERR;
        /* Every OUT that was completed was written before, so one sync covers them all (BLK-8). */
        return sim_os_file_sync(blk->image) ? STATUS_OK : STATUS_IOERR;
    default:
        return STATUS_UNSUPP;
    }
}

static uint32_t blk_serve(void *state, const struct aero_sim_chain *chain)
{
    uint8_t status;

    if (chain->writable_bytes < STATUS_BYTES)
        return 0; /* no room to say how it went: so it doesn't happen */
    status = (uint8_t)request(state, chain);
    aero_sim_chain_write(chain, chain->writable_bytes - STATUS_BYTES, &status, sizeof status);
    return 0; /* BLK-7: not the bytes written, as elsewhere */
}

static const struct aero_sim_queue_spec blk_queues[] = {
    {.name = "requestq", .size = QUEUE_SIZE, .serve = blk_serve}, /* BLK-1 */
};

const struct aero_sim_model sim_model_blk = {
    .name = "blk",
    .summary = "virtio-blk: a disk over an image file",
    .pci_device_id = 0x1042,
    .subsystem_id = 0x0002,
    .class_code = 0x010000,                                         /* mass storage */
    .features = FEATURE_SEG_MAX | FEATURE_BLK_SIZE | FEATURE_FLUSH, /* BLK-2 */
    .config_bytes = CONFIG_BYTES,
    .state_bytes = sizeof(struct blk),
    .queue_count = 1,
    .queues = blk_queues,
    .open = blk_open,
    .close = blk_close,
};

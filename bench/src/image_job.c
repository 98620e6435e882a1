/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The main job: see image_job.h. Some requests are kept in flight; what completes is looked at and replaced
 * by the next piece, in the order in which the pieces lie in the image.
 */
#include "image_job.h"

#include "disk.h"
#include "image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT              16u
#define REQUEST_BYTES          65536u
#define FLUSH_PATIENCE_SECONDS 300 /* a whole image, to a medium of any kind */

struct job {
    struct bench_run run; /* to which rig and disk note failures */
    struct image image;
    char copy[HOST_PATH_MAX];
    struct disk disk;
    struct sim_os_file *source; /* the image, read as a file */
    enum disk_type type;
    uint64_t next;  /* the first byte that isn't asked for yet */
    uint64_t bytes; /* of the image */
    uint64_t requests;
    uint8_t piece[REQUEST_BYTES];
};

/* What one pass over the image took. */
struct pass {
    uint64_t ns;
    struct aero_sim_counters counters;
};

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* ---- One request ---- */

/* DISK_OUT: fills the next request from the image file. */
static bool send_next(struct job *job, struct disk_request *request)
{
    uint64_t left = job->bytes - job->next;
    uint32_t bytes = left < job->disk.request_bytes ? (uint32_t)left : job->disk.request_bytes;
    NTSTATUS status;

    if (job->type == DISK_OUT && !sim_os_file_read(job->source, job->next, request->data, bytes))
        return bench_fail(&job->run, "can't read the image file at byte %" PRIu64, job->next);
    status = disk_submit(&job->disk, request, job->type, job->next, bytes);
    if (!NT_SUCCESS(status))
        return rig_fail(job->disk.rig, job->disk.rig->failed_in, status);
    job->next += bytes;
    job->requests++;
    return true;
}

/* DISK_IN: compares what came with the file. */
static bool take_done(struct job *job, struct disk_request *request)
{
    uint32_t i;

    request->done = false;
    if (!NT_SUCCESS(disk_result(request)))
        return bench_fail(&job->run, "virtio-blk answered %u to the request at byte %" PRIu64,
                          *request->status, request->offset);
    if (job->type != DISK_IN)
        return true;
    if (!sim_os_file_read(job->source, request->offset, job->piece, request->bytes))
        return bench_fail(&job->run, "can't read the image file at byte %" PRIu64, request->offset);
    if (memcmp(job->piece, request->data, request->bytes) == 0)
        return true;
    for (i = 0; job->piece[i] == request->data[i]; i++)
        ;
    return bench_fail(&job->run, "byte %" PRIu64 " came through the ring as 0x%02X; the file holds 0x%02X",
                      request->offset + i, request->data[i], job->piece[i]);
}

/* ---- One pass ---- */

static bool flush(struct job *job, ULONGLONG sent)
{
    struct disk_request *request = &job->disk.requests[0];
    struct rig *rig = job->disk.rig;
    NTSTATUS status = disk_submit(&job->disk, request, DISK_FLUSH, 0, 0);

    rig->patience_seconds = FLUSH_PATIENCE_SECONDS;
    if (NT_SUCCESS(status))
        status = rig_wait(rig, sent + 1);
    if (!NT_SUCCESS(status))
        return rig_fail(rig, rig->failed_in, status);
    return NT_SUCCESS(disk_result(request)) ||
           bench_fail(&job->run, "virtio-blk answered %u to FLUSH", *request->status);
}

static bool transfer(struct job *job)
{
    struct rig *rig = job->disk.rig;
    ULONGLONG taken = 0;
    NTSTATUS status;
    uint32_t i;

    job->next = job->requests = 0;
    for (i = 0; i < job->disk.request_count && job->next < job->bytes; i++) {
        if (!send_next(job, &job->disk.requests[i]))
            return false;
    }
    while (taken < job->requests) {
        status = rig_wait(rig, taken + 1);
        if (!NT_SUCCESS(status))
            return rig_fail(rig, rig->failed_in, status);
        for (i = 0; i < job->disk.request_count; i++) {
            struct disk_request *request = &job->disk.requests[i];

            if (!request->done)
                continue;
            taken++;
            if (!take_done(job, request) || (job->next < job->bytes && !send_next(job, request)))
                return false;
        }
        if (host_interrupted)
            return bench_fail(&job->run, "interrupted");
    }
    return job->type != DISK_OUT || flush(job, taken);
}

static bool run_pass(struct job *job, enum disk_type type, const char *path, struct pass *pass)
{
    struct rig_options options = disk_rig_options(path, type == DISK_IN);
    uint64_t start;
    struct rig rig;
    bool ok;

    job->type = type;
    ok = rig_start(&rig, &job->run, &options, true) && disk_open(&job->disk, &rig, IN_FLIGHT, REQUEST_BYTES);
    if (ok && job->disk.bytes != job->bytes)
        ok = bench_fail(&job->run,
                        "virtio-blk says that the image has %" PRIu64 " bytes; the file has %" PRIu64,
                        job->disk.bytes, job->bytes);
    start = sim_os_now_ns();
    ok = ok && transfer(job);
    pass->ns = sim_os_now_ns() - start;
    if (ok)
        aero_sim_device_counters(rig.device, &pass->counters);
    return rig_close(&rig, ok);
}

/* ---- The job ---- */

static void report(const struct job *job, const char *verb, const struct pass *pass, const char *rest)
{
    printf("%-8s %.1f MiB in %" PRIu64 " requests of up to %u KiB: %.0f MiB/s, %u doorbells, %u interrupts;\n"
           "         %s\n",
           verb, mib(job->bytes), job->requests, job->disk.request_bytes / 1024,
           mib(job->bytes) / ((double)pass->ns / 1e9), pass->counters.doorbells, pass->counters.interrupts,
           rest);
    fflush(stdout);
}

static bool files_are_equal(struct job *job)
{
    char error[256];
    struct sim_os_file *copy = sim_os_file_open(job->copy, true, error, sizeof error);
    static uint8_t piece[REQUEST_BYTES];
    uint64_t at;
    size_t bytes;
    bool ok = true;

    if (copy == NULL)
        return bench_fail(&job->run, "%s", error);
    for (at = 0; at < job->bytes && ok; at += bytes) {
        bytes = job->bytes - at < sizeof piece ? (size_t)(job->bytes - at) : sizeof piece;
        ok =
            (sim_os_file_read(job->source, at, job->piece, bytes) &&
             sim_os_file_read(copy, at, piece, bytes) && memcmp(job->piece, piece, bytes) == 0) ||
            bench_fail(&job->run, "the copy differs from the image, in the %zu bytes at %" PRIu64, bytes, at);
    }
    sim_os_file_close(copy);
    return ok;
}

static bool copy_image(struct job *job)
{
    struct pass pass;
    char error[256];

    if (!host_temp_file("copy.img", job->bytes, job->copy, error, sizeof error))
        return bench_fail(&job->run, "%s", error);
    if (!run_pass(job, DISK_OUT, job->copy, &pass) || !files_are_equal(job))
        return false;
    report(job, "write", &pass, "through the ring to a second image, flushed; the two files are equal");
    return true;
}

/* Is the copy, as equal as it is, a file system? Faults in an image of the user's were there before. */
static bool judge(struct job *job)
{
    char verdict[300];
    bool judged, accepted;

    if (!job->image.is_ext) {
        printf("e2fsck   skipped: the image is no ext2/3/4 file system\n");
        return true;
    }
    accepted = image_judge(job->copy, &judged, verdict, sizeof verdict);
    printf("e2fsck   %s%s%s\n", judged ? "-fn " : "", verdict,
           accepted || job->image.is_ours ? "" : "; its bytes are those of your image");
    return accepted || !job->image.is_ours || bench_fail(&job->run, "e2fsck doesn't accept the copy");
}

static bool take_image(struct job *job)
{
    const struct bench_options *options = &job->run.session->options;
    char error[256];

    if (options->image != NULL)
        image_take(&job->image, options->image);
    else if (!image_make(&job->image, options->seed, error, sizeof error))
        return bench_fail(&job->run, "%s", error);
    job->source = sim_os_file_open(job->image.path, true, error, sizeof error);
    if (job->source == NULL)
        return bench_fail(&job->run, "%s", error);
    job->bytes = sim_os_file_bytes(job->source);
    printf("image    %.1f MiB: %s\n", mib(job->bytes), job->image.origin);
    fflush(stdout);
    return true;
}

bool image_job_run(struct bench_session *session)
{
    struct job *job = calloc(1, sizeof *job);
    struct pass pass;
    bool ok;

    if (job == NULL) {
        printf("image    failed: no memory\n\n");
        return false;
    }
    job->run.session = session;
    ok = take_image(job) && run_pass(job, DISK_IN, job->image.path, &pass);
    if (ok)
        report(job, "read", &pass, "all bytes came through the ring as they are in the file");
    ok = ok && copy_image(job) && judge(job);
    if (!ok && !host_interrupted)
        printf("image    failed: %s\n", job->run.failure);
    printf("\n");
    fflush(stdout);
    if (job->source != NULL)
        sim_os_file_close(job->source);
    if (job->copy[0] != '\0')
        host_remove(job->copy);
    free(job);
    return ok;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The blk rows: one request at a time on an image of its own, at random offsets, with doorbell and interrupt,
 * both sides spinning. The image stays in the host's cache, so what is measured is the way to the file and
 * back, not a medium. Each block knows its own number and version, and what was read or written is compared,
 * outside the samples.
 */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK        4096u
#define BLOCKS_FULL  4096u /* 16 MiB */
#define BLOCKS_SMOKE 256u

/* The contents of a block: words that depend on seed, block, version and place. */
static void fill_block(uint64_t seed, uint32_t block, uint32_t version, uint8_t *data)
{
    uint64_t state = seed ^ (uint64_t)version << 32 ^ block, word;
    uint32_t at;

    for (at = 0; at < BLOCK; at += sizeof word) {
        word = bench_random(&state);
        memcpy(data + at, &word, sizeof word);
    }
}

static bool make_image(struct bench_run *run, uint32_t blocks, char *path)
{
    uint64_t seed = run->session->options.seed;
    char error[256];
    struct sim_os_file *file;
    uint8_t data[BLOCK];
    uint32_t block;
    bool ok;

    if (!host_temp_file("blk.img", (uint64_t)blocks * BLOCK, path, error, sizeof error))
        return bench_fail(run, "%s", error);
    file = sim_os_file_open(path, false, error, sizeof error);
    if (file == NULL)
        return bench_fail(run, "%s", error);
    for (block = 0, ok = true; block < blocks && ok; block++) {
        fill_block(seed, block, 0, data);
        ok = sim_os_file_write(file, (uint64_t)block * BLOCK, data, BLOCK);
    }
    sim_os_file_close(file);
    return ok || bench_fail(run, "can't write %s", path);
}

/* After the writes: does the file hold the version of each block that was written last? */
static bool check_image(struct bench_run *run, const char *path, uint32_t blocks, const uint32_t *versions)
{
    uint64_t seed = run->session->options.seed;
    uint8_t data[BLOCK], expected[BLOCK];
    char error[256];
    struct sim_os_file *file = sim_os_file_open(path, true, error, sizeof error);
    uint32_t block;
    bool ok = true;

    if (file == NULL)
        return bench_fail(run, "%s", error);
    for (block = 0; block < blocks && ok; block++) {
        fill_block(seed, block, versions[block], expected);
        ok = (sim_os_file_read(file, (uint64_t)block * BLOCK, data, BLOCK) &&
              memcmp(data, expected, BLOCK) == 0) ||
             bench_fail(run, "block %u of the image isn't what was written last", block);
    }
    sim_os_file_close(file);
    return ok;
}

static NTSTATUS one(struct disk *disk, enum disk_type type, uint32_t block, ULONGLONG target)
{
    NTSTATUS status = disk_submit(disk, &disk->requests[0], type, (uint64_t)block * BLOCK, BLOCK);

    return NT_SUCCESS(status) ? rig_wait(disk->rig, target) : status;
}

static bool run_requests(struct bench_run *run, struct disk *disk, enum disk_type type, uint32_t blocks,
                         uint32_t *versions)
{
    uint64_t seed = run->session->options.seed, state = seed;
    struct disk_request *request = &disk->requests[0];
    uint8_t expected[BLOCK];
    ULONGLONG sent = 0;
    NTSTATUS status;
    bool ok = true;

    bench_begin(run, disk->rig->device);
    while (ok && bench_more(run)) {
        uint32_t block = (uint32_t)(bench_random(&state) % blocks);
        uint64_t start;

        if (type == DISK_OUT)
            fill_block(seed, block, ++versions[block], request->data);
        start = clock_now();
        status = one(disk, type, block, ++sent);
        bench_sample(run, start, clock_now());

        if (!NT_SUCCESS(status))
            return rig_fail(disk->rig, disk->rig->failed_in, status);
        if (!NT_SUCCESS(disk_result(request)))
            return bench_fail(run, "virtio-blk answered %u to a request for block %u", *request->status,
                              block);
        if (type == DISK_IN) {
            fill_block(seed, block, 0, expected);
            ok = memcmp(request->data, expected, BLOCK) == 0 ||
                 bench_fail(run, "block %u was read as something else than the file holds", block);
        }
        run->digest += request->data[block % BLOCK];
    }
    return ok;
}

static bool blk(struct bench_run *run, enum disk_type type)
{
    uint32_t blocks = run->session->options.smoke ? BLOCKS_SMOKE : BLOCKS_FULL;
    uint32_t *versions = calloc(blocks, sizeof *versions);
    struct rig_options options;
    char path[HOST_PATH_MAX];
    struct disk disk;
    struct rig rig;
    bool ok;

    if (versions == NULL)
        return bench_fail(run, "no memory");
    ok = make_image(run, blocks, path);
    if (ok) {
        options = disk_rig_options(path, type == DISK_IN);
        ok = rig_start(&rig, run, &options, true) && disk_open(&disk, &rig, 1, BLOCK) &&
             run_requests(run, &disk, type, blocks, versions);
        ok = rig_close(&rig, ok);
        if (ok && type == DISK_OUT)
            ok = check_image(run, path, blocks, versions);
        host_remove(path);
    }
    free(versions);
    return ok;
}

bool blk_read(struct bench_run *run)
{
    return blk(run, DISK_IN);
}

bool blk_write(struct bench_run *run)
{
    return blk(run, DISK_OUT);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The blk rows: one request at a time on an image of its own, at random offsets, with doorbell and
 * interrupt, both sides spinning. The image stays in the host's cache, so what is measured is the way to
 * the file and back, not a medium. Each block knows its own number and version, and what was read or
 * written is compared, outside the samples. And limit/pread, which reads the same blocks of the same
 * image by itself, and limit/pread-apart, which has the device's CPU read them for the driver's.
 */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_MAX   65536u
#define IMAGE_FULL  0x1000000u /* bytes: 16 MiB */
#define IMAGE_SMOKE 0x100000u

static uint8_t data[BLOCK_MAX], expected[BLOCK_MAX];

static uint32_t block_bytes(const struct bench_run *run)
{
    return run->row->with.bytes;
}

static uint32_t block_count(const struct bench_run *run)
{
    return (run->session->options.smoke ? IMAGE_SMOKE : IMAGE_FULL) / block_bytes(run);
}

static uint64_t offset_of(const struct bench_run *run, uint32_t block)
{
    return (uint64_t)block * block_bytes(run);
}

/* The contents of a block: words that depend on seed, block, version and place. */
static void fill_block(const struct bench_run *run, uint32_t block, uint32_t version, uint8_t *to)
{
    uint64_t state = run->session->options.seed ^ (uint64_t)version << 32 ^ block, word;
    uint32_t at;

    for (at = 0; at < block_bytes(run); at += sizeof word) {
        word = bench_random(&state);
        memcpy(to + at, &word, sizeof word);
    }
}

/* Was the block read as it was when the image was made? */
static bool as_made(struct bench_run *run, uint32_t block, const uint8_t *bytes)
{
    fill_block(run, block, 0, expected);
    return memcmp(bytes, expected, block_bytes(run)) == 0 ||
           bench_fail(run, "block %u was read as something else than the file holds", block);
}

static bool make_image(struct bench_run *run, char *path)
{
    uint32_t blocks = block_count(run), block;
    char error[256];
    struct sim_os_file *file;
    bool ok;

    if (!host_temp_file("blk.img", offset_of(run, blocks), path, error, sizeof error))
        return bench_fail(run, "%s", error);
    file = sim_os_file_open(path, false, error, sizeof error);
    if (file == NULL)
        return bench_fail(run, "%s", error);
    for (block = 0, ok = true; block < blocks && ok; block++) {
        fill_block(run, block, 0, data);
        ok = sim_os_file_write(file, offset_of(run, block), data, block_bytes(run));
    }
    sim_os_file_close(file);
    return ok || bench_fail(run, "can't write %s", path);
}

/* After the writes: does the file hold the version of each block that was written last? */
static bool check_image(struct bench_run *run, const char *path, const uint32_t *versions)
{
    char error[256];
    struct sim_os_file *file = sim_os_file_open(path, true, error, sizeof error);
    uint32_t blocks = block_count(run), block;
    bool ok = true;

    if (file == NULL)
        return bench_fail(run, "%s", error);
    for (block = 0; block < blocks && ok; block++) {
        fill_block(run, block, versions[block], expected);
        ok = (sim_os_file_read(file, offset_of(run, block), data, block_bytes(run)) &&
              memcmp(data, expected, block_bytes(run)) == 0) ||
             bench_fail(run, "block %u of the image isn't what was written last", block);
    }
    sim_os_file_close(file);
    return ok;
}

static NTSTATUS one(struct disk *disk, enum disk_type type, uint32_t block, ULONGLONG target)
{
    const struct bench_run *run = disk->rig->run;
    NTSTATUS status = disk_submit(disk, &disk->requests[0], type, offset_of(run, block), block_bytes(run));

    return NT_SUCCESS(status) ? rig_wait(disk->rig, target) : status;
}

static bool run_requests(struct bench_run *run, struct disk *disk, enum disk_type type, uint32_t *versions)
{
    uint64_t state = run->session->options.seed;
    uint32_t blocks = block_count(run);
    struct disk_request *request = &disk->requests[0];
    ULONGLONG sent = 0;
    NTSTATUS status;
    bool ok = true;

    bench_begin(run, disk->rig->device);
    while (ok && bench_more(run)) {
        uint32_t block = (uint32_t)(bench_random(&state) % blocks);
        uint64_t start;

        if (type == DISK_OUT)
            fill_block(run, block, ++versions[block], request->data);
        start = clock_now();
        status = one(disk, type, block, ++sent);
        bench_sample(run, start, clock_now());

        if (!NT_SUCCESS(status))
            return rig_fail(disk->rig, disk->rig->failed_in, status);
        if (!NT_SUCCESS(disk_result(request)))
            return bench_fail(run, "virtio-blk answered %u to a request for block %u", *request->status,
                              block);
        if (type == DISK_IN)
            ok = as_made(run, block, request->data);
        run->digest += request->data[block % block_bytes(run)];
    }
    return ok;
}

/* Ready for one request of a block. */
static bool open_disk(struct bench_run *run, struct disk *disk, struct rig *rig)
{
    return disk_open(disk, rig, 1, block_bytes(run)) &&
           (disk->request_bytes == block_bytes(run) ||
            bench_fail(run, "virtio-blk takes no more than %u bytes in a request", disk->request_bytes));
}

static bool blk(struct bench_run *run, enum disk_type type)
{
    uint32_t *versions = calloc(block_count(run), sizeof *versions);
    struct rig_options options;
    char path[HOST_PATH_MAX];
    struct disk disk;
    struct rig rig;
    bool ok;

    if (versions == NULL)
        return bench_fail(run, "no memory");
    ok = make_image(run, path);
    if (ok) {
        options = disk_rig_options(path, type == DISK_IN);
        ok = rig_start(&rig, run, &options, true) && open_disk(run, &disk, &rig) &&
             run_requests(run, &disk, type, versions);
        ok = rig_close(&rig, ok);
        if (ok && type == DISK_OUT)
            ok = check_image(run, path, versions);
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

/* ---- The file by itself ---- */

/*
 * A thread on the device's CPU that reads a block whenever it's asked to: the question in a line, the
 * answer in another.
 */
struct reader {
    struct bench_run *run;
    struct sim_os_file *file;
    _Alignas(2 * SIM_LINE_BYTES) _Atomic uint32_t asked;
    uint32_t block;
    _Alignas(2 * SIM_LINE_BYTES) _Atomic uint32_t answered;
    bool ok;
};

#define READER_STOP UINT32_MAX

static void read_when_asked(void *context)
{
    struct reader *reader = context;
    uint32_t turn = 0, looks = 0, asked;

    for (;;) {
        while ((asked = atomic_load_explicit(&reader->asked, memory_order_acquire)) == turn)
            bench_look_in_vain(&looks);
        if (asked == READER_STOP)
            return;
        turn = asked;
        reader->ok = sim_os_file_read(reader->file, offset_of(reader->run, reader->block), data,
                                      block_bytes(reader->run));
        atomic_store_explicit(&reader->answered, turn, memory_order_release);
    }
}

static bool ask_reader(struct reader *reader, uint32_t block)
{
    uint32_t turn = atomic_load_explicit(&reader->answered, memory_order_relaxed) + 1, looks = 0;

    reader->block = block;
    atomic_store_explicit(&reader->asked, turn, memory_order_release);
    while (atomic_load_explicit(&reader->answered, memory_order_acquire) != turn)
        bench_look_in_vain(&looks);
    return reader->ok;
}

/* reader NULL: this thread reads. */
static bool read_blocks(struct bench_run *run, struct sim_os_file *file, struct reader *reader)
{
    uint64_t state = run->session->options.seed;
    uint32_t blocks = block_count(run);
    bool ok = true;

    bench_begin(run, NULL);
    while (ok && bench_more(run)) {
        uint32_t block = (uint32_t)(bench_random(&state) % blocks);
        uint64_t start = clock_now();

        if (reader != NULL)
            ok = ask_reader(reader, block);
        else
            ok = sim_os_file_read(file, offset_of(run, block), data, block_bytes(run));
        bench_sample(run, start, clock_now());
        ok = ok ? as_made(run, block, data) : bench_fail(run, "can't read block %u of the image", block);
        run->digest += data[block % block_bytes(run)];
    }
    return ok;
}

static bool read_blocks_apart(struct bench_run *run, struct sim_os_file *file)
{
    struct reader reader = {.run = run, .file = file};
    struct sim_os_thread *thread =
        sim_os_thread_start(read_when_asked, &reader, run->session->options.device_cpu);
    bool ok;

    if (thread == NULL)
        return bench_fail(run, "the host gave no second thread");
    ok = read_blocks(run, file, &reader);
    atomic_store_explicit(&reader.asked, READER_STOP, memory_order_release);
    sim_os_thread_join(thread);
    return ok;
}

static bool limit(struct bench_run *run, bool apart)
{
    char path[HOST_PATH_MAX], error[256];
    struct sim_os_file *file;
    bool ok;

    if (!make_image(run, path))
        return false;
    file = sim_os_file_open(path, true, error, sizeof error);
    if (file == NULL)
        ok = bench_fail(run, "%s", error);
    else
        ok = apart ? read_blocks_apart(run, file) : read_blocks(run, file, NULL);
    sim_os_file_close(file);
    host_remove(path);
    return ok;
}

bool limit_pread(struct bench_run *run)
{
    return limit(run, false);
}

bool limit_pread_apart(struct bench_run *run)
{
    return limit(run, true);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Makes and judges images: see image.h. The files that mkfs.ext4 packs are made up from the seed, so that
 * there is something of each kind on every machine: text, random bytes, holes, nothing at all, many small
 * ones, deep folders.
 */
#include "image.h"

#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_FILES 192u

/* ---- Files to pack ---- */

struct tree {
    uint64_t state;
    uint32_t files;
    char *error;
    size_t error_bytes;
};

static bool tree_failed(struct tree *tree, const char *path)
{
    snprintf(tree->error, tree->error_bytes, "can't write %s: %s", path, strerror(errno));
    return false;
}

static FILE *tree_file(struct tree *tree, const char *name, char *path)
{
    FILE *stream;

    if (!host_temp_path(name, path, tree->error, tree->error_bytes))
        return NULL;
    stream = fopen(path, "wb");
    if (stream == NULL)
        tree_failed(tree, path);
    else
        tree->files++;
    return stream;
}

static bool tree_close(struct tree *tree, FILE *stream, const char *path)
{
    bool written = !ferror(stream);

    if (fclose(stream) != 0)
        written = false;
    return written || tree_failed(tree, path);
}

static bool add_text(struct tree *tree, const char *name, uint32_t lines)
{
    static const char *const words[] = {"ring",     "queue",     "driver", "device",
                                        "doorbell", "interrupt", "chain",  "image"};
    char path[HOST_PATH_MAX];
    FILE *stream = tree_file(tree, name, path);
    uint32_t line, word;

    if (stream == NULL)
        return false;
    for (line = 0; line < lines; line++) {
        fprintf(stream, "%u:", line + 1);
        for (word = 0; word < 10; word++)
            fprintf(stream, " %s", words[bench_random(&tree->state) % 8]);
        fputc('\n', stream);
    }
    return tree_close(tree, stream, path);
}

static bool add_random(struct tree *tree, const char *name, uint64_t bytes)
{
    char path[HOST_PATH_MAX];
    FILE *stream = tree_file(tree, name, path);
    uint64_t words[512], left = bytes;
    size_t piece, i;

    if (stream == NULL)
        return false;
    while (left > 0) {
        for (i = 0; i < 512; i++)
            words[i] = bench_random(&tree->state);
        piece = left < sizeof words ? (size_t)left : sizeof words;
        if (fwrite(words, 1, piece, stream) != piece)
            break;
        left -= piece;
    }
    return tree_close(tree, stream, path);
}

/* A few bytes here and there between holes. */
static bool add_sparse(struct tree *tree, const char *name, uint64_t bytes)
{
    char path[HOST_PATH_MAX];
    FILE *stream = tree_file(tree, name, path);
    uint64_t at;
    bool sized;

    if (stream == NULL)
        return false;
    sized = host_set_file_bytes(stream, bytes);
    for (at = 0; sized && at < bytes; at += 1u << 20) {
        fseeko(stream, (off_t)at, SEEK_SET);
        fprintf(stream, "at %llu", (unsigned long long)at);
    }
    return tree_close(tree, stream, path) && (sized || tree_failed(tree, path));
}

static bool add_many(struct tree *tree)
{
    char path[HOST_PATH_MAX], name[64];
    uint32_t i;

    for (i = 0; i < SMALL_FILES; i++) {
        if (i % 32 == 0) {
            snprintf(name, sizeof name, "files/many/%02u", i / 32);
            if (!host_temp_directory(name, path, tree->error, tree->error_bytes))
                return false;
        }
        snprintf(name, sizeof name, "files/many/%02u/small-%03u", i / 32, i);
        if (!add_random(tree, name, bench_random(&tree->state) % 6000))
            return false;
    }
    return true;
}

static bool make_tree(struct tree *tree, char *root)
{
    char path[HOST_PATH_MAX];

    return host_temp_directory("files", root, tree->error, tree->error_bytes) &&
           host_temp_directory("files/many", path, tree->error, tree->error_bytes) &&
           host_temp_directory("files/deep", path, tree->error, tree->error_bytes) &&
           host_temp_directory("files/deep/deeper", path, tree->error, tree->error_bytes) &&
           host_temp_directory("files/deep/deeper/deepest", path, tree->error, tree->error_bytes) &&
           add_text(tree, "files/text.txt", 20000) &&
           add_text(tree, "files/deep/deeper/deepest/note.txt", 10) &&
           add_random(tree, "files/random.bin", 24u << 20) &&
           add_random(tree, "files/odd-size.bin", 1234567) && add_random(tree, "files/empty", 0) &&
           add_sparse(tree, "files/sparse.bin", 16u << 20) && add_many(tree);
}

/* ---- Images ---- */

static bool make_ext4(struct image *image, const char *mkfs, uint64_t seed, char *error, size_t error_bytes)
{
    struct tree tree = {.state = seed, .error = error, .error_bytes = error_bytes};
    char root[HOST_PATH_MAX], output[HOST_PATH_MAX], line[120] = "";
    const char *arguments[] = {mkfs, "-q", "-d", root, image->path, "64M", NULL};
    FILE *stream;
    int status;

    if (!make_tree(&tree, root) || !host_temp_path("mkfs.txt", output, error, error_bytes) ||
        !host_temp_path("image.img", image->path, error, error_bytes) ||
        !host_run(arguments, output, &status, error, error_bytes))
        return false;
    if (status != 0) {
        stream = fopen(output, "r");
        if (stream != NULL) {
            if (fgets(line, sizeof line, stream) != NULL)
                line[strcspn(line, "\n")] = '\0';
            fclose(stream);
        }
        snprintf(error, error_bytes, "mkfs.ext4 failed with status %d: %s", status, line);
        return false;
    }
    image->is_ext = true;
    snprintf(image->origin, sizeof image->origin, "ext4 with %u files in it, by mkfs.ext4 -d", tree.files);
    return true;
}

static bool make_patterned(struct image *image, uint64_t seed, char *error, size_t error_bytes)
{
    struct tree tree = {.state = seed, .error = error, .error_bytes = error_bytes};

    snprintf(image->origin, sizeof image->origin, "random blocks, since mkfs.ext4 isn't here");
    return add_random(&tree, "image.img", IMAGE_BYTES) &&
           host_temp_path("image.img", image->path, error, error_bytes);
}

bool image_make(struct image *image, uint64_t seed, char *error, size_t error_bytes)
{
    char mkfs[HOST_PATH_MAX];

    memset(image, 0, sizeof *image);
    image->is_ours = true;
    if (host_find_program("mkfs.ext4", mkfs))
        return make_ext4(image, mkfs, seed, error, error_bytes);
    return make_patterned(image, seed, error, error_bytes);
}

/* The superblock is at 1024, and its magic number 56 bytes in. */
static bool has_ext_superblock(const char *path)
{
    char error[128];
    struct sim_os_file *file = sim_os_file_open(path, true, error, sizeof error);
    uint8_t magic[2] = {0, 0};
    bool found;

    if (file == NULL)
        return false;
    found = sim_os_file_bytes(file) >= 2048 && sim_os_file_read(file, 1024 + 56, magic, sizeof magic) &&
            magic[0] == 0x53 && magic[1] == 0xEF;
    sim_os_file_close(file);
    return found;
}

void image_take(struct image *image, const char *path)
{
    memset(image, 0, sizeof *image);
    snprintf(image->path, sizeof image->path, "%s", path);
    image->is_ext = has_ext_superblock(path);
    snprintf(image->origin, sizeof image->origin, "yours%s",
             image->is_ext ? ", with an ext2/3/4 superblock" : "");
}

/* ---- Judging ---- */

/* e2fsck's last line begins with the path, which says nothing here. */
static void last_line(const char *output, const char *path, char *line, size_t line_bytes)
{
    char buffer[512];
    FILE *stream = fopen(output, "r");
    const char *rest;

    line[0] = '\0';
    while (stream != NULL && fgets(buffer, sizeof buffer, stream) != NULL) {
        buffer[strcspn(buffer, "\n")] = '\0';
        rest = strncmp(buffer, path, strlen(path)) == 0 ? buffer + strlen(path) : buffer;
        rest += strspn(rest, ": ");
        if (rest[0] != '\0')
            snprintf(line, line_bytes, "%s", rest);
    }
    if (stream != NULL)
        fclose(stream);
}

bool image_judge(const char *path, bool *judged_out, char *verdict, size_t verdict_bytes)
{
    char program[HOST_PATH_MAX], output[HOST_PATH_MAX], line[200];
    const char *arguments[] = {program, "-fn", path, NULL};
    int status = 0;

    *judged_out = false;
    if (!host_find_program("e2fsck", program)) {
        snprintf(verdict, verdict_bytes, "skipped: e2fsck isn't here");
        return true;
    }
    if (!host_temp_path("e2fsck.txt", output, verdict, verdict_bytes) ||
        !host_run(arguments, output, &status, verdict, verdict_bytes))
        return false; /* what wasn't shown isn't so */
    *judged_out = true;
    last_line(output, path, line, sizeof line);
    snprintf(verdict, verdict_bytes, "%s (status %d): %s",
             status == 0 ? "accepts the copy" : "finds faults in the copy", status, line);
    return status == 0;
}

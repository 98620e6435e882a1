/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The image job's image: an ext4 file system with real files in it where the host has mkfs.ext4, else blocks
 * of random words.
 */
#ifndef BENCH_IMAGE_H
#define BENCH_IMAGE_H

#include "host.h"

#define IMAGE_BYTES (64u << 20)

struct image {
    char path[HOST_PATH_MAX];
    bool is_ext; /* it has an ext2/3/4 superblock: e2fsck can judge it */
    bool is_ours;
    char origin[160]; /* "ext4 with 214 files in it, by mkfs.ext4 -d": one line for the report */
};

/* Makes one from the seed in the temporary directory. false with one line of reason. */
bool image_make(struct image *image, uint64_t seed, char *error, size_t error_bytes);

/* Takes the user's, which has been checked already. */
void image_take(struct image *image, const char *path);

/*
 * Lets e2fsck -fn judge the file system at path. Writes what it found to verdict, one line; false: it found
 * faults. *judged_out is false where it couldn't judge: no e2fsck here, or it didn't run; the verdict then
 * says why.
 */
bool image_judge(const char *path, bool *judged_out, char *verdict, size_t verdict_bytes);

#endif

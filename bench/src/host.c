/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The part of host.h that is the same on each host: the list of temporary paths, and output files. The list
 * is fixed in size and only grows, so that a signal handler may walk it at any time.
 */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

volatile sig_atomic_t host_interrupted;

/* ---- Temporary files ---- */

#define TEMP_PATHS_MAX 1024

static char *temp_paths[TEMP_PATHS_MAX];
static volatile sig_atomic_t temp_count;
static char temp_root[HOST_PATH_MAX];

static bool remember(const char *path, char *error, size_t error_bytes)
{
    char *copy;
    int i;

    for (i = 0; i < temp_count; i++) {
        if (strcmp(temp_paths[i], path) == 0)
            return true;
    }
    copy = temp_count < TEMP_PATHS_MAX ? strdup(path) : NULL;
    if (copy == NULL) {
        snprintf(error, error_bytes, "no room for one more temporary path");
        return false;
    }
    free(temp_paths[temp_count]); /* left by a cleanup, which a signal handler may have to do */
    temp_paths[temp_count] = copy;
    temp_count++;
    return true;
}

static bool make_root(char *error, size_t error_bytes)
{
    if (temp_root[0] != '\0')
        return true;
    if (!host_make_temp_root(temp_root)) {
        snprintf(error, error_bytes, "can't make a temporary directory %.100s: %s", temp_root,
                 strerror(errno));
        temp_root[0] = '\0';
        return false;
    }
    return remember(temp_root, error, error_bytes);
}

bool host_temp_path(const char *name, char *path, char *error, size_t error_bytes)
{
    if (!make_root(error, error_bytes))
        return false;
    if (snprintf(path, HOST_PATH_MAX, "%s/%s", temp_root, name) >= HOST_PATH_MAX) {
        snprintf(error, error_bytes, "the temporary directory's path is too long");
        return false;
    }
    return remember(path, error, error_bytes);
}

bool host_temp_directory(const char *name, char *path, char *error, size_t error_bytes)
{
    if (!host_temp_path(name, path, error, error_bytes))
        return false;
    if (!host_make_directory(path, false)) {
        snprintf(error, error_bytes, "can't make the directory %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

bool host_temp_file(const char *name, uint64_t bytes, char *path, char *error, size_t error_bytes)
{
    FILE *stream;
    bool made;

    if (!host_temp_path(name, path, error, error_bytes))
        return false;
    stream = fopen(path, "wb");
    made = stream != NULL && host_set_file_bytes(stream, bytes);
    if (stream != NULL && fclose(stream) != 0)
        made = false;
    if (!made)
        snprintf(error, error_bytes, "can't make the file %s: %s", path, strerror(errno));
    return made;
}

HOST_IN_CRASH void host_cleanup(void)
{
    int saved = errno;

    /* Counted down before each removal: should a signal come meanwhile, its handler goes on from there. */
    while (temp_count > 0) {
        temp_count--;
        host_remove(temp_paths[temp_count]);
    }
    temp_root[0] = '\0';
    errno = saved;
}

/* ---- Output files ---- */

static bool opened(struct host_output *output, const char *mode, char *error, size_t error_bytes)
{
    output->stream = fopen(output->temporary[0] != '\0' ? output->temporary : output->path, mode);
    if (output->stream != NULL)
        return true;
    snprintf(error, error_bytes, "can't write %s: %s", output->path, strerror(errno));
    return false;
}

bool host_output_open(struct host_output *output, const char *path, char *error, size_t error_bytes)
{
    bool plain = true, directory = false, writable = true;

    memset(output, 0, sizeof *output);
    if (path[0] == '\0' || strlen(path) + 32 >= HOST_PATH_MAX) {
        snprintf(error, error_bytes,
                 path[0] == '\0' ? "the file's name is empty" : "the file's name is too long");
        return false;
    }
    if (!host_resolve(path, output->path, &plain, &directory, &writable))
        snprintf(output->path, sizeof output->path, "%s", path);
    if (directory || !writable) {
        snprintf(error, error_bytes, "can't write %s: %s", path,
                 directory ? "it is a directory" : "no permission to write it");
        return false;
    }
    if (!plain)
        return opened(output, "w", error, error_bytes);
    if (snprintf(output->temporary, sizeof output->temporary, "%s.%ld.tmp", output->path,
                 host_process_id()) >= (int)sizeof output->temporary) {
        snprintf(error, error_bytes, "can't write %s: its path is too long", path);
        return false;
    }
    if (!opened(output, "wx", error, error_bytes))
        return false;
    if (!remember(output->temporary, error, error_bytes)) {
        host_output_abandon(output);
        return false;
    }
    return true;
}

bool host_output_finish(struct host_output *output, char *error, size_t error_bytes)
{
    bool written = !ferror(output->stream);

    if (fclose(output->stream) != 0)
        written = false;
    output->stream = NULL;
    if (written && output->temporary[0] != '\0')
        written = host_replace(output->temporary, output->path);
    if (!written) {
        snprintf(error, error_bytes, "can't write %s: %s", output->path, strerror(errno));
        host_output_abandon(output);
    }
    return written;
}

void host_output_abandon(struct host_output *output)
{
    if (output->stream != NULL)
        fclose(output->stream);
    output->stream = NULL;
    if (output->temporary[0] != '\0')
        host_remove(output->temporary);
}

bool host_output_directory(const char *path, char *error, size_t error_bytes)
{
    char resolved[HOST_PATH_MAX];
    bool plain, directory, writable;

    if (host_resolve(path, resolved, &plain, &directory, &writable)) {
        if (!directory || !writable)
            snprintf(error, error_bytes, "can't write into %s: %s", path,
                     directory ? "no permission" : "it is no directory");
        return directory && writable;
    }
    if (!host_make_directory(path, true)) {
        snprintf(error, error_bytes, "can't make the directory %s: %s", path, strerror(errno));
        return false;
    }
    if (host_resolve(path, resolved, &plain, &directory, &writable) && remember(resolved, error, error_bytes))
        return true;
    host_remove(path);
    return false;
}

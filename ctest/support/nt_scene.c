/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The scene of most end-to-end tests: see nt_scene.h. */
#include "nt_scene.h"

#include <stdio.h>
#include <string.h>

#define STRIDE 128u
#define ROOM   64u

static bool fail(const char *what, NTSTATUS status)
{
    fprintf(stderr, "nt_scene: %s (0x%08X)\n", what, (unsigned)status);
    return false;
}

/* Under the queue's lock. */
static VOID scene_complete(PVOID context, ULONG queue, PVOID cookie, ULONG length, NTSTATUS status)
{
    struct nt_scene *scene = context;
    uintptr_t number = (uintptr_t)cookie;

    UNREFERENCED_PARAMETER(queue);
    if (number >= NT_SCENE_COOKIES) {
        scene->strange++;
        return;
    }
    if (status == STATUS_SUCCESS) {
        scene->cookies[number].completed++;
        scene->cookies[number].length = length;
        scene->completed++;
    } else {
        scene->cookies[number].cancelled++;
        scene->cancelled++;
    }
}

bool nt_scene_create(struct nt_scene *scene, const struct aero_sim_model *model,
                     const struct nt_rig_options *options)
{
    memset(scene, 0, sizeof *scene);
    scene->config.QueueCount = 1;
    return nt_rig_create(&scene->rig, options) && nt_rig_add(&scene->rig, model, NULL);
}

bool nt_scene_power_on(struct nt_scene *scene, uint64_t lowest_pa)
{
    PHYSICAL_ADDRESS lowest, highest, boundary;

    if (!nt_rig_power_on(&scene->rig))
        return fail("the device doesn't start", 0);
    lowest.QuadPart = (LONGLONG)lowest_pa;
    highest.QuadPart = -1;
    boundary.QuadPart = 0;
    scene->buffer =
        MmAllocateContiguousMemorySpecifyCache(NT_SCENE_BUFFER_BYTES, lowest, highest, boundary, MmCached);
    if (!scene->buffer)
        return fail("no memory for the buffer", 0);
    scene->buffer_gpa = (uint64_t)MmGetPhysicalAddress(scene->buffer).QuadPart;
    return true;
}

NTSTATUS nt_scene_start(struct nt_scene *scene)
{
    scene->config.Complete = scene_complete;
    scene->config.Context = scene;
    return NtDriverStart(&scene->driver, &scene->rig.devices[0].resources, &scene->config);
}

bool nt_scene_open(struct nt_scene *scene, const struct aero_sim_model *model, uint32_t queues,
                   uint16_t indirect)
{
    NTSTATUS status;

    if (!nt_scene_create(scene, model, NULL) || !nt_scene_power_on(scene, 0))
        return false;
    scene->config.QueueCount = queues;
    scene->config.IndirectEntries = indirect;
    status = nt_scene_start(scene);
    return status == STATUS_SUCCESS || fail(scene->driver.FailedIn, status);
}

uint32_t nt_scene_close(struct nt_scene *scene)
{
    if (!scene->rig.nt)
        return 0;
    if (scene->rig.entered) {
        if (NtDriverStop(&scene->driver) == STATUS_IO_TIMEOUT) {
            nt_rig_unplug(&scene->rig);
            NtDriverStop(&scene->driver);
        }
        if (scene->buffer)
            MmFreeContiguousMemorySpecifyCache(scene->buffer, NT_SCENE_BUFFER_BYTES, MmCached);
        scene->buffer = NULL;
    }
    return nt_rig_destroy(&scene->rig);
}

static uint8_t pattern(uint32_t cookie, uint32_t offset)
{
    return (uint8_t)(cookie * 31 + offset * 7 + 1);
}

NTSTATUS nt_scene_submit(struct nt_scene *scene, uint32_t queue, uint32_t cookie, uint32_t bytes)
{
    uint8_t *out = scene->buffer + STRIDE * cookie;
    AERO_VIRTIO_SEGMENT segments[2];

    memset(segments, 0, sizeof segments);
    segments[0].Address = scene->buffer_gpa + STRIDE * cookie;
    segments[1].Address = segments[0].Address + ROOM;
    segments[0].Length = segments[1].Length = bytes;
    for (uint32_t i = 0; i < bytes; i++)
        out[i] = pattern(cookie, i);
    memset(out + ROOM, 0xEE, ROOM);
    return NtDriverSubmit(&scene->driver, queue, segments, 1, 1, (PVOID)(uintptr_t)cookie);
}

bool nt_scene_echoed(const struct nt_scene *scene, uint32_t cookie, uint32_t bytes)
{
    const uint8_t *in = scene->buffer + STRIDE * cookie + ROOM;

    for (uint32_t i = 0; i < ROOM; i++) {
        if (in[i] != (i < bytes ? pattern(cookie, i) : 0xEE))
            return false;
    }
    return scene->cookies[cookie].completed == 1 && scene->cookies[cookie].length == bytes;
}

bool nt_scene_await(struct nt_scene *scene, uint32_t completed)
{
    while (scene->completed < completed) {
        NTSTATUS status = NtDriverWait(&scene->driver, NT_SCENE_WAIT_MS);

        if (status != STATUS_SUCCESS)
            return fail("no completion came", status);
    }
    return true;
}

bool nt_scene_await_counter(struct nt_scene *scene, const volatile LONG *counter, LONG value)
{
    while (*counter < value) {
        NTSTATUS status = NtDriverWait(&scene->driver, NT_SCENE_WAIT_MS);

        if (status != STATUS_SUCCESS)
            return fail("the driver never came to it", status);
    }
    return true;
}

bool nt_scene_all_back(const struct nt_scene *scene, uint32_t first, uint32_t end)
{
    for (uint32_t i = 0; i < NT_SCENE_COOKIES; i++) {
        uint32_t times = scene->cookies[i].completed + scene->cookies[i].cancelled;

        if (times != (i >= first && i < end ? 1u : 0u)) {
            fprintf(stderr, "nt_scene: cookie %u came back %u times\n", (unsigned)i, (unsigned)times);
            return false;
        }
    }
    return scene->strange == 0;
}

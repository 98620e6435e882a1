/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The scene of the reference driver's tests: see reference_scene.h. */
#include "reference_scene.h"

#include <stdio.h>
#include <string.h>

#define STRIDE (2 * REFERENCE_SCENE_BYTES)
#define BUFFER (REFERENCE_SCENE_REQUESTS * STRIDE)

#define UNITS_100NS_PER_MS 10000
#define SETTLE_NS          10000000000ull

static bool fail(const char *what, NTSTATUS status)
{
    fprintf(stderr, "reference_scene: %s (0x%08X)\n", what, (unsigned)status);
    return false;
}

/* ---- The keeper ---- */

static _Atomic int mood;

void reference_scene_mood(enum keeper_mood next)
{
    atomic_store(&mood, next);
}

static _Atomic uint32_t looks; /* that the keeper has taken at its queues */

/* A look that was under way at first may have missed what was asked for; the one behind the next has not. */
bool reference_scene_settle(struct aero_sim_device *device)
{
    uint64_t end = sim_os_now_ns() + SETTLE_NS;

    for (int i = 0; i < 2; i++) {
        uint32_t seen = atomic_load(&looks);

        aero_sim_device_wake(device);
        while (atomic_load(&looks) == seen) {
            if (sim_os_now_ns() > end)
                return fail("the keeper doesn't look", STATUS_TIMEOUT);
            sim_os_yield();
        }
    }
    return true;
}

static bool serves(void)
{
    int now = atomic_load(&mood);

    return now == KEEPER_SERVES || now == KEEPER_SERVES_ONE;
}

struct keeper {
    struct aero_sim_device *device;
};

static enum aero_sim_status keeper_open(void *state, struct aero_sim_device *device,
                                        const struct aero_sim_backend *backend, char *error,
                                        size_t error_bytes)
{
    ((struct keeper *)state)->device = device;
    return AERO_SIM_OK;
}

static void keeper_event(void *state)
{
    struct aero_sim_device *device = ((struct keeper *)state)->device;
    const struct aero_sim_chain *chain;
    uint8_t bytes[REFERENCE_SCENE_BYTES];

    if (atomic_load(&mood) == KEEPER_FAILS)
        aero_sim_device_fail(device);
    for (uint16_t queue = 0; queue < 2; queue++) {
        while (serves() && (chain = aero_sim_queue_peek(device, queue)) != NULL) {
            size_t length = aero_sim_chain_read(chain, 0, bytes, sizeof bytes);
            int one = KEEPER_SERVES_ONE;

            atomic_compare_exchange_strong(&mood, &one, KEEPER_KEEPS);
            aero_sim_queue_complete(device, queue, (uint32_t)aero_sim_chain_write(chain, 0, bytes, length));
        }
    }
    atomic_fetch_add(&looks, 1);
}

/* DRIVER_OK: where it fails it does so at once. */
static void keeper_ready(void *state, uint64_t features)
{
    if (atomic_load(&mood) == KEEPER_FAILS)
        aero_sim_device_fail(((struct keeper *)state)->device);
}

static const struct aero_sim_queue_spec keeper_queues[] = {{.name = "first", .size = 64},
                                                           {.name = "second", .size = 64}};
const struct aero_sim_model reference_scene_keeper = {
    .name = "keeper",
    .summary = "keeps chains until it is let go",
    .pci_device_id = 0x107C,
    .state_bytes = sizeof(struct keeper),
    .queue_count = 2,
    .queues = keeper_queues,
    .open = keeper_open,
    .ready = keeper_ready,
    .event = keeper_event,
};

/* ---- Requests ---- */

static uint8_t pattern(uint32_t request, uint32_t offset)
{
    return (uint8_t)(request * 37 + offset * 5 + 3);
}

/* DISPATCH_LEVEL, on any CPU. */
static VOID complete(PVOID context, REFERENCE_REQUEST *driver, ULONG length, NTSTATUS status)
{
    struct reference_scene *scene = context;
    struct reference_scene_request *request =
        CONTAINING_RECORD(driver, struct reference_scene_request, driver);
    uint32_t left = atomic_load(&scene->again);

    if (left > 0 && status == STATUS_SUCCESS) {
        atomic_store(&scene->again, left - 1);
        if (reference_scene_submit(scene, 0, (uint32_t)(request - scene->requests)) == STATUS_SUCCESS)
            return;
    }
    request->status = status;
    request->length = length;
    atomic_fetch_add(&request->back, 1);
    if (status == STATUS_SUCCESS)
        atomic_fetch_add(&scene->succeeded, 1);
    atomic_fetch_add(&scene->back, 1);
}

NTSTATUS reference_scene_submit(struct reference_scene *scene, uint32_t queue, uint32_t request)
{
    uint8_t *out = scene->buffer + STRIDE * request;
    AERO_VIRTIO_SEGMENT segments[2];

    memset(segments, 0, sizeof segments);
    segments[0].Address = scene->buffer_gpa + STRIDE * request;
    segments[1].Address = segments[0].Address + REFERENCE_SCENE_BYTES;
    segments[0].Length = segments[1].Length = REFERENCE_SCENE_BYTES;
    for (uint32_t i = 0; i < REFERENCE_SCENE_BYTES; i++)
        out[i] = pattern(request, i);
    memset(out + REFERENCE_SCENE_BYTES, 0, REFERENCE_SCENE_BYTES);
    return ReferenceSubmit(&scene->driver, queue, &scene->requests[request].driver, segments, 1, 1);
}

static bool is_echoed(const struct reference_scene *scene, uint32_t request)
{
    const uint8_t *in = scene->buffer + STRIDE * request + REFERENCE_SCENE_BYTES;

    for (uint32_t i = 0; i < REFERENCE_SCENE_BYTES; i++) {
        if (in[i] != pattern(request, i))
            return false;
    }
    return scene->requests[request].length == REFERENCE_SCENE_BYTES;
}

bool reference_scene_await(struct reference_scene *scene, uint32_t back)
{
    uint64_t end = sim_os_now_ns() + REFERENCE_SCENE_WAIT_MS * UINT64_C(1000000);
    LARGE_INTEGER timeout = {.QuadPart = -10 * UNITS_100NS_PER_MS};

    while (atomic_load(&scene->back) < back) {
        if (sim_os_now_ns() >= end)
            return fail("a request didn't come back", 0);
        KeWaitForSingleObject(&scene->driver.Progress, Executive, KernelMode, FALSE, &timeout);
    }
    return true;
}

bool reference_scene_are_back(const struct reference_scene *scene, uint32_t first, uint32_t end,
                              NTSTATUS status)
{
    for (uint32_t i = first; i < end; i++) {
        const struct reference_scene_request *request = &scene->requests[i];

        if (atomic_load(&request->back) != 1 || request->status != status ||
            (status == STATUS_SUCCESS && !is_echoed(scene, i))) {
            fprintf(stderr, "reference_scene: request %u came back %u times, at last with 0x%08X\n",
                    (unsigned)i, (unsigned)atomic_load(&request->back), (unsigned)request->status);
            return false;
        }
    }
    return true;
}

bool reference_scene_are_out(const struct reference_scene *scene, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (atomic_load(&scene->requests[i].back) != 0)
            return fail("a request is back that the device may still have", scene->requests[i].status);
    }
    return true;
}

bool reference_scene_works(struct reference_scene *scene, uint32_t request)
{
    uint32_t back = atomic_load(&scene->back);
    NTSTATUS status = reference_scene_submit(scene, 0, request);

    if (status != STATUS_SUCCESS)
        return fail("a request isn't taken", status);
    return reference_scene_await(scene, back + 1) &&
           reference_scene_are_back(scene, request, request + 1, STATUS_SUCCESS);
}

void reference_scene_tick(struct reference_scene *scene, uint32_t periods)
{
    LARGE_INTEGER period = {.QuadPart = -(LONGLONG)REFERENCE_SCENE_PERIOD_MS * UNITS_100NS_PER_MS};

    for (; periods > 0; periods--)
        KeDelayExecutionThread(KernelMode, FALSE, &period);
}

bool reference_scene_holds_nothing(const struct reference_scene *scene)
{
    uint32_t live = aero_nt_live_count(scene->rig.nt) - (scene->buffer != NULL);

    if (live != 0)
        fprintf(stderr, "reference_scene: the driver holds %u things\n", (unsigned)live);
    return live == 0;
}

/* ---- Scenes ---- */

bool reference_scene_create(struct reference_scene *scene, const struct aero_sim_model *model,
                            const struct nt_rig_options *options)
{
    struct nt_rig_options chosen = nt_rig_options_default();

    memset(scene, 0, sizeof *scene);
    chosen.virtual_clock = true;
    reference_scene_mood(KEEPER_KEEPS);
    return nt_rig_create(&scene->rig, options != NULL ? options : &chosen) &&
           nt_rig_add(&scene->rig, model, NULL);
}

static REFERENCE_RESOURCES resources_of(const NT_DRIVER_RESOURCES *from)
{
    return (REFERENCE_RESOURCES){.Bar0 = from->Bar0,
                                 .Bar0Length = from->Bar0Length,
                                 .Vector = from->Vector,
                                 .Irql = from->Irql,
                                 .Affinity = from->Affinity};
}

bool reference_scene_power_on(struct reference_scene *scene)
{
    PHYSICAL_ADDRESS highest = {.QuadPart = -1};

    if (!nt_rig_power_on(&scene->rig))
        return fail("the device doesn't start", 0);
    scene->buffer = MmAllocateContiguousMemory(BUFFER, highest);
    if (scene->buffer == NULL)
        return fail("no memory for the buffer", 0);
    scene->buffer_gpa = (uint64_t)MmGetPhysicalAddress(scene->buffer).QuadPart;
    scene->resources = resources_of(&scene->rig.devices[0].resources);
    scene->config = (REFERENCE_CONFIG){.QueueCount = 1,
                                       .PeriodMs = REFERENCE_SCENE_PERIOD_MS,
                                       .Limit = REFERENCE_SCENE_LIMIT,
                                       .DrainMs = 20,
                                       .Complete = complete,
                                       .Context = scene};
    return true;
}

NTSTATUS reference_scene_start(struct reference_scene *scene)
{
    USHORT id = (USHORT)aero_sim_pci_read(scene->rig.devices[0].device, 0x02, 2);
    NTSTATUS status = ReferenceFind(id, 0, &scene->location);

    if (status != STATUS_SUCCESS)
        return status;
    return ReferenceStart(&scene->driver, &scene->location, &scene->resources, &scene->config);
}

bool reference_scene_open(struct reference_scene *scene, const struct aero_sim_model *model)
{
    NTSTATUS status;

    if (!reference_scene_create(scene, model, NULL) || !reference_scene_power_on(scene))
        return false;
    status = reference_scene_start(scene);
    return status == STATUS_SUCCESS || fail(scene->driver.FailedIn, status);
}

uint32_t reference_scene_close(struct reference_scene *scene)
{
    if (scene->rig.nt == NULL)
        return 0;
    if (scene->rig.entered) {
        if (ReferenceStop(&scene->driver) == STATUS_IO_TIMEOUT) {
            nt_rig_unplug(&scene->rig);
            ReferenceStop(&scene->driver);
        }
        if (scene->buffer != NULL)
            MmFreeContiguousMemory(scene->buffer);
        scene->buffer = NULL;
    }
    return nt_rig_destroy(&scene->rig);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Builds and clears the scene of a row: see rig.h.
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>

/* What a model that needs a backend gets when the row has none of its own. */
#define SMALL_IMAGE_BYTES (1u << 20)

/* The driver's watchdog is on, as in a driver; but it's rig_wait that gives up. */
#define WATCHDOG_PERIOD_MS 1000u
#define WATCHDOG_LIMIT     3600u
#define DRAIN_MS           1000u

#define SECOND_100NS 10000000

/* ---- Failures ---- */

bool rig_fail(struct rig *rig, const char *function, NTSTATUS status)
{
    return bench_fail(rig->run, "%s: %s (0x%08X)", function, BenchStatusName(status), (unsigned)status);
}

bool rig_driver_fail(struct rig *rig, NTSTATUS status)
{
    return rig_fail(rig, rig->driver.FailedIn, status);
}

static bool sim_failed(struct rig *rig, const char *function, enum aero_sim_status status)
{
    const char *why = rig->device != NULL ? aero_sim_device_error(rig->device) : "";

    return bench_fail(rig->run, "%s: %s%s%s", function, aero_sim_status_name(status),
                      why[0] != '\0' ? ": " : "", why);
}

/* Any thread. The first one counts; rig_close reads it when all threads are done. */
static void note_breach(struct rig *rig, const char *rule, const char *what)
{
    if (atomic_exchange(&rig->breached, 1) == 0)
        snprintf(rig->breach, sizeof rig->breach, "breach of %s: %s", rule, what);
}

static void on_nt_breach(void *context, const struct aero_nt_breach *breach)
{
    note_breach(context, breach->rule, breach->text);
}

static void on_device_breach(void *context, const struct aero_sim_breach *breach)
{
    note_breach(context, breach->clause, breach->what);
}

/* ---- Open ---- */

static bool make_machine(struct rig *rig, const struct rig_options *options)
{
    struct aero_nt_options nt = aero_nt_options_default();
    struct aero_sim_worker_options worker = {.spin_ns = options->spin_ns,
                                             .cpu = rig->run->session->options.device_cpu};
    enum aero_sim_status status;

    nt.spin_ns = options->spin_ns;
    nt.breach = on_nt_breach;
    nt.breach_context = rig;
    if (options->machine_of != NULL) {
        rig->nt = options->machine_of->nt;
    } else {
        status = aero_nt_create(&nt, &rig->nt);
        if (status != AERO_SIM_OK)
            return sim_failed(rig, "aero_nt_create", status);
        rig->owns_nt = true;
    }
    if (options->worker_of != NULL) {
        rig->worker = options->worker_of->worker;
        return true;
    }
    status = aero_sim_worker_create(&worker, &rig->worker);
    rig->owns_worker = status == AERO_SIM_OK;
    return rig->owns_worker || sim_failed(rig, "aero_sim_worker_create", status);
}

static uint16_t queue_count(const struct rig_options *options)
{
    return options->queue_count != 0 ? options->queue_count : 1;
}

static bool configure(struct rig *rig, const struct rig_options *options)
{
    const struct bench_options *asked = &rig->run->session->options;
    enum aero_sim_status status = AERO_SIM_OK;
    char path[HOST_PATH_MAX], error[256];
    uint16_t queue;
    size_t i;

    for (queue = 0; status == AERO_SIM_OK && options->queue_size != 0 && queue < queue_count(options);
         queue++)
        status = aero_sim_device_set_queue_size(rig->device, queue, options->queue_size);
    if (status == AERO_SIM_OK && options->image != NULL)
        status = aero_sim_device_set_backend(rig->device, options->image, options->read_only);
    /* Every model but loopback may want a file; who doesn't ignores it. */
    if (status == AERO_SIM_OK && options->image == NULL && strcmp(options->model, "loopback") != 0) {
        if (!host_temp_file("small.img", SMALL_IMAGE_BYTES, path, error, sizeof error))
            return bench_fail(rig->run, "%s", error);
        status = aero_sim_device_set_backend(rig->device, path, false);
    }
    if (status == AERO_SIM_OK)
        status = aero_sim_device_set_poll_mode(rig->device, options->poll);
    if (status == AERO_SIM_OK)
        status = aero_sim_device_set_breach(rig->device, on_device_breach, rig);
    for (i = 0; status == AERO_SIM_OK && i < asked->quirk_count; i++)
        status = aero_sim_device_set_quirk(rig->device, asked->quirks[i], NULL);
    return status == AERO_SIM_OK || sim_failed(rig, "configuring the device", status);
}

static bool plug_in(struct rig *rig, const struct rig_options *options)
{
    struct aero_nt_device_info info;
    enum aero_sim_status status = aero_nt_attach(rig->nt, rig->device, NULL, &info);

    if (status != AERO_SIM_OK)
        return sim_failed(rig, "aero_nt_attach", status);
    rig->attached = true;
    if (options->attached != NULL)
        status = options->attached(rig->device, options->attached_context);
    if (status == AERO_SIM_OK)
        status = aero_sim_device_start(rig->device);
    if (status != AERO_SIM_OK)
        return sim_failed(rig, "aero_sim_device_start", status);
    status = aero_nt_enable(rig->nt, rig->device);
    if (status != AERO_SIM_OK)
        return sim_failed(rig, "aero_nt_enable", status);
    rig->resources.Bar0.QuadPart = (LONGLONG)info.bar0_gpa;
    rig->resources.Bar0Length = info.bar0_bytes;
    rig->resources.Vector = info.interrupt_vector;
    rig->resources.Irql = (KIRQL)info.interrupt_irql;
    rig->resources.Affinity = (KAFFINITY)info.interrupt_affinity;
    return true;
}

/* DISPATCH_LEVEL. The queue has counted it. */
static VOID completed(PVOID context, REFERENCE_REQUEST *request, ULONG length, NTSTATUS status)
{
    (void)context;
    (void)request;
    (void)length;
    (void)status;
}

static bool find(struct rig *rig, const struct rig_options *options)
{
    USHORT id = (USHORT)aero_sim_pci_read(rig->device, 0x02, 2);
    NTSTATUS status = ReferenceFind(id, options->instance, &rig->location);

    rig->config = (REFERENCE_CONFIG){.QueueCount = queue_count(options),
                                     .IndirectEntries = options->indirect,
                                     .Wanted = options->features,
                                     .Moderate = options->moderate,
                                     .PeriodMs = WATCHDOG_PERIOD_MS,
                                     .Limit = WATCHDOG_LIMIT,
                                     .DrainMs = DRAIN_MS,
                                     .Complete = options->complete != NULL ? options->complete : completed,
                                     .Context = options->context};
    return NT_SUCCESS(status) || rig_fail(rig, "ReferenceFind", status);
}

bool rig_open(struct rig *rig, struct bench_run *run, const struct rig_options *options)
{
    const struct aero_sim_model *model =
        options->own_model != NULL ? options->own_model : aero_sim_model_find(options->model);
    enum aero_sim_status status;

    memset(rig, 0, sizeof *rig);
    rig->run = run;
    rig->patience_seconds = RIG_PATIENCE_SECONDS;
    if (!make_machine(rig, options))
        return false;
    status = aero_sim_device_create(model, aero_nt_memory(rig->nt), rig->worker, &rig->device);
    if (status != AERO_SIM_OK)
        return sim_failed(rig, "aero_sim_device_create", status);
    if (!configure(rig, options) || !plug_in(rig, options))
        return false;
    rig->entered = !rig->owns_nt || aero_nt_cpu_enter(rig->nt, 0);
    if (!rig->entered)
        return bench_fail(run, "aero_nt_cpu_enter: the virtual CPU is taken");
    return find(rig, options);
}

bool rig_start(struct rig *rig, struct bench_run *run, const struct rig_options *options, bool connect)
{
    NTSTATUS status;

    if (!rig_open(rig, run, options))
        return false;
    rig->config.Poll = !connect;
    status = ReferenceStart(&rig->driver, &rig->location, &rig->resources, &rig->config);
    return NT_SUCCESS(status) || rig_driver_fail(rig, status);
}

NTSTATUS rig_submit(struct rig *rig, REFERENCE_REQUEST *request, const AERO_VIRTIO_SEGMENT *segments,
                    USHORT readable_count, USHORT writable_count)
{
    rig->failed_in = "ReferenceSubmit";
    return ReferenceSubmit(&rig->driver, 0, request, segments, readable_count, writable_count);
}

NTSTATUS rig_wait(struct rig *rig, ULONGLONG target)
{
    const REFERENCE_QUEUE *queue = &rig->driver.Queues[0];
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)SECOND_100NS * rig->patience_seconds};

    while (queue->Completed < target) {
        if (AeroVirtioSplitRingIsPoisoned(&queue->Ring)) {
            rig->failed_in = "AeroVirtioSplitRingReapMany";
            return STATUS_DEVICE_PROTOCOL_ERROR;
        }
        if (queue->Gate != STATUS_SUCCESS) {
            rig->failed_in = "the driver wants a reset";
            return queue->Gate;
        }
        if (KeWaitForSingleObject(&rig->driver.Progress, Executive, KernelMode, FALSE, &timeout) ==
            STATUS_TIMEOUT) {
            rig->failed_in = "KeWaitForSingleObject (no interrupt came)";
            return STATUS_IO_TIMEOUT;
        }
    }
    return STATUS_SUCCESS;
}

bool rig_allocate(struct rig *rig, uint32_t bytes)
{
    PHYSICAL_ADDRESS highest = {.QuadPart = -1};
    uint64_t state = rig->run->session->options.seed, word;
    uint32_t i;

    rig->memory = MmAllocateContiguousMemory(bytes, highest);
    if (rig->memory == NULL)
        return rig_fail(rig, "MmAllocateContiguousMemory", STATUS_INSUFFICIENT_RESOURCES);
    rig->memory_gpa = (ULONGLONG)MmGetPhysicalAddress(rig->memory).QuadPart;
    for (i = 0; i < bytes; i += sizeof word) {
        word = bench_random(&state);
        memcpy(rig->memory + i, &word, bytes - i < sizeof word ? bytes - i : sizeof word);
    }
    return true;
}

/* ---- Close ---- */

/* A row that failed may have left chains of its own on a ring, which the driver would take for requests. */
static void take_back(struct rig *rig)
{
    AERO_VIRTIO_SPLIT_RING *ring;
    void *cookie;
    ULONG i;

    for (i = 0; rig->config.Poll && i < rig->driver.QueueCount; i++) {
        ring = &rig->driver.Queues[i].Ring;
        if (AeroVirtioSplitRingInFlightCount(ring) == 0)
            continue;
        aero_sim_device_stop(rig->device); /* from here on it touches no memory */
        while (AeroVirtioSplitRingTakeBack(ring, &cookie))
            continue;
    }
}

void rig_leave(struct rig *rig)
{
    aero_nt_cpu_leave(rig->nt);
}

void rig_enter(struct rig *rig)
{
    rig->entered = aero_nt_cpu_enter(rig->nt, 0);
}

bool rig_close(struct rig *rig, bool ok)
{
    NTSTATUS status;

    if (rig->entered) {
        take_back(rig);
        status = ReferenceStop(&rig->driver);
        if (!NT_SUCCESS(status))
            ok = rig_driver_fail(rig, status);
    }
    if (rig->device != NULL)
        aero_sim_device_stop(rig->device);
    if (rig->entered) {
        (void)ReferenceStop(&rig->driver); /* now it's gone, whatever it thought of its reset */
        if (rig->memory != NULL)
            MmFreeContiguousMemory(rig->memory);
        if (rig->owns_nt)
            aero_nt_cpu_leave(rig->nt);
    }
    if (rig->attached)
        aero_nt_detach(rig->nt, rig->device);
    aero_sim_device_destroy(rig->device);
    if (rig->owns_worker)
        aero_sim_worker_destroy(rig->worker);
    if (rig->owns_nt)
        aero_nt_destroy(rig->nt);
    if (atomic_load(&rig->breached))
        ok = bench_fail(rig->run, "%s", rig->breach);
    return ok;
}

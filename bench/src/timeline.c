/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The steps of one cycle: see timeline.h. Driver and device are of the same kind as those of the rows, with
 * a stamp at each place: a service routine and a DPC of its own, where the reference driver has set up the
 * ring, and a device that takes its chains in its event function, where the core shows it more than a serve
 * function gets to see.
 *
 * Whose stamp is due is told before a turn and read by both sides meanwhile, each side writes stamps of its
 * own only, and they are looked at after the turn: no line travels between the two that wouldn't without
 * the stamps.
 */
#include "timeline.h"

#include "aero_sim_model.h"
#include "rig.h"
#include "stats.h"

#include <stdlib.h>
#include <string.h>

#define TURN_CYCLES  250u
#define ROUNDS       80u
#define ROUNDS_SMOKE 1u

/* One side's stamps of a turn, on cache lines that only it writes. */
struct stamps {
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t
        cycle; /* relaxed, as `due` is: the cycles themselves give the order */
    uint64_t ticks[TURN_CYCLES];
};

struct scene {
    /* Set between turns. Constant: the line's way. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t due;
    aero_sim_intx_fn *line; /* the machine's, which the device's line goes to */
    void *line_context;

    struct stamps device, driver;
    uint64_t start[TURN_CYCLES], stop[TURN_CYCLES];

    struct bench_run run;
    struct rig rig;
    /* These three are the reference driver's, which is started without its interrupt. */
    AERO_VIRTIO_PCI_MODERN_DEVICE *transport;
    AERO_VIRTIO_SPLIT_RING *ring;
    USHORT notify_off;
    PKINTERRUPT interrupt;
    KDPC dpc;
    KSPIN_LOCK lock; /* over the ring, and the next two */
    ULONGLONG completed;
    NTSTATUS reap_status; /* why reaping stopped for good, or STATUS_SUCCESS */
    KEVENT done;          /* the DPC has run */
    AERO_VIRTIO_SEGMENT segment;

    uint64_t *offsets[TIMELINE_PLACES]; /* in ticks, of each cycle of the place's turns */
    uint32_t cycles;                    /* in each of those */
};

static inline void stamp(struct scene *scene, struct stamps *side, enum timeline_place place)
{
    uint32_t cycle;

    if (atomic_load_explicit(&scene->due, memory_order_relaxed) != place)
        return;
    cycle = atomic_load_explicit(&side->cycle, memory_order_relaxed);
    if (cycle < TURN_CYCLES) /* a quirk may raise the line more often */
        side->ticks[cycle] = clock_now();
}

/* ---- The device, on the worker ---- */

struct state {
    struct scene *scene;
    struct aero_sim_device *device;
};

/* The model is handed no context of ours, and there is one scene at a time. */
static struct scene *open_scene;

static enum aero_sim_status stamped_open(void *state, struct aero_sim_device *device,
                                         const struct aero_sim_backend *backend, char *error,
                                         size_t error_bytes)
{
    struct state *own = state;

    (void)backend;
    (void)error;
    (void)error_bytes;
    own->scene = open_scene;
    own->device = device;
    return AERO_SIM_OK;
}

static void stamped_event(void *state)
{
    struct state *own = state;
    struct scene *scene = own->scene;

    stamp(scene, &scene->device, TIMELINE_SEEN);
    if (aero_sim_queue_peek(own->device, 0) == NULL)
        return; /* the event that DRIVER_OK brings */
    stamp(scene, &scene->device, TIMELINE_TAKEN);
    aero_sim_queue_complete(own->device, 0, 0);
    stamp(scene, &scene->device, TIMELINE_PUT);
}

static void stamped_line(void *context, bool asserted)
{
    struct scene *scene = context;

    if (asserted) {
        stamp(scene, &scene->device, TIMELINE_RAISED);
        atomic_fetch_add_explicit(&scene->device.cycle, 1, memory_order_relaxed);
    }
    scene->line(scene->line_context, asserted);
}

static const struct aero_sim_queue_spec stamped_queue = {.name = "stamped", .size = 256};

static const struct aero_sim_model stamped = {
    .name = "stamped",
    .summary = "takes chains, and stamps what it does",
    .pci_device_id = 0x107F, /* loopback's, which it stands in for */
    .subsystem_id = 0x003F,
    .class_code = 0x00FF00,
    .state_bytes = sizeof(struct state),
    .queue_count = 1,
    .queues = &stamped_queue,
    .open = stamped_open,
    .event = stamped_event,
};

/* ---- The driver ---- */

/* DIRQL */
static BOOLEAN NTAPI stamped_isr(struct _KINTERRUPT *interrupt, PVOID context)
{
    struct scene *scene = context;
    UCHAR isr;

    UNREFERENCED_PARAMETER(interrupt);
    stamp(scene, &scene->driver, TIMELINE_ENTERED);
    isr = AeroVirtioReadIsr(scene->transport);
    if ((isr & VIRTIO_PCI_ISR_QUEUE) == 0)
        return FALSE;
    stamp(scene, &scene->driver, TIMELINE_READ);
    KeInsertQueueDpc(&scene->dpc, NULL, NULL);
    return TRUE;
}

/* DISPATCH_LEVEL */
static VOID NTAPI stamped_dpc(struct _KDPC *dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    struct scene *scene = context;
    NTSTATUS status;
    PVOID cookie;
    ULONG length;

    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(argument1);
    UNREFERENCED_PARAMETER(argument2);
    stamp(scene, &scene->driver, TIMELINE_DPC);
    KeAcquireSpinLockAtDpcLevel(&scene->lock);
    status = AeroVirtioSplitRingReap(scene->ring, &cookie, &length);
    if (NT_SUCCESS(status)) {
        stamp(scene, &scene->driver, TIMELINE_REAPED);
        scene->completed++;
    } else if (status != STATUS_NO_MORE_ENTRIES) {
        scene->reap_status = status;
    }
    KeReleaseSpinLockFromDpcLevel(&scene->lock);
    KeSetEvent(&scene->done, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS wait_for(struct scene *scene, ULONGLONG target)
{
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)10000000 * RIG_PATIENCE_SECONDS};

    while (scene->completed < target) {
        if (!NT_SUCCESS(scene->reap_status))
            return scene->reap_status;
        if (KeWaitForSingleObject(&scene->done, Executive, KernelMode, FALSE, &timeout) == STATUS_TIMEOUT)
            return STATUS_IO_TIMEOUT;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS cycle(struct scene *scene)
{
    ULONGLONG target = scene->completed + 1; /* asked now: the interrupt may come at the release */
    NTSTATUS status;
    KIRQL irql;

    KeAcquireSpinLock(&scene->lock, &irql);
    status = AeroVirtioSplitRingAdd(scene->ring, &scene->segment, 1, 0, scene);
    stamp(scene, &scene->driver, TIMELINE_ADDED);
    AeroVirtioSplitRingPublish(scene->ring);
    stamp(scene, &scene->driver, TIMELINE_PUBLISHED);
    if (NT_SUCCESS(status) && AeroVirtioSplitRingNeedsKick(scene->ring))
        status = AeroVirtioNotifyQueue(scene->transport, 0, scene->notify_off);
    stamp(scene, &scene->driver, TIMELINE_RUNG);
    KeReleaseSpinLock(&scene->lock, irql);
    return NT_SUCCESS(status) ? wait_for(scene, target) : status;
}

/* ---- Turns ---- */

/* The place of a stamp says which side's it is; the end of the cycle is stamped in any case. */
static const uint64_t *stamps_of(const struct scene *scene, enum timeline_place place)
{
    if (place == TIMELINE_AWAKE)
        return scene->stop;
    return place >= TIMELINE_SEEN && place <= TIMELINE_RAISED ? scene->device.ticks : scene->driver.ticks;
}

static NTSTATUS turn(struct scene *scene, enum timeline_place place, bool keep)
{
    const uint64_t *stamps = stamps_of(scene, place);
    NTSTATUS status = STATUS_SUCCESS;
    uint32_t i;

    atomic_store_explicit(&scene->due, place, memory_order_relaxed);
    atomic_store_explicit(&scene->device.cycle, 0, memory_order_relaxed);
    for (i = 0; i < TURN_CYCLES && NT_SUCCESS(status); i++) {
        atomic_store_explicit(&scene->driver.cycle, i, memory_order_relaxed);
        scene->start[i] = clock_now();
        status = cycle(scene);
        scene->stop[i] = clock_now();
    }
    for (i = 0; keep && i < TURN_CYCLES; i++)
        scene->offsets[place][scene->cycles + i] = stamps[i] - scene->start[i];
    return status;
}

/* All places in turn, again and again, so that a machine that changes its mind does so to all alike. */
static NTSTATUS rounds(struct scene *scene)
{
    const struct bench_session *session = scene->run.session;
    uint32_t count = session->options.smoke ? ROUNDS_SMOKE : ROUNDS, round;
    uint64_t begun = sim_os_now_ns();
    NTSTATUS status = turn(scene, TIMELINE_AWAKE, false); /* warms up */
    enum timeline_place place;

    for (round = 0; round < count && NT_SUCCESS(status); round++) {
        if (round > 0 && sim_os_now_ns() - begun > session->row_ns)
            break;
        for (place = 0; place < TIMELINE_PLACES && NT_SUCCESS(status) && !host_interrupted; place++)
            status = turn(scene, place, true);
        if (host_interrupted)
            break;
        scene->cycles += TURN_CYCLES;
    }
    return status;
}

/* ---- The scene ---- */

static bool allocate(struct scene *scene)
{
    uint32_t rounds = scene->run.session->options.smoke ? ROUNDS_SMOKE : ROUNDS;
    size_t i;

    for (i = 0; i < TIMELINE_PLACES; i++) {
        scene->offsets[i] = calloc((size_t)rounds * TURN_CYCLES, sizeof *scene->offsets[i]);
        if (scene->offsets[i] == NULL)
            return bench_fail(&scene->run, "no memory");
    }
    return true;
}

/* The line's way to the machine leads past our stamp. The device is attached, and not yet started. */
static enum aero_sim_status tap_line(struct aero_sim_device *device, void *context)
{
    struct scene *scene = context;

    scene->line = aero_sim_device_intx(device, &scene->line_context);
    return aero_sim_device_set_intx(device, stamped_line, scene);
}

static bool set_scene(struct scene *scene)
{
    const struct rig_options options = {.model = "loopback",
                                        .own_model = &stamped,
                                        .attached = tap_line,
                                        .attached_context = scene,
                                        .spin_ns = RIG_SPIN,
                                        .queue_size = 256};
    const REFERENCE_RESOURCES *resources = &scene->rig.resources;
    NTSTATUS status;

    if (!rig_start(&scene->rig, &scene->run, &options, false) || !rig_allocate(&scene->rig, 13))
        return false;
    scene->segment.Address = scene->rig.memory_gpa;
    scene->segment.Length = 13;
    scene->transport = &scene->rig.driver.Transport;
    scene->ring = &scene->rig.driver.Queues[0].Ring;
    scene->notify_off = scene->rig.driver.Queues[0].NotifyOff;
    KeInitializeSpinLock(&scene->lock);
    KeInitializeEvent(&scene->done, SynchronizationEvent, FALSE);
    KeInitializeDpc(&scene->dpc, stamped_dpc, scene);
    status =
        IoConnectInterrupt(&scene->interrupt, stamped_isr, scene, NULL, resources->Vector, resources->Irql,
                           resources->Irql, LevelSensitive, TRUE, resources->Affinity, FALSE);
    if (NT_SUCCESS(status))
        return true;
    scene->interrupt = NULL;
    return rig_fail(&scene->rig, "IoConnectInterrupt", status);
}

static bool clear_scene(struct scene *scene, bool ok)
{
    if (scene->interrupt != NULL) {
        IoDisconnectInterrupt(scene->interrupt);
        KeRemoveQueueDpc(&scene->dpc);
    }
    return rig_close(&scene->rig, ok);
}

/* ---- What came of it ---- */

/*
 * The mean of the middle half: it is as deaf to what others do to the machine as a median, and finer than
 * the steps that some CPUs count the TSC in.
 */
static double middle(uint64_t *ticks, uint32_t n)
{
    stats_spread(ticks, n, 1, 1); /* sorts */
    return stats_mean_ns(ticks + n / 4, n - 2 * (n / 4), bench_clock.ns_per_tick, 1);
}

bool timeline_measure(struct bench_session *session, struct timeline *timeline)
{
    static struct scene scene;
    double offsets[TIMELINE_PLACES];
    NTSTATUS status;
    bool ok;
    size_t i;

    memset(timeline, 0, sizeof *timeline);
    memset(&scene, 0, sizeof scene);
    scene.run.session = session;
    scene.due = TIMELINE_AWAKE;
    open_scene = &scene;
    ok = allocate(&scene) && set_scene(&scene);
    if (ok) {
        status = rounds(&scene);
        ok = NT_SUCCESS(status) || rig_fail(&scene.rig, "a cycle of the timeline", status);
    }
    ok = clear_scene(&scene, ok);
    if (ok && scene.cycles == 0)
        ok = bench_fail(&scene.run, "interrupted");
    for (i = 0; ok && i < TIMELINE_PLACES; i++)
        offsets[i] = middle(scene.offsets[i], scene.cycles);
    if (ok)
        timeline_steps(offsets, timeline);
    timeline->cycles = scene.cycles;
    snprintf(timeline->failure, sizeof timeline->failure, "%s", scene.run.failure);
    for (i = 0; i < TIMELINE_PLACES; i++)
        free(scene.offsets[i]);
    return ok;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A device's life: create, configure, start, stop, destroy. Everything here runs on the one thread that owns the device's
 * lifecycle, sim_device_breach and the counters excepted.
 */
#include "device.h"

#include "worker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *aero_sim_status_name(enum aero_sim_status status)
{
    static const char *const names[] = {
        [AERO_SIM_OK] = "AERO_SIM_OK",
        [AERO_SIM_BAD_ARGUMENT] = "AERO_SIM_BAD_ARGUMENT",
        [AERO_SIM_BAD_STATE] = "AERO_SIM_BAD_STATE",
        [AERO_SIM_NO_MEMORY] = "AERO_SIM_NO_MEMORY",
        [AERO_SIM_NOT_FOUND] = "AERO_SIM_NOT_FOUND",
        [AERO_SIM_OVERLAP] = "AERO_SIM_OVERLAP",
        [AERO_SIM_LIMIT] = "AERO_SIM_LIMIT",
        [AERO_SIM_IO] = "AERO_SIM_IO",
    };

    return (size_t)status < sizeof names / sizeof names[0] ? names[status] : "unknown aero_sim_status";
}

/* Keeps the reason for aero_sim_device_error, and passes the status on. */
static enum aero_sim_status refuse(struct aero_sim_device *device, enum aero_sim_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum aero_sim_status refuse(struct aero_sim_device *device, enum aero_sim_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(device->error, sizeof device->error, format, arguments);
    va_end(arguments);
    return status;
}

static bool size_is_legal(uint32_t size)
{
    return size && size <= AERO_SIM_QUEUE_SIZE_MAX && !(size & (size - 1));
}

/* ---- Create ---- */

/* EVENT_IDX and PACKED (RNG-4): the core has neither. */
#define FEATURES_NEVER_OFFERED (1ull << 29 | 1ull << 34)

static bool model_is_legal(const struct aero_sim_model *model)
{
    if (!model->name || !model->queues || !model->queue_count || model->queue_count > AERO_SIM_QUEUES_MAX ||
        model->config_bytes > 256 || model->class_code > 0xFFFFFF || (model->features & FEATURES_NEVER_OFFERED))
        return false;
    for (uint32_t i = 0; i < model->queue_count; i++) {
        if (!size_is_legal(model->queues[i].size) || (!model->queues[i].serve && !model->event))
            return false;
    }
    return true;
}

static bool allocate(struct aero_sim_device *device)
{
    const struct aero_sim_model *model = device->model;

    device->state = calloc(1, model->state_bytes ? model->state_bytes : 1);
    device->queues = sim_os_memory_map(model->queue_count * sizeof *device->queues);
    if (!device->state || !device->queues)
        return false;
    for (uint32_t i = 0; i < model->queue_count; i++) {
        device->queues[i].serve = model->queues[i].serve;
        atomic_init(&device->queues[i].registers[SIM_REG_QUEUE_SIZE], model->queues[i].size);
    }
    return true;
}

enum aero_sim_status aero_sim_device_create(const struct aero_sim_model *model, struct aero_sim_memory *memory,
                                            struct aero_sim_worker *worker, struct aero_sim_device **device_out)
{
    struct aero_sim_device *device;

    if (!device_out)
        return AERO_SIM_BAD_ARGUMENT;
    *device_out = NULL;
    if (!model || !memory || !model_is_legal(model))
        return AERO_SIM_BAD_ARGUMENT;
    device = sim_os_memory_map(sizeof *device);
    if (!device)
        return AERO_SIM_NO_MEMORY;
    device->model = model;
    device->revision = 0x01;
    device->memory = memory;
    device->worker = worker;
    device->queue_count = model->queue_count;
    device->features_offered = model->features | AERO_SIM_F_VERSION_1 | AERO_SIM_F_INDIRECT_DESC; /* COM-6, RNG-4 */
    atomic_init(&device->watch, SIM_WATCH_ABSENT);
    if (!allocate(device)) {
        aero_sim_device_destroy(device);
        return AERO_SIM_NO_MEMORY;
    }
    *device_out = device;
    return AERO_SIM_OK;
}

const char *aero_sim_device_error(const struct aero_sim_device *device)
{
    return device ? device->error : "";
}

/* ---- Configure ---- */

static enum aero_sim_status may_configure(struct aero_sim_device *device)
{
    if (!device)
        return AERO_SIM_BAD_ARGUMENT;
    if (device->started)
        return refuse(device, AERO_SIM_BAD_STATE, "%s: configuration ends when the device starts", device->model->name);
    device->error[0] = '\0';
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_queue_size(struct aero_sim_device *device, uint16_t queue, uint16_t size)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    if (queue >= device->queue_count)
        return refuse(device, AERO_SIM_NOT_FOUND, "%s: queue %u: it has queues 0 to %" PRIu32, device->model->name, queue,
                      device->queue_count - 1);
    if (!size_is_legal(size))
        return refuse(device, AERO_SIM_BAD_ARGUMENT, "%s: queue size %u: a power of two up to 32768 would do",
                      device->model->name, size);
    atomic_store_explicit(&device->queues[queue].registers[SIM_REG_QUEUE_SIZE], size, memory_order_relaxed);
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_revision(struct aero_sim_device *device, uint8_t revision)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    device->revision = revision;
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_backend(struct aero_sim_device *device, const char *path, bool read_only)
{
    enum aero_sim_status status = may_configure(device);
    char *copy;

    if (status)
        return status;
    if (!path || !*path)
        return refuse(device, AERO_SIM_BAD_ARGUMENT, "%s: the backend's path is empty", device->model->name);
    copy = malloc(strlen(path) + 1);
    if (!copy)
        return refuse(device, AERO_SIM_NO_MEMORY, "%s: no memory for the backend's path", device->model->name);
    strcpy(copy, path);
    free(device->backend_path);
    device->backend_path = copy;
    device->backend_read_only = read_only;
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_poll_mode(struct aero_sim_device *device, bool on)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    if (on && !device->worker)
        return refuse(device, AERO_SIM_BAD_ARGUMENT, "%s: poll mode needs a worker", device->model->name);
    device->poll_mode = on;
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_intx(struct aero_sim_device *device, aero_sim_intx_fn *fn, void *context)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    device->interrupts.fn = fn;
    device->interrupts.context = context;
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_intx_line(struct aero_sim_device *device, const void *line)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    device->interrupts.written = line;
    return AERO_SIM_OK;
}

aero_sim_intx_fn *aero_sim_device_intx(const struct aero_sim_device *device, void **context_out)
{
    *context_out = device ? device->interrupts.context : NULL;
    return device ? device->interrupts.fn : NULL;
}

enum aero_sim_status aero_sim_device_set_breach(struct aero_sim_device *device, aero_sim_breach_fn *fn, void *context)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    device->breach = fn;
    device->breach_context = context;
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_quirk(struct aero_sim_device *device, const char *name,
                                               const struct aero_sim_quirk_trigger *trigger)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    if (!name)
        return refuse(device, AERO_SIM_BAD_ARGUMENT, "%s: a quirk needs a name", device->model->name);
    if (sim_quirk_set(&device->quirks, name, trigger))
        return refuse(device, AERO_SIM_NOT_FOUND, "%s: no quirk is called '%s'", device->model->name, name);
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_set_trace(struct aero_sim_device *device, uint32_t events)
{
    enum aero_sim_status status = may_configure(device);

    if (status)
        return status;
    if (!events || events > 1u << 20 || (events & (events - 1)))
        return refuse(device, AERO_SIM_BAD_ARGUMENT, "%s: a trace of %" PRIu32 " events: a power of two up to 2^20 would do",
                      device->model->name, events);
    device->trace_events = events;
    return AERO_SIM_OK;
}

/* ---- Start and stop ---- */

static void close_model(struct aero_sim_device *device)
{
    if (device->model->close)
        device->model->close(device->state);
}

static enum aero_sim_status open_model(struct aero_sim_device *device)
{
    struct aero_sim_backend backend = {.path = device->backend_path, .read_only = device->backend_read_only};

    if (!device->model->open)
        return AERO_SIM_OK;
    return device->model->open(device->state, device, &backend, device->error, sizeof device->error);
}

static void free_run_time(struct aero_sim_device *device)
{
    for (uint32_t i = 0; i < device->queue_count; i++) {
        if (device->queues[i].ring.room != device->room)
            sim_room_destroy(device->queues[i].ring.room);
        device->queues[i].ring.room = NULL;
    }
    sim_room_destroy(device->room);
    device->room = NULL;
    sim_trace_destroy(device->trace);
    device->trace = NULL;
}

/* One room for all queues whose chains are served at once; one for each queue whose chains wait. */
static bool allocate_rooms(struct aero_sim_device *device)
{
    uint32_t largest = 0;

    for (uint32_t i = 0; i < device->queue_count; i++) {
        struct sim_queue *queue = &device->queues[i];
        uint32_t size = atomic_load_explicit(&queue->registers[SIM_REG_QUEUE_SIZE], memory_order_relaxed);

        if (queue->serve) {
            largest = size > largest ? size : largest;
        } else {
            queue->ring.room = sim_room_create(size);
            if (!queue->ring.room)
                return false;
        }
    }
    if (!largest)
        return true;
    device->room = sim_room_create(largest);
    for (uint32_t i = 0; i < device->queue_count; i++) {
        if (device->queues[i].serve)
            device->queues[i].ring.room = device->room;
    }
    return device->room;
}

static bool allocate_run_time(struct aero_sim_device *device)
{
    if (!allocate_rooms(device))
        return false;
    if (device->trace_events)
        device->trace = sim_trace_create(device->trace_events);
    return !device->trace_events || device->trace;
}

static void leave_worker(struct aero_sim_device *device)
{
    if (device->worker) {
        sim_worker_remove(device->worker, device);
        device->sleeps = atomic_load_explicit(&device->worker->sleeps, memory_order_relaxed);
    }
    device->worker = NULL; /* it may be destroyed before this device is */
}

enum aero_sim_status aero_sim_device_start(struct aero_sim_device *device)
{
    enum aero_sim_status status = may_configure(device);
    uint32_t watch = SIM_WATCH_DECODE_OFF;

    if (status)
        return status;
    if (!allocate_run_time(device)) {
        free_run_time(device);
        return refuse(device, AERO_SIM_NO_MEMORY, "%s: no memory for its rings or its trace", device->model->name);
    }
    sim_common_initialise(device);
    sim_pci_initialise(device);
    /* Before open, and off it after close: a model's own threads may wake the device as long as they live. */
    if (device->worker)
        status = sim_worker_add(device->worker, device);
    if (status) {
        free_run_time(device);
        return refuse(device, status, "%s: its worker has %u devices already", device->model->name,
                      AERO_SIM_DEVICES_MAX);
    }
    status = open_model(device);
    if (status) {
        leave_worker(device);
        free_run_time(device);
        return status;
    }
    sim_memory_freeze(device->memory);
    if (device->trace)
        watch |= SIM_WATCH_TRACE;
    if (device->quirks.mask)
        watch |= SIM_WATCH_QUIRK;
    device->started = true;
    atomic_store_explicit(&device->watch, watch, memory_order_release);
    return AERO_SIM_OK;
}

enum aero_sim_status aero_sim_device_stop(struct aero_sim_device *device)
{
    if (!device)
        return AERO_SIM_BAD_ARGUMENT;
    if (!device->started || device->stopped)
        return refuse(device, AERO_SIM_BAD_STATE, "%s: it is not running", device->model->name);
    sim_service_drain(device);
    sim_os_lock_acquire(&device->lock);
    atomic_fetch_or_explicit(&device->watch, SIM_WATCH_ABSENT, memory_order_seq_cst);
    sim_service_halt(device);
    sim_line_update(device);
    sim_os_lock_release(&device->lock);
    close_model(device);
    leave_worker(device);
    device->stopped = true;
    device->error[0] = '\0';
    return AERO_SIM_OK;
}

void aero_sim_device_destroy(struct aero_sim_device *device)
{
    if (!device)
        return;
    if (device->started && !device->stopped)
        aero_sim_device_stop(device);
    if (device->queues) {
        free_run_time(device);
        sim_os_memory_unmap(device->queues, device->queue_count * sizeof *device->queues);
    }
    free(device->state);
    free(device->backend_path);
    sim_os_memory_unmap(device, sizeof *device);
}

/* ---- Reports ---- */

void sim_device_breach(struct aero_sim_device *device, const char *clause, const char *what, uint32_t queue,
                       uint32_t index, uint64_t value, uint64_t step)
{
    struct aero_sim_breach breach = {
        .clause = clause, .what = what, .queue = queue, .index = index, .value = value, .step = step};

    atomic_fetch_add_explicit(&device->breaches, 1, memory_order_relaxed);
    sim_device_trace(device, SIM_TRACE_BREACH, queue, 0, value);
    if (device->breach)
        device->breach(device->breach_context, &breach);
}

void aero_sim_device_counters(const struct aero_sim_device *device, struct aero_sim_counters *counters_out)
{
    *counters_out = (struct aero_sim_counters){
        .doorbells = atomic_load_explicit(&device->doorbells, memory_order_relaxed),
        .interrupts = atomic_load_explicit(&device->interrupts.asserted, memory_order_relaxed),
        .breaches = atomic_load_explicit(&device->breaches, memory_order_relaxed),
        .sleeps = device->worker ? atomic_load_explicit(&device->worker->sleeps, memory_order_relaxed) : device->sleeps,
    };
    for (uint32_t i = 0; i < device->queue_count; i++)
        counters_out->chains += atomic_load_explicit(&device->queues[i].chains, memory_order_relaxed);
}

enum aero_sim_status aero_sim_device_trace_write(const struct aero_sim_device *device, FILE *stream)
{
    if (!device || !stream)
        return AERO_SIM_BAD_ARGUMENT;
    return device->trace ? sim_trace_write(device->trace, device->model->name, stream) : AERO_SIM_BAD_STATE;
}

static uint64_t play(struct aero_sim_device *device, enum sim_trace_kind kind, uint32_t where, uint32_t width,
                     uint64_t value)
{
    switch (kind) {
    case SIM_TRACE_PCI_READ:
        return aero_sim_pci_read(device, where, width);
    case SIM_TRACE_PCI_WRITE:
        aero_sim_pci_write(device, where, width, (uint32_t)value);
        return value;
    case SIM_TRACE_BAR_READ:
        return aero_sim_bar_read(device, where, width);
    case SIM_TRACE_BUS_RESET:
        aero_sim_bus_reset(device);
        return value;
    default:
        aero_sim_bar_write(device, where, width, value);
        return value;
    }
}

enum aero_sim_status aero_sim_device_trace_replay(struct aero_sim_device *device, FILE *stream,
                                                  uint32_t *mismatches_out)
{
    enum sim_trace_kind kind;
    uint32_t line = 0, mismatches = 0, where, width;
    uint64_t value;
    int more;

    if (!device || !stream || !mismatches_out)
        return AERO_SIM_BAD_ARGUMENT;
    *mismatches_out = 0;
    if (!device->started || device->stopped)
        return refuse(device, AERO_SIM_BAD_STATE, "%s: it is not running", device->model->name);
    while ((more = sim_trace_read_access(stream, &line, &kind, &where, &width, &value)) > 0)
        mismatches += play(device, kind, where, width, value) != value;
    if (more < 0)
        return refuse(device, AERO_SIM_IO, "trace line %" PRIu32 " is not '%s'", line,
                      line > 1 ? "KIND OFFSET WIDTH VALUE" : "aero-trace 1 MODEL");
    *mismatches_out = mismatches;
    device->error[0] = '\0';
    return AERO_SIM_OK;
}

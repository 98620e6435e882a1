/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The trace and its text form. The text's first line is "aero-trace 1 MODEL"; then one event a line, oldest first:
 *
 *     bar-write 0x0014 1 0x1        kind, offset in hex, width, value in hex
 *     take 0x0000 0 0x3             for the device's own steps: queue, 0, value
 *
 * '#' starts a comment line. aero_sim_device_trace_replay plays the pci-*, bar-* and bus-reset lines and
 * passes over the others.
 */
#include "trace.h"

#include "os.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * A slot is written in the order stamp = 0, fields, stamp = sequence + 1, so that a reader which finds the stamp that it
 * expects before and after it read the fields knows that they belong together (a sequence lock without the lock).
 */
struct slot {
    _Atomic uint32_t stamp;
    _Atomic uint32_t kind_width;
    _Atomic uint32_t where;
    _Atomic uint32_t value_low;
    _Atomic uint32_t value_high;
};

struct sim_trace {
    uint32_t mask;
    _Atomic uint32_t next;
    struct slot slots[];
};

static const char *const kind_names[SIM_TRACE_KIND_COUNT] = {
    "pci-read", "pci-write", "bar-read", "bar-write", "bus-reset", "take", "put", "publish", "isr", "line", "breach",
};

struct sim_trace *sim_trace_create(uint32_t events)
{
    struct sim_trace *trace = calloc(1, sizeof *trace + (size_t)events * sizeof trace->slots[0]);

    if (trace)
        trace->mask = events - 1;
    return trace;
}

void sim_trace_destroy(struct sim_trace *trace)
{
    free(trace);
}

void sim_trace_add(struct sim_trace *trace, enum sim_trace_kind kind, uint32_t where, uint32_t width, uint64_t value)
{
    uint32_t sequence = atomic_fetch_add_explicit(&trace->next, 1, memory_order_relaxed);
    struct slot *slot = &trace->slots[sequence & trace->mask];

    atomic_store_explicit(&slot->stamp, 0, memory_order_relaxed);
    /* Release stores, so that no field of this event shows before the stamp is seen to be 0; pairs with the acquire
     * loads in read_slot. */
    atomic_store_explicit(&slot->kind_width, (uint32_t)kind | width << 16, memory_order_release);
    atomic_store_explicit(&slot->where, where, memory_order_release);
    atomic_store_explicit(&slot->value_low, (uint32_t)value, memory_order_release);
    atomic_store_explicit(&slot->value_high, (uint32_t)(value >> 32), memory_order_release);
    atomic_store_explicit(&slot->stamp, sequence + 1, memory_order_release);
}

struct event {
    uint32_t kind, width, where;
    uint64_t value;
};

static bool read_slot(const struct sim_trace *trace, uint32_t sequence, struct event *event)
{
    const struct slot *slot = &trace->slots[sequence & trace->mask];
    uint32_t kind_width;

    if (atomic_load_explicit(&slot->stamp, memory_order_acquire) != sequence + 1)
        return false;
    kind_width = atomic_load_explicit(&slot->kind_width, memory_order_acquire);
    event->kind = kind_width & 0xFFFF;
    event->width = kind_width >> 16;
    event->where = atomic_load_explicit(&slot->where, memory_order_acquire);
    event->value = atomic_load_explicit(&slot->value_low, memory_order_acquire);
    event->value |= (uint64_t)atomic_load_explicit(&slot->value_high, memory_order_acquire) << 32;
    return atomic_load_explicit(&slot->stamp, memory_order_relaxed) == sequence + 1 &&
           event->kind < SIM_TRACE_KIND_COUNT;
}

enum aero_sim_status sim_trace_write(const struct sim_trace *trace, const char *model, FILE *stream)
{
    uint32_t end = atomic_load_explicit(&trace->next, memory_order_acquire);
    uint32_t count = end > trace->mask + 1 ? trace->mask + 1 : end;

    fprintf(stream, "aero-trace 1 %s\n", model);
    if (end != count)
        fprintf(stream, "# %" PRIu32 " older events were overwritten\n", end - count);
    for (uint32_t sequence = end - count; sequence != end; sequence++) {
        struct event event;

        if (read_slot(trace, sequence, &event))
            fprintf(stream, "%s 0x%04" PRIx32 " %" PRIu32 " 0x%" PRIx64 "\n", kind_names[event.kind], event.where,
                    event.width, event.value);
    }
    return fflush(stream) || ferror(stream) ? AERO_SIM_IO : AERO_SIM_OK;
}

static bool parse_event(const char *text, struct event *event)
{
    char name[16];
    char rest;

    if (sscanf(text, "%15s %" SCNx32 " %" SCNu32 " %" SCNx64 " %c", name, &event->where, &event->width, &event->value,
               &rest) != 4)
        return false;
    for (event->kind = 0; event->kind < SIM_TRACE_KIND_COUNT; event->kind++) {
        if (!strcmp(name, kind_names[event->kind]))
            return true;
    }
    return false;
}

int sim_trace_read_access(FILE *stream, uint32_t *line, enum sim_trace_kind *kind_out, uint32_t *where_out,
                          uint32_t *width_out, uint64_t *value_out)
{
    char text[128];

    while (fgets(text, sizeof text, stream)) {
        struct event event;

        if (!++*line || (*line == 1 && strncmp(text, "aero-trace 1 ", 13)))
            return -1;
        if (*line == 1 || text[0] == '#')
            continue;
        if (!strchr(text, '\n') || !parse_event(text, &event))
            return -1;
        if (event.kind > SIM_TRACE_BUS_RESET)
            continue;
        *kind_out = (enum sim_trace_kind)event.kind;
        *where_out = event.where;
        *width_out = event.width;
        *value_out = event.value;
        return 1;
    }
    return ferror(stream) || !*line ? -1 : 0;
}

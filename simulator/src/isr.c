/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ISR byte and the INTx line (INT-1..4). Causes are raised by the server and by bus calls, acknowledged by whichever
 * thread reads the byte; no lock is taken.
 */
#include "device.h"

static bool line_level(const struct aero_sim_device *device)
{
    return atomic_load_explicit(&device->interrupts.isr, memory_order_seq_cst) && !sim_pci_intx_disabled(device) &&
           !(atomic_load_explicit(&device->watch, memory_order_relaxed) & SIM_WATCH_ABSENT);
}

static void report(struct aero_sim_device *device, bool level)
{
    struct sim_interrupts *line = &device->interrupts;

    atomic_store_explicit(&line->level, level, memory_order_relaxed);
    if (level)
        atomic_fetch_add_explicit(&line->asserted, 1, memory_order_relaxed);
    sim_device_trace(device, SIM_TRACE_LINE, 0, 0, level);
    if (line->fn)
        line->fn(line->context, level);
}

/* `updates` counts in two halves: updates of any kind below, and those behind which the ISR byte fell to 0 above. */
#define UPDATE 1u
#define UPDATE_FELL 0x10001u
#define FALLS(updates) ((updates) >> 16)

/*
 * Reports the line's level to the bus, in order, without a lock. Whoever raises `updates` from 0 reports, until it can
 * take it back to 0 with no update come meanwhile; who finds another reporting leaves the report to it. So a report that
 * is due is always made, and two never overlap. A fall between two looks is reported too, although the level is high
 * again: whoever acknowledged the first cause has turned away from the line, and only an edge calls it back.
 */
static void update_line(struct aero_sim_device *device, uint32_t kind)
{
    struct sim_interrupts *line = &device->interrupts;
    uint32_t falls = 0;
    uint32_t seen;

    if (atomic_fetch_add_explicit(&line->updates, kind, memory_order_seq_cst) != 0)
        return;
    do {
        bool was = atomic_load_explicit(&line->level, memory_order_relaxed);
        bool level;

        seen = atomic_load_explicit(&line->updates, memory_order_seq_cst);
        level = line_level(device);
        if (was && level && FALLS(seen) != falls)
            report(device, was = false);
        falls = FALLS(seen);
        if (was != level)
            report(device, level);
    } while (!atomic_compare_exchange_strong_explicit(&line->updates, &seen, 0, memory_order_seq_cst,
                                                      memory_order_seq_cst));
}

void sim_line_update(struct aero_sim_device *device)
{
    update_line(device, UPDATE);
}

void sim_interrupt_raise(struct aero_sim_device *device, uint32_t bits)
{
    sim_device_trace(device, SIM_TRACE_ISR, 0, 0, bits);
    /* Where a bit was pending already the line is up, or its report is under way: nothing changes. */
    if (atomic_fetch_or_explicit(&device->interrupts.isr, bits, memory_order_seq_cst) == 0)
        sim_line_update(device);
}

void sim_interrupt_clear(struct aero_sim_device *device)
{
    if (atomic_exchange_explicit(&device->interrupts.isr, 0, memory_order_seq_cst))
        update_line(device, UPDATE_FELL);
}

bool aero_sim_device_intx_level(const struct aero_sim_device *device)
{
    return line_level(device);
}

/* INT-2: an exchange returns the bits and clears exactly those; a cause that comes after it stays. */
uint64_t sim_isr_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    uint32_t bits;

    if (offset || width != 1)
        return 0;
    /* Acquire: what the cause stands for was published before it. */
    if (!atomic_load_explicit(&device->interrupts.isr, memory_order_acquire))
        return 0;
    bits = atomic_exchange_explicit(&device->interrupts.isr, 0, memory_order_seq_cst);
    if (bits)
        update_line(device, UPDATE_FELL);
    return bits;
}

void sim_isr_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    (void)device, (void)offset, (void)width, (void)value; /* read-only */
}

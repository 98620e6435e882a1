/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * BAR0: four regions (BAR-1), one row each, and what every access passes before it reaches one. Runs on the thread of
 * the bus call. The straight path tests one word; decode, removal, trace and quirks all lie behind it.
 */
#include "device.h"

struct region_row {
    const char *name;
    uint32_t length; /* bytes; a region starts at 0x1000 times its row */
    uint64_t (*read)(struct aero_sim_device *device, uint32_t offset, uint32_t width);
    void (*write)(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);
};

static const struct region_row rows[4] = {
    {"COMMON", 0x100, sim_common_read, sim_common_write},
    {"NOTIFY", 0x100, sim_notify_read, sim_notify_write},
    {"ISR", 0x20, sim_isr_read, sim_isr_write},
    {"DEVICE", 0x100, sim_device_cfg_read, sim_device_cfg_write},
};

static inline uint64_t all_ones(uint32_t width)
{
    return width >= 8 ? UINT64_MAX : (1ull << 8 * width) - 1;
}

/* Widths that a bus has, naturally aligned, inside the region; anything else reaches no register (BAR-3, BAR-4, BAR-6). */
static inline const struct region_row *row_of(uint32_t offset, uint32_t width)
{
    const struct region_row *row = &rows[offset >> 12];

    if (width > 8 || !width || (width & (width - 1)) || (offset & (width - 1)))
        return NULL;
    return (offset & 0xFFF) + width <= row->length ? row : NULL;
}

/*
 * The common registers go first and directly: they are what drivers access most, and each register's row asks for exactly
 * its own offset and width, which is more than row_of asks for.
 */
static inline uint64_t straight_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    const struct region_row *row;

    if (SIM_LIKELY(offset < SIM_COMMON_BYTES))
        return sim_common_read(device, offset, width);
    if (offset >= AERO_SIM_BAR0_SIZE)
        return all_ones(width);
    row = row_of(offset, width);
    return row ? row->read(device, offset & 0xFFF, width) : 0;
}

static inline void straight_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    const struct region_row *row;

    if (SIM_LIKELY(offset < SIM_COMMON_BYTES)) {
        sim_common_write(device, offset, width, value & all_ones(width));
        return;
    }
    row = offset < AERO_SIM_BAR0_SIZE ? row_of(offset, width) : NULL;
    if (row)
        row->write(device, offset & 0xFFF, width, value & all_ones(width));
}

/* The watched accesses are kept out of line, so that the straight ones save no registers for them. */

/* Does the device answer this access? Surprise removal happens here, at the access that trips it. */
static bool answers(struct aero_sim_device *device, uint32_t offset)
{
    uint64_t at = sim_quirk_value(&device->quirks, SIM_QUIRK_SURPRISE_REMOVAL);

    if (sim_quirk_on(&device->quirks, SIM_QUIRK_SURPRISE_REMOVAL) && (at == SIM_QUIRK_ANY || at == offset) &&
        sim_quirk_count(&device->quirks, SIM_QUIRK_SURPRISE_REMOVAL)) {
        sim_os_lock_acquire(&device->lock);
        atomic_fetch_or_explicit(&device->watch, SIM_WATCH_ABSENT, memory_order_seq_cst);
        sim_service_update(device);
        sim_line_update(device);
        sim_os_lock_release(&device->lock);
    }
    return !(atomic_load_explicit(&device->watch, memory_order_relaxed) & (SIM_WATCH_ABSENT | SIM_WATCH_DECODE_OFF));
}

static __attribute__((noinline)) uint64_t watched_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    uint64_t value;

    if (offset >= AERO_SIM_BAR0_SIZE) /* no access of this device's: it leaves no trace */
        return all_ones(width);
    value = answers(device, offset) ? straight_read(device, offset, width) : all_ones(width);
    sim_device_trace(device, SIM_TRACE_BAR_READ, offset, width, value);
    return value;
}

static __attribute__((noinline)) void watched_write(struct aero_sim_device *device, uint32_t offset, uint32_t width,
                                                     uint64_t value)
{
    if (offset >= AERO_SIM_BAR0_SIZE)
        return;
    sim_device_trace(device, SIM_TRACE_BAR_WRITE, offset, width, value & all_ones(width));
    if (answers(device, offset))
        straight_write(device, offset, width, value);
}

uint64_t aero_sim_bar_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    if (SIM_UNLIKELY(atomic_load_explicit(&device->watch, memory_order_relaxed)))
        return watched_read(device, offset, width);
    return straight_read(device, offset, width);
}

void aero_sim_bar_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    if (SIM_UNLIKELY(atomic_load_explicit(&device->watch, memory_order_relaxed)))
        watched_write(device, offset, width, value);
    else
        straight_write(device, offset, width, value);
}

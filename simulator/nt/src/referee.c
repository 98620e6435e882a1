/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The referee: watches every register access of the driver and names the clauses of the contract
 * (docs/contract.md) that it breaks. By choice (aero_nt_options.referee); on the CPU that makes the access,
 * under a lock per device, so that what it remembers is in the order in which the device saw it.
 */
#include "nt.h"

enum {
    COMMON_BYTES = 0x38,
    NOTIFY_START = 0x1000,
    NOTIFY_END = 0x1100,
    NOTIFY_MULTIPLIER = 4,
    ISR_START = 0x2000,
    ISR_END = 0x2020,
    DEVICE_START = 0x3000,
    DEVICE_END = 0x3100,

    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0C,
    DEVICE_STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1A,
    QUEUE_ENABLE = 0x1C,
    QUEUE_NOTIFY_OFF = 0x1E,
    QUEUE_ADDRESSES = 0x20,
    ALL_HALVES = 0x3F,

    STATUS_ACKNOWLEDGE = 0x01,
    STATUS_DRIVER = 0x02,
    STATUS_DRIVER_OK = 0x04,
    STATUS_FEATURES_OK = 0x08,
    STATUS_NEEDS_RESET = 0x40,
    STATUS_FAILED = 0x80,
    STATUS_DEFINED = 0xCF,
};

/* One register access, with what it takes to report on it. */
struct access {
    struct nt_cpu *cpu;
    struct nt_referee *referee;
    const char *function;
    uint32_t offset;
    uint32_t width;
    uint32_t value; /* written */
    bool write;
};

#define BREACH(access, id, value, ...) \
    nt_breach((access)->cpu->nt, (access)->cpu, (id), (id), (access)->function, (value), __VA_ARGS__)

/*
 * The fields of common_cfg; addresses as the halves that COM-14 wants. selected: meaningful through a
 * selector.
 */
struct field {
    uint8_t offset;
    uint8_t width;
    bool selected;
    const char *name;
};
/* clang-format off */
static const struct field fields[] = {
    {0x00, 4, true, "device_feature_select"},
    {0x04, 4, true, "device_feature"},
    {0x08, 4, true, "driver_feature_select"},
    {0x0C, 4, true, "driver_feature"},
    {0x10, 2, false, "msix_config"},
    {0x12, 2, false, "num_queues"},
    {0x14, 1, false, "device_status"},
    {0x15, 1, false, "config_generation"},
    {0x16, 2, true, "queue_select"},
    {0x18, 2, true, "queue_size"},
    {0x1A, 2, true, "queue_msix_vector"},
    {0x1C, 2, true, "queue_enable"},
    {0x1E, 2, true, "queue_notify_off"},
    {0x20, 4, true, "queue_desc, low"},
    {0x24, 4, true, "queue_desc, high"},
    {0x28, 4, true, "queue_avail, low"},
    {0x2C, 4, true, "queue_avail, high"},
    {0x30, 4, true, "queue_used, low"},
    {0x34, 4, true, "queue_used, high"},
};
/* clang-format on */

/* The field that the access begins in; offset < COMMON_BYTES, which the table covers without a gap. */
static const struct field *field_find(uint32_t offset)
{
    const struct field *field = fields;

    while (offset >= (uint32_t)field->offset + field->width) {
        field++;
    }
    return field;
}

/* Width and alignment. false: no register takes this access, so nothing else is to be learnt from it. */
static bool shape_check(const struct access *access, const struct field *field)
{
    if (field != NULL && (access->offset != field->offset || access->width != field->width)) {
        BREACH(access, access->offset >= QUEUE_ADDRESSES ? "COM-14" : "BAR-6", access->offset,
               "%u bytes at 0x%02x; %s takes %u at 0x%02x", (unsigned)access->width, (unsigned)access->offset,
               field->name, field->width, field->offset);
        return false;
    }
    if (access->offset >= ISR_START && access->offset < ISR_END && access->width != 1) {
        BREACH(access, "BAR-6", access->offset, "%u bytes at 0x%x; ISR is one byte", (unsigned)access->width,
               (unsigned)access->offset);
        return false;
    }
    if (access->offset >= DEVICE_START && access->offset < DEVICE_END &&
        access->offset % access->width != 0) {
        BREACH(access, "COM-21", access->offset, "%u bytes at 0x%x: not aligned", (unsigned)access->width,
               (unsigned)access->offset);
        return false;
    }
    return true;
}

/*
 * COM-3: with several CPUs about, selector sequences need a lock; above DISPATCH_LEVEL the caller is alone.
 */
static void selector_check(const struct access *access, const struct field *field)
{
    if (field->selected && access->cpu->irql <= DISPATCH_LEVEL && access->cpu->held_count == 0 &&
        atomic_load_explicit(&access->cpu->nt->entered, memory_order_relaxed) > 1) {
        BREACH(access, "COM-3", access->offset, "%s touched at IRQL %u without a spin lock", field->name,
               access->cpu->irql);
    }
}

static void referee_reset(struct nt_referee *referee)
{
    uint32_t queue;

    referee->status = 0;
    referee->reset_pending = true;
    referee->features_proved = false;
    referee->queue_select = 0;
    for (queue = 0; queue < AERO_SIM_QUEUES_MAX; queue++) {
        referee->halves[queue] = 0;
        referee->enabled[queue] = false;
    }
}

/* COM-19: each step needs the ones before it; `set` are the bits that the write adds. */
static void status_order_check(const struct access *access, uint8_t before, uint8_t set)
{
    static const struct {
        uint8_t bit;
        uint8_t needs;
        const char *name;
    } steps[] = {
        {STATUS_DRIVER, STATUS_ACKNOWLEDGE, "DRIVER before ACKNOWLEDGE"},
        {STATUS_FEATURES_OK, STATUS_ACKNOWLEDGE | STATUS_DRIVER, "FEATURES_OK before DRIVER"},
        {STATUS_DRIVER_OK, STATUS_ACKNOWLEDGE | STATUS_DRIVER, "DRIVER_OK before DRIVER"},
    };
    uint32_t index;

    for (index = 0; index < sizeof steps / sizeof steps[0]; index++) {
        if ((set & steps[index].bit) != 0 && (before & steps[index].needs) != steps[index].needs) {
            BREACH(access, "COM-19", access->value, "status 0x%02x over 0x%02x: %s", (unsigned)access->value,
                   before, steps[index].name);
        }
    }
}

static void status_write(const struct access *access)
{
    struct nt_referee *referee = access->referee;
    uint8_t value = (uint8_t)access->value;
    uint8_t before = referee->status;
    uint8_t set = value & (uint8_t)~before;

    if (value == 0) {
        referee_reset(referee);
        return;
    }
    if (referee->reset_pending) {
        BREACH(access, "COM-18", value, "status 0x%02x written before the reset read back as 0", value);
        referee->reset_pending = false;
    }
    if ((value & ~STATUS_DEFINED) != 0) {
        BREACH(access, "COM-17", value, "status 0x%02x has bits that aren't defined", value);
    }
    if ((before & (uint8_t)~value & (uint8_t)~STATUS_NEEDS_RESET) != 0) {
        BREACH(access, "COM-19", value, "status 0x%02x clears bits of 0x%02x; only 0 may", value, before);
    }
    status_order_check(access, before, set);
    if ((set & STATUS_FEATURES_OK) != 0) {
        referee->features_proved = false;
    }
    if ((set & STATUS_DRIVER_OK) != 0 && !referee->features_proved) {
        BREACH(access, "COM-10", value, "DRIVER_OK without FEATURES_OK having been read back");
    }
    referee->status = value;
}

static void status_read(struct nt_referee *referee, uint8_t value)
{
    if (value == 0xFF) {
        return; /* the device is gone: nothing to learn */
    }
    if (value == 0) {
        referee->reset_pending = false;
    }
    if ((value & STATUS_FEATURES_OK) != 0 && (referee->status & STATUS_FEATURES_OK) != 0) {
        referee->features_proved = true;
    }
    /* What the device cleared (COM-9) or set (COM-20) is no doing of the driver's. */
    referee->status &= value;
}

/* COM-14: halves before queue_enable, none after. */
static void queue_write(const struct access *access)
{
    struct nt_referee *referee = access->referee;
    uint32_t queue = referee->queue_select;

    if (queue >= AERO_SIM_QUEUES_MAX) {
        return;
    }
    if (access->offset >= QUEUE_ADDRESSES) {
        if (referee->enabled[queue]) {
            BREACH(access, "COM-14", access->offset, "address of queue %u written after queue_enable",
                   (unsigned)queue);
        }
        referee->halves[queue] |= (uint8_t)(1u << (access->offset - QUEUE_ADDRESSES) / 4);
    } else if (access->offset == QUEUE_ENABLE && access->value == 1) {
        if (referee->halves[queue] != ALL_HALVES) {
            BREACH(access, "COM-14", referee->halves[queue],
                   "queue %u enabled; halves written: mask 0x%02x of 0x%02x", (unsigned)queue,
                   referee->halves[queue], ALL_HALVES);
        }
        referee->enabled[queue] = true;
    }
}

static void common_write(const struct access *access)
{
    struct nt_referee *referee = access->referee;

    switch (access->offset) {
    case DEVICE_STATUS:
        status_write(access);
        break;
    case QUEUE_SELECT:
        referee->queue_select = (uint16_t)access->value;
        break;
    case DRIVER_FEATURE:
        if ((referee->status & STATUS_FEATURES_OK) != 0) {
            BREACH(access, "COM-19", access->value, "features written after FEATURES_OK");
        }
        break;
    default:
        queue_write(access);
        break;
    }
}

static void doorbell_write(const struct access *access)
{
    const struct nt_referee *referee = access->referee;
    uint32_t queue = (access->offset - NOTIFY_START) / NOTIFY_MULTIPLIER;

    if (access->offset + access->width > NOTIFY_END) {
        BREACH(access, "NTF-4", access->offset, "doorbell at 0x%x, beyond the window",
               (unsigned)access->offset);
        return;
    }
    if (access->width != 2 || access->offset % NOTIFY_MULTIPLIER != 0 || access->value != queue) {
        BREACH(access, "NTF-2", access->value,
               "%u bytes of value %u at 0x%x; 2 of value %u belong at a queue's slot",
               (unsigned)access->width, (unsigned)access->value, (unsigned)access->offset, (unsigned)queue);
        return;
    }
    if ((referee->status & STATUS_DRIVER_OK) == 0) {
        BREACH(access, "COM-19", queue, "doorbell of queue %u before DRIVER_OK (NTF-6)", (unsigned)queue);
    } else if (!referee->enabled[queue]) {
        BREACH(access, "COM-19", queue, "doorbell of queue %u, which isn't enabled (NTF-6)", (unsigned)queue);
    }
}

/* What can be said before the access reaches the device. true: its effect is worth following. */
static bool access_check(const struct access *access)
{
    const struct field *field = access->offset < COMMON_BYTES ? field_find(access->offset) : NULL;

    if (field != NULL) {
        selector_check(access, field);
    }
    return shape_check(access, field);
}

uint32_t nt_referee_read(struct nt_cpu *cpu, const struct nt_mapping *mapping, uint32_t offset,
                         uint32_t width, const char *function)
{
    struct nt_referee *referee = &mapping->owner->referee;
    struct access access = {cpu, referee, function, offset, width, 0, false};
    uint32_t value;

    sim_os_lock_acquire(&referee->lock);
    value = (uint32_t)aero_sim_bar_read(mapping->device, offset, width);
    if (access_check(&access) && offset == DEVICE_STATUS) {
        status_read(referee, (uint8_t)value);
    }
    sim_os_lock_release(&referee->lock);
    return value;
}

void nt_referee_write(struct nt_cpu *cpu, const struct nt_mapping *mapping, uint32_t offset, uint32_t width,
                      uint32_t value, const char *function)
{
    struct nt_referee *referee = &mapping->owner->referee;
    struct access access = {cpu, referee, function, offset, width, value, true};

    sim_os_lock_acquire(&referee->lock);
    if (access_check(&access)) {
        if (offset < COMMON_BYTES) {
            common_write(&access);
        } else if (offset >= NOTIFY_START && offset < ISR_START) {
            doorbell_write(&access);
        }
    }
    aero_sim_bar_write(mapping->device, offset, width, value);
    sim_os_lock_release(&referee->lock);
}

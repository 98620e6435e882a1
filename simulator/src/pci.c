/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * PCI configuration space (PCI-1..14): 64 words and, for each, the bits that a write may change. Runs on the thread of the
 * bus call; writes take the device's lock.
 */
#include "device.h"

#define COMMAND_STATUS (0x04 / 4)
#define BAR0_LOW (0x10 / 4)
#define BAR0_HIGH (0x14 / 4)

#define COMMAND_MEMORY 0x0002u
#define COMMAND_BUS_MASTER 0x0004u
#define COMMAND_INTX_DISABLE 0x0400u
#define STATUS_INTERRUPT (1u << 19) /* PCI Status bit 3, in the word that Command and Status share */
#define STATUS_CAPABILITIES (1u << 20)

/* 64-bit memory BAR, not prefetchable; its low bits can't be written, which is how sizing reads the length (PCI-7). */
#define BAR_TYPE_64BIT 0x4u

/* Bits that software may write; a word that isn't listed is read-only. */
static const uint32_t writable[64] = {
    [COMMAND_STATUS] = COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_DISABLE,
    [0x0C / 4] = 0x000000FF, /* cache line size */
    [BAR0_LOW] = ~(AERO_SIM_BAR0_SIZE - 1),
    [BAR0_HIGH] = 0xFFFFFFFF,
    [0x3C / 4] = 0x000000FF, /* interrupt line */
};

#define CAPABILITY_BASE 0x40u
#define CAPABILITY_STRIDE 0x14u

struct capability {
    uint8_t cfg_type;
    uint8_t length;  /* of the capability */
    uint32_t offset; /* in BAR0 */
    uint32_t bytes;
    uint32_t multiplier; /* only where length is 20 */
};

/* PCI-9, PCI-10, BAR-1, BAR-2. */
static const struct capability capabilities[] = {
    {.cfg_type = 1, .length = 16, .offset = 0x0000, .bytes = 0x100},
    {.cfg_type = 2, .length = 20, .offset = 0x1000, .bytes = 0x100, .multiplier = 4},
    {.cfg_type = 3, .length = 16, .offset = 0x2000, .bytes = 0x20},
    {.cfg_type = 4, .length = 16, .offset = 0x3000, .bytes = 0x100},
};
#define CAPABILITY_COUNT (sizeof capabilities / sizeof capabilities[0])

static uint32_t load(const struct aero_sim_device *device, uint32_t word)
{
    return atomic_load_explicit(&device->pci[word], memory_order_relaxed);
}

static void set(struct aero_sim_device *device, uint32_t offset, uint32_t value)
{
    atomic_store_explicit(&device->pci[offset / 4], value, memory_order_relaxed);
}

void sim_pci_initialise(struct aero_sim_device *device)
{
    const struct aero_sim_model *model = device->model;

    set(device, 0x00, 0x1AF4u | (uint32_t)model->pci_device_id << 16);
    set(device, 0x04, STATUS_CAPABILITIES);
    set(device, 0x08, device->revision | model->class_code << 8); /* PCI-3 */
    set(device, 0x0C, 0);
    set(device, 0x10, BAR_TYPE_64BIT);
    set(device, 0x14, 0);
    set(device, 0x2C, 0x1AF4u | (uint32_t)model->subsystem_id << 16);
    set(device, 0x34, CAPABILITY_BASE);
    set(device, 0x3C, 0x0100); /* interrupt pin 1: INTA (PCI-12) */
    for (uint32_t i = 0; i < CAPABILITY_COUNT; i++) {
        const struct capability *capability = &capabilities[i];
        uint32_t at = CAPABILITY_BASE + i * CAPABILITY_STRIDE;
        uint32_t next = i + 1 < CAPABILITY_COUNT ? at + CAPABILITY_STRIDE : 0;

        set(device, at, 0x09u | next << 8 | (uint32_t)capability->length << 16 | (uint32_t)capability->cfg_type << 24);
        set(device, at + 4, 0); /* BAR 0 */
        set(device, at + 8, capability->offset);
        set(device, at + 12, capability->bytes);
        if (capability->length >= 20)
            set(device, at + 16, capability->multiplier);
    }
}

bool sim_pci_bus_master(const struct aero_sim_device *device)
{
    return load(device, COMMAND_STATUS) & COMMAND_BUS_MASTER;
}

bool sim_pci_intx_disabled(const struct aero_sim_device *device)
{
    return load(device, COMMAND_STATUS) & COMMAND_INTX_DISABLE;
}

static bool answers(const struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    if (offset >= 256 || (width != 1 && width != 2 && width != 4) || offset % width)
        return false;
    return !(atomic_load_explicit(&device->watch, memory_order_relaxed) & SIM_WATCH_ABSENT);
}

static uint32_t mask_of(uint32_t width)
{
    return width == 4 ? UINT32_MAX : (1u << 8 * width) - 1;
}

static uint32_t read_word(const struct aero_sim_device *device, uint32_t word)
{
    uint32_t value = load(device, word);

    /* The pending interrupt shows whether or not Command lets it out (PCI-14). */
    if (word == COMMAND_STATUS && atomic_load_explicit(&device->interrupts.isr, memory_order_relaxed))
        value |= STATUS_INTERRUPT;
    return value;
}

uint32_t aero_sim_pci_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    uint32_t value = UINT32_MAX;

    if (answers(device, offset, width))
        value = read_word(device, offset / 4) >> 8 * (offset % 4);
    if (width < 4)
        value &= mask_of(width);
    sim_device_trace(device, SIM_TRACE_PCI_READ, offset, width, value);
    return value;
}

/* What follows from a new Command value (PCI-14). Under lock. */
static void command_changed(struct aero_sim_device *device)
{
    if (load(device, COMMAND_STATUS) & COMMAND_MEMORY)
        atomic_fetch_and_explicit(&device->watch, ~SIM_WATCH_DECODE_OFF, memory_order_relaxed);
    else
        atomic_fetch_or_explicit(&device->watch, SIM_WATCH_DECODE_OFF, memory_order_relaxed);
    sim_service_update(device);
    sim_line_update(device);
}

void aero_sim_pci_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    uint32_t shift = 8 * (offset % 4);
    uint32_t changes, word;

    sim_device_trace(device, SIM_TRACE_PCI_WRITE, offset, width, value);
    if (!answers(device, offset, width))
        return;
    word = offset / 4;
    changes = writable[word] & mask_of(width) << shift;
    sim_os_lock_acquire(&device->lock);
    set(device, offset, (load(device, word) & ~changes) | (value << shift & changes));
    if (word == COMMAND_STATUS)
        command_changed(device);
    sim_os_lock_release(&device->lock);
}

void aero_sim_bus_reset(struct aero_sim_device *device)
{
    sim_device_trace(device, SIM_TRACE_BUS_RESET, 0, 0, 0);
    sim_os_lock_acquire(&device->lock);
    if (!(atomic_load_explicit(&device->watch, memory_order_relaxed) & SIM_WATCH_ABSENT)) {
        /* Decode first: who waits for the lock with a write to device_status finds itself too late. */
        atomic_fetch_or_explicit(&device->watch, SIM_WATCH_DECODE_OFF, memory_order_relaxed);
        sim_common_reset(device);
        sim_pci_initialise(device);
        sim_line_update(device);
    }
    sim_os_lock_release(&device->lock);
}

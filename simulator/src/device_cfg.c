/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Device configuration: bytes that the model sets and the driver reads by 1, 2 and 4 (COM-21), under config_generation
 * (COM-15). Reads run on the thread of the bus call, sets on whichever thread the model is on.
 */
#include "device.h"

#include <string.h>

uint64_t sim_device_cfg_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    uint32_t word;

    if (width > 4)
        return 0;
    /* Acquire: pairs with the releases in aero_sim_config_set, so that a reader who saw a new byte sees the sequence
     * that announced it. */
    word = atomic_load_explicit(&device->config[offset / 4], memory_order_acquire) >> 8 * (offset % 4);
    return width == 4 ? word : word & ((1u << 8 * width) - 1);
}

void sim_device_cfg_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    if (width <= 4 && device->model->config_write && offset + width <= device->model->config_bytes)
        device->model->config_write(device->state, offset, width, (uint32_t)value);
}

/* The register holds a sequence: odd while bytes change; config_generation is what lies above that bit. */
static void bump_sequence(struct aero_sim_device *device)
{
    _Atomic uint32_t *sequence = &device->registers[SIM_REG_CONFIG_GENERATION];
    uint32_t now = atomic_load_explicit(sequence, memory_order_relaxed);

    atomic_store_explicit(sequence, now + 1, memory_order_release);
}

uint64_t sim_device_cfg_generation(struct aero_sim_device *device)
{
    _Atomic uint32_t *sequence = &device->registers[SIM_REG_CONFIG_GENERATION];
    uint32_t now;

    /* A driver that read it twice within one change would take half of that for the whole: it waits for the end. */
    while ((now = atomic_load_explicit(sequence, memory_order_acquire)) & 1) {
        sim_os_lock_acquire(&device->config_lock);
        sim_os_lock_release(&device->config_lock);
    }
    return now >> 1 & 0xFF;
}

/* A word at a time: no field of up to 32 bits is ever seen half changed (virtio 1.2 §2.5.1). */
static void set_bytes(struct aero_sim_device *device, uint32_t offset, const uint8_t *bytes, uint32_t length)
{
    while (length) {
        _Atomic uint32_t *word = &device->config[offset / 4];
        uint32_t value = atomic_load_explicit(word, memory_order_relaxed);

        do {
            uint32_t shift = 8 * (offset % 4);

            value = (value & ~(0xFFu << shift)) | (uint32_t)*bytes++ << shift;
            offset++;
            length--;
        } while (length && offset % 4);
        atomic_store_explicit(word, value, memory_order_release);
    }
}

void aero_sim_config_set(struct aero_sim_device *device, uint32_t offset, const void *bytes, uint32_t length)
{
    uint32_t room = device->model->config_bytes;
    bool live = sim_device_status(device) & SIM_STATUS_DRIVER_OK;
    bool seen = !(atomic_load_explicit(&device->watch, memory_order_relaxed) & SIM_WATCH_ABSENT);

    if (offset >= room || !length)
        return;
    if (length > room - offset)
        length = room - offset;
    sim_os_lock_acquire(&device->config_lock);
    /* Not inside open: nobody can have read anything. */
    if (seen)
        bump_sequence(device);
    set_bytes(device, offset, bytes, length);
    if (seen)
        bump_sequence(device);
    sim_os_lock_release(&device->config_lock);
    if (live)
        sim_interrupt_raise(device, SIM_ISR_CONFIG); /* INT-6 */
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The common configuration region (COM-*), one row a register. Plain registers are relaxed atomics and need no code of
 * their own; features, device_status and queue_enable have handlers. Runs on the thread of the bus call.
 */
#include "device.h"

enum scope { DEVICE_WIDE, PER_QUEUE };

struct common_register {
    const char *name;
    uint8_t width; /* bytes; 0: no register starts here */
    uint8_t scope;
    uint8_t slot; /* enum sim_device_register or enum sim_queue_register */
    bool writable; /* of a queue's: may be stored to */
    /* The straight cases, in one comparison: width where nothing is to be done but to load or store the device's slot. */
    uint8_t load_width, store_width;
    uint64_t (*read)(struct aero_sim_device *device); /* NULL: the slot */
    void (*write)(struct aero_sim_device *device, uint32_t value);
};

static uint32_t load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void store(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* ---- Features ---- */

/*
 * The half that is selected is kept ready, for drivers read it more often than they select one. Of two CPUs that select
 * at once, which COM-3 forbids, the half of one may stay beside the selector of the other; FEATURES_OK doesn't ask it.
 */
static void select_device_feature(struct aero_sim_device *device, uint32_t select)
{
    store(&device->registers[SIM_REG_DEVICE_FEATURE_SELECT], select);
    store(&device->registers[SIM_REG_DEVICE_FEATURE],
          select < 2 ? (uint32_t)(device->features_offered >> 32 * select) : 0); /* COM-5 */
}

static uint64_t read_driver_feature(struct aero_sim_device *device)
{
    uint32_t select = load(&device->registers[SIM_REG_DRIVER_FEATURE_SELECT]);

    return select < 2 ? load(&device->features_accepted[select]) : 0;
}

static void write_driver_feature(struct aero_sim_device *device, uint32_t value)
{
    uint32_t select = load(&device->registers[SIM_REG_DRIVER_FEATURE_SELECT]);

    if (select >= 2)
        return; /* COM-5 */
    if (sim_device_status(device) & SIM_STATUS_FEATURES_OK) {
        sim_device_breach(device, "COM-19", "driver_feature is written after FEATURES_OK; it keeps its value", UINT32_MAX,
                          0x0C, value, 0);
        return;
    }
    store(&device->features_accepted[select], value);
}

static uint64_t features_accepted(const struct aero_sim_device *device)
{
    return load(&device->features_accepted[0]) | (uint64_t)load(&device->features_accepted[1]) << 32;
}

/* ---- device_status ---- */

void sim_common_initialise(struct aero_sim_device *device)
{
    select_device_feature(device, 0);
    store(&device->registers[SIM_REG_DRIVER_FEATURE_SELECT], 0);
    store(&device->registers[SIM_REG_MSIX_CONFIG], 0xFFFF);
    store(&device->registers[SIM_REG_NUM_QUEUES], device->queue_count);
    store(&device->registers[SIM_REG_QUEUE_SELECT], 0);
    store(&device->features_accepted[0], 0);
    store(&device->features_accepted[1], 0);
    device->features_negotiated = 0;
    for (uint32_t i = 0; i < device->queue_count; i++) {
        struct sim_queue *queue = &device->queues[i];

        store(&queue->registers[SIM_REG_QUEUE_MSIX_VECTOR], 0xFFFF);
        store(&queue->registers[SIM_REG_QUEUE_ENABLE], 0);
        store(&queue->registers[SIM_REG_QUEUE_NOTIFY_OFF], i); /* NTF-1 */
        for (uint32_t slot = SIM_REG_QUEUE_DESC_LO; slot <= SIM_REG_QUEUE_USED_HI; slot++)
            store(&queue->registers[slot], 0);
        store(&queue->enabled, 0);
    }
}

/* COM-8. The server is out while it happens, so nothing of the device touches guest memory once it returns. */
void sim_common_reset(struct aero_sim_device *device)
{
    sim_service_abandon(device);
    sim_common_initialise(device);
    if (device->model->reset)
        device->model->reset(device->state);
    sim_interrupt_clear(device);
    /* Release: who reads the 0 also sees that the server has left (COM-18). */
    atomic_store_explicit(&device->registers[SIM_REG_DEVICE_STATUS], 0, memory_order_release);
}

static void reset(struct aero_sim_device *device)
{
    if (sim_quirk_acts(&device->quirks, SIM_QUIRK_RESET_NEVER_COMPLETES)) {
        uint64_t stuck = sim_quirk_value(&device->quirks, SIM_QUIRK_RESET_NEVER_COMPLETES);

        if (stuck != SIM_QUIRK_ANY)
            store(&device->registers[SIM_REG_DEVICE_STATUS], (uint8_t)stuck);
        return;
    }
    sim_common_reset(device);
}

/* Under lock: did the access lose a race with a bus reset, or with decode going off? Then it never came (PCI-14). */
static bool came_too_late(const struct aero_sim_device *device)
{
    return atomic_load_explicit(&device->watch, memory_order_relaxed) & (SIM_WATCH_ABSENT | SIM_WATCH_DECODE_OFF);
}

/* COM-9: may FEATURES_OK stick? What was looked at is kept: a driver's other CPU may write the registers meanwhile. */
static bool features_agreed(struct aero_sim_device *device)
{
    uint64_t accepted = features_accepted(device);

    device->features_negotiated = 0;
    if (sim_quirk_acts(&device->quirks, SIM_QUIRK_FEATURES_OK_REFUSED))
        return false;
    if (accepted & ~device->features_offered) {
        sim_device_breach(device, "COM-9", "the driver accepted features that were not offered", UINT32_MAX, 0x14,
                          accepted & ~device->features_offered, 0);
        return false;
    }
    if (!(accepted & AERO_SIM_F_VERSION_1)) {
        sim_device_breach(device, "COM-7", "the driver did not accept VIRTIO_F_VERSION_1", UINT32_MAX, 0x14, accepted,
                          0);
        return false;
    }
    device->features_negotiated = accepted;
    return true;
}

/* Bits that are set now and were not before; a driver can only add bits, but for the 0 that resets. */
static void add_status(struct aero_sim_device *device, uint32_t value)
{
    const uint32_t driver_bits = SIM_STATUS_ACKNOWLEDGE | SIM_STATUS_DRIVER | SIM_STATUS_DRIVER_OK |
                                 SIM_STATUS_FEATURES_OK | SIM_STATUS_FAILED;
    uint32_t old = sim_device_status(device);
    uint32_t added = value & driver_bits & ~old;

    if (old & driver_bits & ~value)
        sim_device_breach(device, "COM-19", "device_status bits are cleared by other than writing 0; they stay set",
                          UINT32_MAX, 0x14, value, 0);
    if ((added & SIM_STATUS_FEATURES_OK) && !features_agreed(device))
        added &= ~SIM_STATUS_FEATURES_OK;
    if ((added & SIM_STATUS_DRIVER_OK) && !((old | added) & SIM_STATUS_FEATURES_OK)) {
        sim_device_breach(device, "COM-19", "DRIVER_OK is set without FEATURES_OK; it does not stick", UINT32_MAX, 0x14,
                          value, 0);
        added &= ~SIM_STATUS_DRIVER_OK;
    }
    if ((added & SIM_STATUS_DRIVER_OK) && device->model->ready)
        device->model->ready(device->state, device->features_negotiated);
    /* An or, for the worker may set NEEDS_RESET at the same time. */
    atomic_fetch_or_explicit(&device->registers[SIM_REG_DEVICE_STATUS], added, memory_order_seq_cst);
    sim_service_update(device);
}

static __attribute__((noinline)) void change_device_status(struct aero_sim_device *device, uint32_t value)
{
    sim_os_lock_acquire(&device->lock);
    if (!came_too_late(device)) {
        if (value == 0)
            reset(device);
        else
            add_status(device, value);
    }
    sim_os_lock_release(&device->lock);
}

static void write_device_status(struct aero_sim_device *device, uint32_t value)
{
    /* What is set already says nothing new, and takes no lock. */
    if (!value || value != sim_device_status(device))
        change_device_status(device, value);
}

/* ---- queue_enable ---- */

static uint64_t address(const struct sim_queue *queue, enum sim_queue_register low)
{
    return load(&queue->registers[low]) | (uint64_t)load(&queue->registers[low + 1]) << 32;
}

static void enable_queue(struct aero_sim_device *device, uint32_t index)
{
    struct sim_queue *queue = &device->queues[index];
    uint64_t only = sim_quirk_value(&device->quirks, SIM_QUIRK_QUEUE_ENABLE_ZERO);
    bool indirect = device->features_negotiated & AERO_SIM_F_INDIRECT_DESC;

    if ((only == SIM_QUIRK_ANY || only == index) && sim_quirk_acts(&device->quirks, SIM_QUIRK_QUEUE_ENABLE_ZERO))
        return;
    if (!sim_ring_set_up(&queue->ring, device->memory, (uint16_t)load(&queue->registers[SIM_REG_QUEUE_SIZE]),
                         address(queue, SIM_REG_QUEUE_DESC_LO), address(queue, SIM_REG_QUEUE_AVAIL_LO),
                         address(queue, SIM_REG_QUEUE_USED_LO), indirect)) {
        sim_device_breach(device, queue->ring.fault.clause, queue->ring.fault.what, index, 0, queue->ring.fault.value,
                          0);
        return;
    }
    store(&queue->registers[SIM_REG_QUEUE_ENABLE], 1);
    atomic_store_explicit(&queue->enabled, 1, memory_order_release); /* pairs with the acquire in service.c */
}

/* COM-13: only 1 means anything, and only a reset undoes it. */
static void write_queue_enable(struct aero_sim_device *device, uint32_t value)
{
    uint32_t index = load(&device->registers[SIM_REG_QUEUE_SELECT]);

    if (index >= device->queue_count)
        return; /* COM-12 */
    sim_os_lock_acquire(&device->lock);
    if (value == 1 && !came_too_late(device) && !load(&device->queues[index].registers[SIM_REG_QUEUE_ENABLE]))
        enable_queue(device, index);
    sim_os_lock_release(&device->lock);
}

/* ---- The table ---- */

#define DEVICE_RW(name, width, slot) {name, width, DEVICE_WIDE, slot, false, width, width, NULL, NULL}
#define DEVICE_RO(name, width, slot) {name, width, DEVICE_WIDE, slot, false, width, 0, NULL, NULL}
#define QUEUE_RW(name, width, slot) {name, width, PER_QUEUE, slot, true, 0, 0, NULL, NULL}
#define QUEUE_RO(name, width, slot) {name, width, PER_QUEUE, slot, false, 0, 0, NULL, NULL}

/* Indexed by offset (COM-1). */
static const struct common_register registers[SIM_COMMON_BYTES] = {
    [0x00] = {"device_feature_select", 4, DEVICE_WIDE, SIM_REG_DEVICE_FEATURE_SELECT, false, 4, 0, NULL,
              select_device_feature},
    [0x04] = DEVICE_RO("device_feature", 4, SIM_REG_DEVICE_FEATURE),
    [0x08] = DEVICE_RW("driver_feature_select", 4, SIM_REG_DRIVER_FEATURE_SELECT),
    [0x0C] = {"driver_feature", 4, DEVICE_WIDE, 0, false, 0, 0, read_driver_feature, write_driver_feature},
    [0x10] = DEVICE_RW("msix_config", 2, SIM_REG_MSIX_CONFIG),
    [0x12] = DEVICE_RO("num_queues", 2, SIM_REG_NUM_QUEUES),
    [0x14] = {"device_status", 1, DEVICE_WIDE, SIM_REG_DEVICE_STATUS, false, 1, 0, NULL, write_device_status},
    [0x15] = {"config_generation", 1, DEVICE_WIDE, 0, false, 0, 0, sim_device_cfg_generation, NULL},
    [0x16] = DEVICE_RW("queue_select", 2, SIM_REG_QUEUE_SELECT),
    [0x18] = QUEUE_RO("queue_size", 2, SIM_REG_QUEUE_SIZE),
    [0x1A] = QUEUE_RW("queue_msix_vector", 2, SIM_REG_QUEUE_MSIX_VECTOR),
    [0x1C] = {"queue_enable", 2, PER_QUEUE, SIM_REG_QUEUE_ENABLE, false, 0, 0, NULL, write_queue_enable},
    [0x1E] = QUEUE_RO("queue_notify_off", 2, SIM_REG_QUEUE_NOTIFY_OFF),
    [0x20] = QUEUE_RW("queue_desc_lo", 4, SIM_REG_QUEUE_DESC_LO),
    [0x24] = QUEUE_RW("queue_desc_hi", 4, SIM_REG_QUEUE_DESC_HI),
    [0x28] = QUEUE_RW("queue_avail_lo", 4, SIM_REG_QUEUE_AVAIL_LO),
    [0x2C] = QUEUE_RW("queue_avail_hi", 4, SIM_REG_QUEUE_AVAIL_HI),
    [0x30] = QUEUE_RW("queue_used_lo", 4, SIM_REG_QUEUE_USED_LO),
    [0x34] = QUEUE_RW("queue_used_hi", 4, SIM_REG_QUEUE_USED_HI),
};

/* The word of a register of the queue selected, or NULL where queue_select names none (COM-12). */
static _Atomic uint32_t *word_of_queue(struct aero_sim_device *device, const struct common_register *row)
{
    uint32_t select = load(&device->registers[SIM_REG_QUEUE_SELECT]);

    return select < device->queue_count ? &device->queues[select].registers[row->slot] : NULL;
}

/* An access of another than a register's own width reaches none (BAR-6). */
uint64_t sim_common_read(struct aero_sim_device *device, uint32_t offset, uint32_t width)
{
    const struct common_register *row;
    const _Atomic uint32_t *word;

    if (offset >= SIM_COMMON_BYTES || !width)
        return 0;
    row = &registers[offset];
    /* Acquire, for device_status: what is read after it is no older than it is. */
    if (SIM_LIKELY(row->load_width == width))
        return atomic_load_explicit(&device->registers[row->slot], memory_order_acquire);
    if (row->width != width)
        return 0;
    if (row->read)
        return row->read(device);
    word = word_of_queue(device, row);
    return word ? load(word) : 0;
}

void sim_common_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value)
{
    const struct common_register *row;
    _Atomic uint32_t *word;

    if (offset >= SIM_COMMON_BYTES || !width)
        return;
    row = &registers[offset];
    if (SIM_LIKELY(row->store_width == width)) {
        store(&device->registers[row->slot], (uint32_t)value);
    } else if (row->width == width && row->write) {
        row->write(device, (uint32_t)value);
    } else if (row->width == width && row->scope == PER_QUEUE && row->writable) {
        word = word_of_queue(device, row);
        if (word)
            store(word, (uint32_t)value);
    }
}

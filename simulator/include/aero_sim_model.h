/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a device model gives the simulator, and what it gets: the other side of aero_sim.h. A model is a constant
 * record of identity, features, queues and functions beside a block of state per device. It never sees PCI, threads or
 * interrupts; simulator/devices/loopback.c is a whole one on two screens.
 *
 * Threads: open and close run on the thread that starts and stops the device. reset, ready and config_write run inside
 * a bus call. serve and event run on the worker (or inside aero_sim_device_step). The core sees to it that open, close,
 * reset, ready, serve and event never overlap; config_write may overlap with serve and event.
 */
#ifndef AERO_SIM_MODEL_H
#define AERO_SIM_MODEL_H

#include "aero_sim.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AERO_SIM_F_INDIRECT_DESC (1ull << 28) /* feature masks, not bit numbers */
#define AERO_SIM_F_VERSION_1 (1ull << 32)

/* A piece of guest memory that lies in one piece in the host's. */
struct aero_sim_segment {
    uint8_t *data;
    uint32_t length; /* bytes */
};

/*
 * A chain that the driver made available, vetted (RNG-5, RNG-6, RNG-8, DMA-2): readable segments first, then writable ones.
 * It may have more segments than descriptors where a buffer crosses from one memory region to the next. Lengths that
 * are zero are left out. More than twice the queue's size and 16 such pieces in a chain are refused (DMA-2). The model may touch the bytes until it completes the chain, and must expect the driver to
 * change them meanwhile: read once, check, then use.
 */
struct aero_sim_chain {
    uint16_t head;           /* descriptor index: the used id */
    uint32_t descriptors;    /* how many descriptors the driver used */
    uint32_t readable_count; /* segments */
    uint32_t writable_count;
    uint64_t readable_bytes;
    uint64_t writable_bytes;
    struct aero_sim_segment *segments; /* readable_count + writable_count of them */
};

/* Copies from the readable (to the writable) bytes, from byte offset on; the count of bytes copied, short at the end. */
size_t aero_sim_chain_read(const struct aero_sim_chain *chain, uint64_t offset, void *to, size_t length);
size_t aero_sim_chain_write(const struct aero_sim_chain *chain, uint64_t offset, const void *from, size_t length);

struct aero_sim_queue_spec {
    const char *name; /* "requestq" */
    uint16_t size;    /* entries: a power of two up to 32768 */
    /*
     * Serves one chain and answers the used length: how many bytes it wrote from the first writable byte on (unless the
     * contract says otherwise: BLK-7). NULL: the queue's chains wait until the model's event function takes them.
     */
    uint32_t (*serve)(void *state, const struct aero_sim_chain *chain);
};

struct aero_sim_backend {
    const char *path; /* NULL where none was set */
    bool read_only;
};

struct aero_sim_model {
    const char *name;
    const char *summary;
    uint16_t pci_device_id; /* PCI-2 */
    uint16_t subsystem_id;  /* PCI-5 */
    uint32_t class_code;    /* 24 bits: class, subclass, interface */
    uint64_t features;      /* beyond VERSION_1 and INDIRECT_DESC, which every device offers; never bits 29, 34 (RNG-4) */
    uint32_t config_bytes;  /* of device configuration, at most 256; the rest of the window reads 0 */
    size_t state_bytes;     /* zeroed by the core before open */
    uint16_t queue_count;   /* 1 to AERO_SIM_QUEUES_MAX */
    const struct aero_sim_queue_spec *queues;

    /* Each may be NULL. A failing open writes one line to error (error_bytes long) and leaves nothing behind. */
    enum aero_sim_status (*open)(void *state, struct aero_sim_device *device, const struct aero_sim_backend *backend,
                                 char *error, size_t error_bytes);
    void (*close)(void *state);
    void (*reset)(void *state);                    /* 0 written to device_status, or a bus reset; no chain is held any more */
    void (*ready)(void *state, uint64_t features); /* DRIVER_OK, with the negotiated features */
    /* After aero_sim_device_wake, a doorbell of a queue without serve, DRIVER_OK, or bus mastering switched on. */
    void (*event)(void *state);
    /* The driver wrote device configuration; the bytes don't change unless the model calls aero_sim_config_set. */
    void (*config_write)(void *state, uint32_t offset, uint32_t width, uint32_t value);
};

/*
 * Queues without serve, only inside event: the chain at the head of the queue, or NULL where none waits. It stays there
 * until it is completed, so a model that finds it too short leaves it for next time (NET-7).
 */
const struct aero_sim_chain *aero_sim_queue_peek(struct aero_sim_device *device, uint16_t queue);
void aero_sim_queue_complete(struct aero_sim_device *device, uint16_t queue, uint32_t used_length);

/* Has event called soon on the worker. Any thread; from backends. */
void aero_sim_device_wake(struct aero_sim_device *device);

/*
 * Sets bytes of device configuration, which once the device is started bumps config_generation (COM-15), and once
 * DRIVER_OK is set raises the configuration interrupt (INT-6). Inside open, reset, ready, event, serve or config_write.
 */
void aero_sim_config_set(struct aero_sim_device *device, uint32_t offset, const void *bytes, uint32_t length);

/* The device can't go on: DEVICE_NEEDS_RESET, and the configuration interrupt once DRIVER_OK is set (COM-20). */
void aero_sim_device_fail(struct aero_sim_device *device);

#ifdef __cplusplus
}
#endif

#endif

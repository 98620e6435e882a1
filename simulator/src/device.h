/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A device, as the files of the core share it. Who touches what:
 *     constant       set before start, then only read
 *     registers      atomics; plain ones written by the thread of the bus call, the three that change the device's state
 *                    (reset, queue_enable, device_status) under `lock`, as is a bus reset
 *     rings          the server's: the worker, or the thread that steps. The thread of a reset touches them only while
 *                    it has halted the server (service.c)
 *     interrupts     atomics, any thread (isr.c)
 */
#ifndef SIM_DEVICE_H
#define SIM_DEVICE_H

#include "aero_sim_model.h"
#include "os.h"
#include "quirk.h"
#include "ring.h"
#include "trace.h"

/* Device status bits (COM-17). */
#define SIM_STATUS_ACKNOWLEDGE 0x01u
#define SIM_STATUS_DRIVER 0x02u
#define SIM_STATUS_DRIVER_OK 0x04u
#define SIM_STATUS_FEATURES_OK 0x08u
#define SIM_STATUS_NEEDS_RESET 0x40u
#define SIM_STATUS_FAILED 0x80u

#define SIM_ISR_QUEUE 1u
#define SIM_ISR_CONFIG 2u

/* Registers that are one per device; common_cfg.c maps offsets to them. */
enum sim_device_register {
    SIM_REG_DEVICE_FEATURE_SELECT,
    SIM_REG_DEVICE_FEATURE,
    SIM_REG_DRIVER_FEATURE_SELECT,
    SIM_REG_MSIX_CONFIG,
    SIM_REG_NUM_QUEUES,
    SIM_REG_DEVICE_STATUS,
    SIM_REG_CONFIG_GENERATION, /* a sequence: see device_cfg.c */
    SIM_REG_QUEUE_SELECT,
    SIM_REG_DEVICE_COUNT
};

/* And those that follow queue_select (COM-11). */
enum sim_queue_register {
    SIM_REG_QUEUE_SIZE,
    SIM_REG_QUEUE_MSIX_VECTOR,
    SIM_REG_QUEUE_ENABLE,
    SIM_REG_QUEUE_NOTIFY_OFF,
    SIM_REG_QUEUE_DESC_LO,
    SIM_REG_QUEUE_DESC_HI,
    SIM_REG_QUEUE_AVAIL_LO,
    SIM_REG_QUEUE_AVAIL_HI,
    SIM_REG_QUEUE_USED_LO,
    SIM_REG_QUEUE_USED_HI,
    SIM_REG_QUEUE_COUNT
};

/* Reasons to leave the straight register path; none set in a plain running device. */
#define SIM_WATCH_DECODE_OFF 1u /* PCI-14 */
#define SIM_WATCH_ABSENT 2u     /* not started, stopped, or surprise-removed */
#define SIM_WATCH_TRACE 4u
#define SIM_WATCH_QUIRK 8u

/* What a device without a worker does next (aero_sim_device_step). */
enum sim_phase { SIM_PHASE_IDLE, SIM_PHASE_SERVE, SIM_PHASE_PUBLISH, SIM_PHASE_INTERRUPT };

struct sim_queue {
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t registers[SIM_REG_QUEUE_COUNT];
    _Alignas(SIM_LINE_BYTES) struct sim_ring ring;
    uint32_t (*serve)(void *state, const struct aero_sim_chain *chain);
    _Atomic uint32_t enabled; /* release by the thread that set the ring up, acquire by the server */
    _Atomic uint32_t chains;  /* completed since start; written by the server alone */
};

struct sim_interrupts {
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t isr;
    _Atomic uint32_t updates;  /* reports of the line that are due; see sim_line_update */
    _Atomic uint32_t level;    /* the level last reported */
    _Atomic uint32_t asserted; /* counter */
    aero_sim_intx_fn *fn;      /* constant */
    void *context;             /* constant */
    const void *written;       /* constant: where fn writes, or NULL; a hint */
};

struct aero_sim_device {
    /* Constant after start. */
    const struct aero_sim_model *model;
    uint8_t revision; /* PCI-3 */
    void *state;
    struct aero_sim_memory *memory;
    struct aero_sim_worker *worker;
    struct sim_queue *queues;
    struct sim_room *room; /* of all queues with serve */
    uint32_t queue_count;
    uint64_t features_offered;
    bool poll_mode;
    bool started, stopped;
    uint32_t sleeps; /* of its worker, when it left it */
    char *backend_path;
    bool backend_read_only;
    uint32_t trace_events;
    struct sim_trace *trace;
    aero_sim_breach_fn *breach;
    void *breach_context;
    struct sim_quirks quirks;
    char error[256];

    /* Registers. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t watch; /* SIM_WATCH_* */
    _Atomic uint32_t registers[SIM_REG_DEVICE_COUNT];
    _Atomic uint32_t features_accepted[2]; /* low half, high half */
    uint64_t features_negotiated; /* under lock */
    struct sim_os_lock lock;        /* reset, queue_enable, device_status, PCI writes, start, stop */
    struct sim_os_lock config_lock; /* writers of device configuration */
    _Atomic uint32_t config[64];    /* device configuration, as words so that 1, 2 and 4-byte reads agree (COM-21) */
    _Atomic uint32_t pci[64];       /* PCI configuration space */
    _Atomic uint32_t doorbells;     /* counter */
    _Atomic uint32_t breaches;      /* counter */

    /* Between the bus and the server; service.c. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t running; /* DRIVER_OK, bus master on, present: the server may touch guest memory */
    _Atomic uint32_t abandon;    /* a reset waits: what is left of a queue needn't be served */
    _Atomic uint32_t in_service; /* the server is inside */
    uint32_t step_queue; /* the queue that stepping is at, and where in it */
    enum sim_phase step_phase;

    struct sim_interrupts interrupts;

    /* A bell for each queue, and behind them one for events: how often it was rung, and up to where the server has taken
     * it (service.c). It may wrap: the two agree falsely only after 2^32 rings that the server never looked at. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t rung[AERO_SIM_QUEUES_MAX + 1];
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t taken[AERO_SIM_QUEUES_MAX + 1]; /* written by the server alone */
};

/* ---- device.c ---- */
void sim_device_breach(struct aero_sim_device *device, const char *clause, const char *what, uint32_t queue,
                       uint32_t index, uint64_t value, uint64_t step);
static inline void sim_device_trace(struct aero_sim_device *device, enum sim_trace_kind kind, uint32_t where,
                                    uint32_t width, uint64_t value)
{
    if (device->trace)
        sim_trace_add(device->trace, kind, where, width, value);
}
static inline uint32_t sim_device_status(const struct aero_sim_device *device)
{
    return atomic_load_explicit(&device->registers[SIM_REG_DEVICE_STATUS], memory_order_acquire);
}

#define SIM_COMMON_BYTES 0x38u /* of registers in the common region (COM-1); the rest of it is undefined */

/* ---- regions.c, common_cfg.c, notify.c, isr.c, device_cfg.c: BAR0 ---- */
uint64_t sim_common_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void sim_common_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);
uint64_t sim_notify_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void sim_notify_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);
uint64_t sim_isr_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void sim_isr_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);
uint64_t sim_device_cfg_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void sim_device_cfg_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);
uint64_t sim_device_cfg_generation(struct aero_sim_device *device);
void sim_common_initialise(struct aero_sim_device *device); /* the state after reset, constants included */
void sim_common_reset(struct aero_sim_device *device);      /* to that state from any, the server out; under lock */

/* ---- isr.c ---- */
void sim_interrupt_raise(struct aero_sim_device *device, uint32_t bits);
void sim_interrupt_clear(struct aero_sim_device *device);
void sim_line_update(struct aero_sim_device *device); /* call after anything that the line's level depends on changed */

/* ---- pci.c ---- */
void sim_pci_initialise(struct aero_sim_device *device);
bool sim_pci_bus_master(const struct aero_sim_device *device);
bool sim_pci_intx_disabled(const struct aero_sim_device *device);

/* ---- service.c ---- */
void sim_bell_ring(struct aero_sim_device *device, uint32_t bell);
/* Was it rung since the server took it last? */
static inline bool sim_bell_is_rung(const struct aero_sim_device *device, uint32_t bell)
{
    return atomic_load_explicit(&device->rung[bell], memory_order_seq_cst) !=
           atomic_load_explicit(&device->taken[bell], memory_order_seq_cst);
}
/* Was any? Asked all the time by an idle worker: one branch in all. */
static inline bool sim_bells_are_rung(const struct aero_sim_device *device)
{
    uint32_t difference = 0;

    for (uint32_t bell = 0; bell <= device->queue_count; bell++)
        difference |= atomic_load_explicit(&device->rung[bell], memory_order_seq_cst) ^
                      atomic_load_explicit(&device->taken[bell], memory_order_relaxed);
    return difference;
}
/*
 * Recomputes `running`: where it became true every bell is rung, where it became false it waits until the server has left.
 * Under lock, as the two below.
 */
void sim_service_update(struct aero_sim_device *device);
/* Ends running and waits until the server has left: having served what it saw, or (abandon) after the chain it is at. */
void sim_service_halt(struct aero_sim_device *device);
void sim_service_abandon(struct aero_sim_device *device);
/*
 * For the worker: serves what the device's bells say; and looks at every enabled queue unasked (poll mode), if the device
 * runs, as it answers.
 */
void sim_service_bells(struct aero_sim_device *device);
bool sim_service_poll(struct aero_sim_device *device);
/* Stops polling the device, where the worker is inside it. */
void sim_service_leave(struct aero_sim_device *device);
/* Waits, for a bounded time, until the server has done what bells asked for so far. */
void sim_service_drain(struct aero_sim_device *device);

#endif

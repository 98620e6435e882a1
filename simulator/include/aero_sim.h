/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulator of an AERO-W7-VIRTIO contract-v1 device, as its bus sees it: create it, configure it, start it,
 * read and write its PCI configuration space and BAR0, give it guest memory, hear its INTx line.
 *
 * It knows nothing of NT, of the transport or of any test framework: simulator/nt, a test that pokes registers and
 * a foreign driver harness all use this one header. Who writes a device model includes aero_sim_model.h instead.
 *
 * Lifecycle: create -> configure -> start -> bus accesses -> stop -> destroy. Configuration calls after start are
 * refused with AERO_SIM_BAD_STATE. Clause ids (COM-8, DMA-2, ...) are those of docs/contract.md.
 *
 * Threads: everything that creates, configures, starts, stops or destroys belongs to one thread at a time. The bus
 * calls (aero_sim_pci_*, aero_sim_bar_*, aero_sim_bus_reset) may be made from any thread at any time between start and
 * stop, several at once; never from inside a callback of the same device, unless the callback's text allows it.
 */
#ifndef AERO_SIM_H
#define AERO_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum aero_sim_status {
    AERO_SIM_OK = 0,
    AERO_SIM_BAD_ARGUMENT, /* NULL, zero, out of range, misaligned; the call did nothing */
    AERO_SIM_BAD_STATE,    /* the call belongs to another part of the lifecycle */
    AERO_SIM_NO_MEMORY,    /* the host gave no memory or no thread; all that was begun is undone */
    AERO_SIM_NOT_FOUND,    /* no model, quirk or queue of that name or number */
    AERO_SIM_OVERLAP,      /* a guest-physical range that is mapped already */
    AERO_SIM_LIMIT,        /* one of the AERO_SIM_*_MAX below is reached */
    AERO_SIM_IO,           /* the backend can't be opened, read or written; the device's error text says why */
};

/* "AERO_SIM_OK" and so on; never NULL. */
const char *aero_sim_status_name(enum aero_sim_status status);

#define AERO_SIM_REGIONS_MAX 16u  /* guest-memory regions in one address space */
#define AERO_SIM_QUEUES_MAX 64u   /* doorbells that fit in the notify window (BAR-1, NTF-1) */
#define AERO_SIM_DEVICES_MAX 256u /* started devices on one worker */
#define AERO_SIM_QUEUE_SIZE_MAX 32768u
#define AERO_SIM_BAR0_SIZE 0x4000u /* PCI-7 */

/* ---- Guest memory ------------------------------------------------------------------------------------------- */

/* A guest-physical address space: what the device's DMA reaches. Several devices may share one. */
struct aero_sim_memory;

enum aero_sim_status aero_sim_memory_create(struct aero_sim_memory **memory_out);

/*
 * Maps size bytes of host memory at guest-physical address gpa, below or above 4 GiB. With host NULL the space
 * allocates zeroed memory itself and frees it at destroy; otherwise the memory stays the caller's and must outlive
 * every device on this space. gpa and size are multiples of 4096. Regions may touch, and never overlap.
 * BAD_ARGUMENT: size 0, misaligned, or gpa + size beyond 2^64. OVERLAP, LIMIT, NO_MEMORY as above. BAD_STATE: a device
 * on this space has been started.
 */
enum aero_sim_status aero_sim_memory_map(struct aero_sim_memory *memory, uint64_t gpa, uint64_t size, void *host);

/* The host address of [gpa, gpa + length), or NULL unless one region holds the whole range. Any thread. */
void *aero_sim_memory_at(const struct aero_sim_memory *memory, uint64_t gpa, uint64_t length);

/* Legal once every device on the space is destroyed. NULL is ignored. */
void aero_sim_memory_destroy(struct aero_sim_memory *memory);

/* ---- Worker: the thread that plays the device's side of its rings --------------------------------------------- */

struct aero_sim_worker;

struct aero_sim_worker_options {
    uint32_t spin_ns; /* how long it looks for doorbells before it sleeps; 0 sleeps at once */
    int cpu;          /* the CPU it is pinned to, or -1 */
};

/* options NULL: 50 us of spinning, not pinned. BAD_ARGUMENT: the machine has no such CPU. NO_MEMORY: no thread. */
enum aero_sim_status aero_sim_worker_create(const struct aero_sim_worker_options *options,
                                            struct aero_sim_worker **worker_out);

/* Joins the thread. Legal once every device on it is stopped. NULL is ignored. */
void aero_sim_worker_destroy(struct aero_sim_worker *worker);

/* ---- Devices: create and configure ----------------------------------------------------------------------------- */

struct aero_sim_device;
struct aero_sim_model; /* aero_sim_model.h */

/* The models that come with the simulator, by index (NULL past the last) and by name (NULL where there is none). */
const struct aero_sim_model *aero_sim_model_at(size_t index);
const struct aero_sim_model *aero_sim_model_find(const char *name);
const char *aero_sim_model_name(const struct aero_sim_model *model);
const char *aero_sim_model_summary(const struct aero_sim_model *model);

/*
 * Makes a stopped device of that model over that guest memory. With worker NULL the device has no thread: it moves
 * only inside aero_sim_device_step. BAD_ARGUMENT: model, memory or device_out NULL, or a model that breaks the rules of
 * aero_sim_model.h. NO_MEMORY.
 */
enum aero_sim_status aero_sim_device_create(const struct aero_sim_model *model, struct aero_sim_memory *memory,
                                            struct aero_sim_worker *worker, struct aero_sim_device **device_out);

/* One line on why the last call on this device was refused, or "" ; owned by the device. */
const char *aero_sim_device_error(const struct aero_sim_device *device);

/* Another queue size than the model's: a power of two up to 32768, else BAD_ARGUMENT. NOT_FOUND: no such queue. */
enum aero_sim_status aero_sim_device_set_queue_size(struct aero_sim_device *device, uint16_t queue, uint16_t size);

/* Another PCI Revision ID than contract v1's 0x01 (PCI-3): what a driver must turn down (PCI-4). */
enum aero_sim_status aero_sim_device_set_revision(struct aero_sim_device *device, uint8_t revision);

/* The file behind the device (virtio-blk's image); the path is copied. It is opened at start. */
enum aero_sim_status aero_sim_device_set_backend(struct aero_sim_device *device, const char *path, bool read_only);

/* The device looks at avail.idx unasked, as well as at doorbells. Lifts NTF-5. It needs a worker. */
enum aero_sim_status aero_sim_device_set_poll_mode(struct aero_sim_device *device, bool on);

/*
 * INTx: called with the new level on each change, in order, never twice with the same level (INT-3). It runs on
 * whichever thread caused the change, or, where another is reporting at that moment, on that other one: so a level may
 * be reported shortly after the cause's or the acknowledge's own bus call has returned. It must not block or call back
 * into the device, aero_sim_device_intx_level excepted.
 */
typedef void aero_sim_intx_fn(void *context, bool asserted);
enum aero_sim_status aero_sim_device_set_intx(struct aero_sim_device *device, aero_sim_intx_fn *fn, void *context);

/*
 * A hint, to be given like the callback: where the callback will write when the level goes up. While chains are served
 * that will end in an interrupt, that cache line is asked for. Nothing is read or written there, and it needn't stay
 * mapped. NULL, as at first: nowhere.
 */
enum aero_sim_status aero_sim_device_set_intx_line(struct aero_sim_device *device, const void *line);

/*
 * The callback that is set, and its context; NULL and NULL where none is, or no device. For who wants to watch
 * the line that a machine has taken: set another one, which hands each level on to this one.
 */
aero_sim_intx_fn *aero_sim_device_intx(const struct aero_sim_device *device, void **context_out);

/*
 * A breach of the contract by the driver that vetting found. It is harmless to the process; what the device does
 * about it is said by the clause. Runs on the worker or on the thread of the bus call; must not block.
 */
struct aero_sim_breach {
    const char *clause; /* "RNG-8" */
    const char *what;   /* one line: what was wrong and what would be right */
    uint32_t queue;     /* queue index, or UINT32_MAX where none is concerned */
    uint32_t index;     /* descriptor index, or BAR0 offset, as the text says */
    uint64_t value;     /* the offending value */
    uint64_t step;      /* chains that the queue had taken before; 0 where a register is concerned */
};
typedef void aero_sim_breach_fn(void *context, const struct aero_sim_breach *breach);
enum aero_sim_status aero_sim_device_set_breach(struct aero_sim_device *device, aero_sim_breach_fn *fn,
                                                void *context);

/* ---- Quirks: named deviations (docs/quirks.md) ----------------------------------------------------------------- */

struct aero_sim_quirk_info {
    const char *name;    /* "reset-never-completes" */
    const char *clause;  /* the clause that it breaks, or "legal" */
    const char *summary; /* one line, with the meaning of value */
    uint64_t value_default;
};

/* The catalogue, by index; NULL past the last. */
const struct aero_sim_quirk_info *aero_sim_quirk_at(size_t index);

struct aero_sim_quirk_trigger {
    uint32_t after; /* how many occasions pass untouched before the quirk acts */
    uint32_t times; /* how many it then acts on; 0: all of them */
    uint64_t value; /* the quirk's parameter, as its summary says */
};

/* trigger NULL: from the first occasion, for ever, with the quirk's own value. NOT_FOUND: no such quirk. */
enum aero_sim_status aero_sim_device_set_quirk(struct aero_sim_device *device, const char *name,
                                               const struct aero_sim_quirk_trigger *trigger);

/* ---- Trace ------------------------------------------------------------------------------------------------------ */

/* Keeps the last `events` events (a power of two, at most 2^20) from start on. */
enum aero_sim_status aero_sim_device_set_trace(struct aero_sim_device *device, uint32_t events);

/*
 * Writes the kept events as text, oldest first, one a line; the format is in simulator/src/trace.c. Any thread; events
 * that are being overwritten meanwhile are left out. BAD_STATE: no trace was asked for. IO: the stream failed.
 */
enum aero_sim_status aero_sim_device_trace_write(const struct aero_sim_device *device, FILE *stream);

/*
 * Plays the bus accesses of such a text on this started device, in order, and compares what each read gives. Answers OK
 * with *mismatches_out the number of reads that differ. IO: a line that is no trace line, named in the error text.
 */
enum aero_sim_status aero_sim_device_trace_replay(struct aero_sim_device *device, FILE *stream,
                                                  uint32_t *mismatches_out);

/* ---- Start, run, stop ------------------------------------------------------------------------------------------- */

/* Opens the backend and puts the device on its worker. IO: the backend; LIMIT: too many devices on the worker. */
enum aero_sim_status aero_sim_device_start(struct aero_sim_device *device);

/*
 * For a device without a worker: does one step (look at an index, take and serve a chain, publish, interrupt) and
 * says whether there was one to do. On a device with a worker it does nothing and answers false. No bus call of another
 * thread may run meanwhile.
 */
bool aero_sim_device_step(struct aero_sim_device *device);

/*
 * Lets the worker finish what doorbells asked for so far, takes the device off it and closes the backend. After it
 * returns nothing of the device touches guest memory or calls back. A stopped device is only good for destroy.
 */
enum aero_sim_status aero_sim_device_stop(struct aero_sim_device *device);

/* Stops it first where need be. NULL is ignored. */
void aero_sim_device_destroy(struct aero_sim_device *device);

/* ---- The bus ---------------------------------------------------------------------------------------------------- */

/*
 * PCI configuration space, little-endian values, width 1, 2 or 4, naturally aligned, offset below 256. Anything else
 * reads as all ones and writes nowhere, as on a bus where nobody answers.
 */
uint32_t aero_sim_pci_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void aero_sim_pci_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint32_t value);

/*
 * BAR0, width 1, 2, 4 or 8. While the Command register's memory-decode bit is clear, or the offset lies beyond the
 * BAR, reads give all ones of that width and writes vanish (PCI-14). Accesses that no register takes: BAR-3, BAR-4, BAR-6.
 */
uint64_t aero_sim_bar_read(struct aero_sim_device *device, uint32_t offset, uint32_t width);
void aero_sim_bar_write(struct aero_sim_device *device, uint32_t offset, uint32_t width, uint64_t value);

/*
 * What a conventional reset of the bus, or a power cycle (D3cold to D0, a VMM's resume from S3 or S4), does to the
 * device: configuration space is as after start (no BAR0 address, Command 0 and so no decode: PCI-14), status is 0,
 * queues, features and ISR are as after a driver's reset (COM-8), the line is low. It works where a quirk spoils a
 * driver's reset. Guest memory, device configuration and counters stay.
 *
 * A bus call: any thread, and the worker may be in the midst of traffic. When it returns nothing of the device touches
 * guest memory. A write that another thread makes at that moment comes before it or vanishes; but a plain register (a
 * selector, an address) may keep it. Then BAR0 and Command are to be written as after start (aero_nt_enable). A device
 * that is not started, or stopped or removed, doesn't hear it.
 */
void aero_sim_bus_reset(struct aero_sim_device *device);

/* The level of the INTx pin now. Any thread. */
bool aero_sim_device_intx_level(const struct aero_sim_device *device);

/* Counters since start; any thread; each is exact, together they are no snapshot. */
struct aero_sim_counters {
    uint32_t doorbells;  /* doorbell writes taken (NTF-3) */
    uint32_t interrupts; /* times that the INTx line went up */
    uint32_t chains;     /* chains completed, all queues */
    uint32_t breaches;   /* breaches found by vetting */
    uint32_t sleeps;     /* times that its worker went to sleep, for all its devices and since it was created */
};
void aero_sim_device_counters(const struct aero_sim_device *device, struct aero_sim_counters *counters_out);

#ifdef __cplusplus
}
#endif

#endif

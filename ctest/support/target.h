/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device under test as a suite sees it: PCI configuration, BAR0, guest memory, its interrupt line, what
 * it complains of. A suite that keeps to target_* and ring_driver_* can be pointed at another device by
 * another target.c. Calls belong to the thread of the test and check with CMocka there; what the device's
 * callbacks see is latched and judged here.
 */
#ifndef TARGET_H
#define TARGET_H

#include "aero_sim_model.h"
#include "os.h"
#include "ring_driver.h"

#define TARGET_BREACHES_MAX 64u

struct target_options {
    const struct aero_sim_model *model; /* NULL: loopback */
    struct target *beside; /* shares the memory and the worker of that one, which is closed later */
    uint32_t share_bytes;  /* how much of that one's memory it may allocate; 0: 64 KiB */
    bool stepped;          /* no worker: it moves inside target_* and ring_driver_wait */
    bool polled;
    bool cold;           /* as it leaves start: neither memory decode nor bus master */
    uint32_t spin_ns;    /* of its worker */
    uint16_t queue_size; /* of every queue; 0: the model's */
    uint32_t trace_events;
    const char *quirk;
    const struct aero_sim_quirk_trigger *trigger; /* NULL: the quirk's own */
};

struct target {
    struct ring_driver driver; /* device, worker and memory; for ring_driver_* */
    uint64_t share_end;        /* of what it may allocate, beside another */
    /* What the callbacks saw. */
    _Atomic uint32_t line;    /* the level last reported */
    _Atomic uint32_t edges;   /* reports */
    _Atomic uint32_t repeats; /* reports of the level that it had: never legal */
    struct sim_os_lock lock;
    struct aero_sim_breach breaches[TARGET_BREACHES_MAX];
    _Atomic uint32_t breach_count;
    uint32_t breach_taken;
};

/*
 * Makes and starts a device over ring_driver.h's memory, and sets memory decode and bus master unless cold.
 */
struct target *target_open(const struct target_options *options);
/*
 * Stops and frees it. Fails the test on a breach that nobody took, a level reported twice, a line that stays
 * up.
 */
void target_close(struct target *target);

uint32_t target_pci_read(struct target *target, uint32_t offset, uint32_t width);
void target_pci_write(struct target *target, uint32_t offset, uint32_t width, uint32_t value);
uint64_t target_read(struct target *target, uint32_t offset, uint32_t width);
void target_write(struct target *target, uint32_t offset, uint32_t width, uint64_t value);
void *target_at(struct target *target, uint64_t gpa, uint64_t bytes);

/* Lets the device move until done says so; false where it has no step left, or after 20 s. */
bool target_wait(struct target *target, bool (*done)(void *context), void *context);
/*
 * The same for the line's reported level. The thread of a cause or of an acknowledge may leave its report to
 * another that is reporting already: so a line seen up may be one that was acknowledged, whose fall is still
 * to be reported.
 */
bool target_wait_line(struct target *target, bool asserted);
/* When loops of a test's own give up, to be compared with sim_os_now_ns. */
uint64_t target_deadline(void);
/*
 * Returns when the device is done with what it had begun: behind it, "nothing happened" can be judged. A
 * device with a worker must have shown a sign of the last doorbell first (a used element, a breach).
 */
void target_settle(struct target *target);
/* Settles, and fails the test where the line is up or went up behind `edges`. */
void target_expect_no_interrupt(struct target *target, uint32_t edges);

/* Waits for the next breach and fails the test unless it names the clause. */
struct aero_sim_breach target_take_breach(struct target *target, const char *clause);

/* Reset to FEATURES_OK with those features (RING_DRIVER_ALL_FEATURES: all offered); and DRIVER_OK. */
void target_negotiate(struct target *target, uint64_t features);
void target_ready(struct target *target);
/* Both, with that one queue between them. */
void target_bring_up(struct target *target, struct ring_driver_queue *queue, uint16_t index);
/* Sends length bytes through a loopback queue, one piece each way, and compares what comes back. */
void target_echo(struct target *target, struct ring_driver_queue *queue, uint64_t from, uint64_t to,
                 uint32_t length);
/* The same with 24 bytes of memory of its own. */
void target_echo_small(struct target *target, struct ring_driver_queue *queue);

/* Writes descriptor `index`; and makes `head` available, unpublished. No rule is kept for the caller. */
void target_desc(struct ring_driver_queue *queue, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags,
                 uint16_t next);
void target_offer(struct ring_driver_queue *queue, uint16_t head);

/* An empty file to write and read, one at a time; close removes it. */
FILE *target_scratch_open(void);
void target_scratch_close(FILE *stream);

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The scene of an end-to-end test: a machine with its referee on, a worker, and devices on interrupt lines,
 * set up in the order that aero_nt.h asks for. It knows no test framework: calls answer whether they
 * succeeded. The thread that calls nt_rig_power_on becomes virtual CPU 0; a test may have one more with
 * nt_rig_cpu_start.
 *
 *     struct nt_rig rig;
 *     nt_rig_create(&rig, NULL);
 *     nt_rig_add(&rig, aero_sim_model_find("loopback"), NULL);
 *     ... configure rig.devices[0].device ...
 *     nt_rig_power_on(&rig);
 *     NtDriverStart(&driver, &rig.devices[0].resources, &config) ... NtDriverStop(&driver)
 *     nt_rig_destroy(&rig);
 */
#ifndef NT_RIG_H
#define NT_RIG_H

#include "aero_nt.h"
#include "nt_driver.h"
#include "os.h"

#define NT_RIG_DEVICES_MAX 2u

struct nt_rig_options {
    uint32_t cpus;
    uint32_t cpu_spin_ns;
    uint32_t worker_spin_ns;
    bool virtual_clock; /* delays and stalls return at once */
    bool quiet;         /* for a test that breaks rules on purpose: breaches aren't printed */
    bool no_referee;    /* for rounds in which the register path's own speed is part of the race */
};

/* One CPU, 50 us of spinning on both sides, the real clock, breaches printed. */
struct nt_rig_options nt_rig_options_default(void);

struct nt_rig_device {
    struct aero_sim_device *device;
    NT_DRIVER_RESOURCES resources;
    bool attached;
    bool started;
};

struct nt_rig {
    struct aero_nt *nt;
    struct aero_sim_worker *worker;
    struct nt_rig_device devices[NT_RIG_DEVICES_MAX];
    uint32_t device_count;
    bool entered;
    _Atomic uint32_t device_breaches;    /* found by the devices' vetting, from any thread */
    _Atomic(const char *) device_clause; /* of the last of them */
};

/* options NULL: the defaults. */
bool nt_rig_create(struct nt_rig *rig, const struct nt_rig_options *options);

/* One more device, attached, not started. attach NULL: line 0, CPU 0. */
bool nt_rig_add(struct nt_rig *rig, const struct aero_sim_model *model,
                const struct aero_nt_attach_options *attach);

/* Starts and enables all devices and enters CPU 0. */
bool nt_rig_power_on(struct nt_rig *rig);

/* Takes the devices off the machine, which from then on are gone. For a driver that can't stop otherwise. */
void nt_rig_unplug(struct nt_rig *rig);

/*
 * Leaves, stops and frees, also after a failure; answers the machine's breaches, those of its judgement
 * included.
 */
uint32_t nt_rig_destroy(struct nt_rig *rig);

/*
 * The host's address of guest memory in one piece, and any piece of it copied, whatever regions it crosses.
 */
void *nt_rig_at(const struct nt_rig *rig, uint64_t gpa, uint64_t bytes);

struct aero_sim_counters nt_rig_counters(const struct nt_rig *rig, uint32_t device);

/* ---- A second virtual CPU ---- */

/*
 * A thread that is CPU 1 and does nothing but what interrupts and DPCs ask for, and `work`, each time it is
 * asked.
 */
struct nt_rig_cpu {
    struct nt_rig *rig;
    void (*work)(void *context);
    void *context;
    KEVENT request; /* KeSetEvent by CPU 0: call work soon */
    _Atomic uint32_t stop;
    _Atomic uint32_t entered; /* 1: it is the CPU; 2: it couldn't be */
    struct sim_os_thread *thread;
};

/* False: no thread, or no such CPU. work may be NULL. The caller is CPU 0. */
bool nt_rig_cpu_start(struct nt_rig_cpu *cpu, struct nt_rig *rig, void (*work)(void *context), void *context);
void nt_rig_cpu_stop(struct nt_rig_cpu *cpu); /* after a failed start too */

/* ---- Scale and chance ---- */

/* An iteration count for this build: fewer under sanitizers and Wine; never 0. */
uint32_t nt_rig_scale(uint32_t iterations);

/* splitmix64. */
uint64_t nt_rig_random(uint64_t *state);
static inline uint32_t nt_rig_below(uint64_t *state, uint32_t bound) /* 0 to bound - 1 */
{
    return (uint32_t)((nt_rig_random(state) >> 32) * bound >> 32);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside the Windows kernel that the transport sees: the machine, its virtual CPUs, lines and devices, and
 * what the files of this folder call of each other. Only they include it.
 *
 * Who writes what: a virtual CPU's private part belongs to the thread that entered it, without locks. Across
 * threads there are `kicks`, `sleeping` and `waiting_on` (wake-up), the DPC queue (its lock), a line's
 * service routines (its lock), and the machine's tables (aero_nt.lock). No lock of this folder is held while
 * another is taken, except a line's, under which service routines run, and the machine's, under which an
 * expiring timer's DPC is queued.
 */
#ifndef NT_H
#define NT_H

#include "aero_nt.h"
#include "ntddk.h"
#include "os.h"

#define NT_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define NT_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define NT_LOCKS_HELD_MAX   16u
#define NT_STALL_US_MAX     50u
#define NT_STORM_INTERRUPTS 1000u
#define NT_LINE_IRQL        4u          /* of line 0 */
#define NT_BAR_GPA          0xE0000000u /* of the first device's BAR0 */
#define NT_BAR_STRIDE       0x10000u

/*
 * A mapping's slot is twice the BAR's size, so that running off the BAR's end never meets the next mapping.
 */
#define NT_SLOT_SHIFT  15
#define NT_SLOT_BYTES  ((uintptr_t)1 << NT_SLOT_SHIFT)
#define NT_ARENA_BYTES (AERO_NT_MAPPINGS_MAX * NT_SLOT_BYTES)
_Static_assert(NT_SLOT_BYTES == 2 * AERO_SIM_BAR0_SIZE, "two BARs a slot");

#define NT_FILL_NEW   0xA5 /* what fresh memory holds, so that nobody relies on zeros */
#define NT_FILL_FREED 0xDD /* and freed pool */

/* Bits of nt_cpu.watched. */
enum {
    NT_WATCH_REFEREE = 1,
    NT_WATCH_TIMERS = 2, /* timers of this CPU are set, or were until another CPU cancelled them */
};

/* Values of DISPATCHER_HEADER.Type; an event's are those of EVENT_TYPE. */
enum {
    NT_NOTIFICATION_TIMER = 8,
    NT_SYNCHRONIZATION_TIMER = 9,
};

struct nt_mapping {
    struct aero_sim_device *device; /* NULL: never mapped, or detached */
    struct nt_device *owner;        /* NULL: free */
    uint32_t first;                 /* BAR offsets [first, end) may be touched; end is 0 once detached */
    uint32_t end;
    uint64_t bytes; /* as asked for; and it makes 32 bytes on x64, indexed by a shift */
};

struct nt_held {
    PKSPIN_LOCK lock;
    uint8_t irql; /* below which it must not be held */
    bool owned;   /* false: the breach was reported, the word isn't ours to free */
};

struct nt_cpu {
    /*
     * How often others asked this CPU to look: a line went up, an event was set, a timer is due. They alone
     * write it, so that its line travels one way. (It may wrap: only if it came round in full between two
     * looks, 2^32 requests, would one be missed.)
     */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t kicks;
    /* Written by this CPU, and by who wakes it; hardly ever while it runs. */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t sleeping; /* 1: the thread sleeps, or is about to */
    _Atomic uintptr_t waiting_on; /* the event or timer that this CPU sleeps for, or 0 */

    /* Private to the CPU's thread. First what a register access touches. */
    _Alignas(SIM_LINE_BYTES) uintptr_t arena;
    struct nt_mapping *mappings;
    uint64_t reads;
    uint64_t writes;
    uint32_t kicks_seen; /* kicks, when this CPU last looked */
    uint8_t watched;     /* NT_WATCH_*: why a register access isn't plain, besides kicks */
    bool deferred;       /* a raised line was left alone because IRQL masks it */
    uint8_t irql;
    uint32_t timer_rest;   /* interruption points to come before the real clock is read for timers */
    uint64_t timer_due_ns; /* no timer of this CPU is due before; UINT64_MAX: none is set */
    uint32_t held_count;
    uint32_t number;
    struct aero_nt *nt;
    struct aero_nt_counters counters; /* reads and writes excepted */
    struct nt_held held[NT_LOCKS_HELD_MAX];

    /* The DPC queue: only this CPU's thread appends and runs, any may remove. */
    _Alignas(SIM_LINE_BYTES) struct sim_os_lock dpc_lock;
    _Atomic uint32_t dpc_count;   /* queued */
    _Atomic uint32_t dpc_running; /* 1 inside a DPC routine */
    LIST_ENTRY dpcs;

    _Atomic uint32_t lines;   /* bit n: line n goes to this CPU and has a service routine */
    _Atomic uint32_t entered; /* 1: a thread is this CPU */
};

/* What the referee remembers of one device; guarded by its own lock. */
struct nt_referee {
    struct sim_os_lock lock;
    uint8_t status;       /* as the driver must believe it to be */
    bool reset_pending;   /* 0 was written to device_status and has not been read back */
    bool features_proved; /* FEATURES_OK was read back since it was written */
    uint16_t queue_select;
    uint8_t halves[AERO_SIM_QUEUES_MAX]; /* bit n: 32-bit half n of the queue's addresses was written */
    bool enabled[AERO_SIM_QUEUES_MAX];
};

struct nt_device {
    struct aero_sim_device *device; /* NULL: free */
    struct aero_nt *nt;
    struct nt_line *line;
    uint32_t slot_number; /* PCI_SLOT_NUMBER */
    uint64_t bar0_gpa;
    struct nt_referee referee;
};

struct nt_line {
    /* Read by whoever changes the level, on whichever thread; hardly ever written. */
    _Alignas(SIM_LINE_BYTES) struct nt_cpu *cpu;
    _Atomic uint32_t masked; /* after a storm, until the level changes */
    uint32_t number;
    uint8_t irql;
    uint32_t device_count;
    struct nt_device *devices[AERO_NT_DEVICES_MAX]; /* changes only while no CPU is inside the kernel */

    /* Written with each interrupt, by the CPU. */
    _Alignas(SIM_LINE_BYTES) struct sim_os_lock lock; /* held while its service routines run, so that a
                                                         disconnect waits for them */
    bool serving;          /* written by the CPU alone: inside the service routines */
    _Atomic uint32_t fell; /* the level went down since it was last looked at */
    struct _KINTERRUPT *interrupts;
};

struct nt_run; /* an allocation of contiguous memory */
struct nt_pool_header;

struct nt_ram {
    uint64_t gpa;
    uint64_t bytes;
    unsigned char *host;
    _Atomic uint8_t *used; /* a byte a page */
    struct nt_run *runs;   /* by rising address */
};

#define NT_POOL_BUCKETS 256u
#define NT_FREED_KEPT   64u

/* A timer that is set. */
struct nt_timer {
    PKTIMER timer; /* its address; of its members only the signal state is touched */
    PRKDPC dpc;    /* or NULL */
    struct nt_cpu *cpu;
    uint64_t due_ns; /* by the machine's clock */
    uint64_t period_ns;
};

struct aero_nt {
    struct nt_cpu cpus[AERO_NT_CPUS_MAX];
    struct nt_line lines[AERO_NT_LINES_MAX];
    struct nt_mapping mappings[AERO_NT_MAPPINGS_MAX];
    struct nt_device devices[AERO_NT_DEVICES_MAX];
    struct aero_nt_options options;
    unsigned char *arena;
    struct aero_sim_memory *memory;
    struct nt_ram ram[2];
    _Atomic uint32_t entered; /* CPUs that a thread is */

    /*
     * Guards ram[].runs, the pool, the coming and going of mappings, the counts below, the timers and the
     * virtual clock.
     */
    struct sim_os_lock lock;
    struct nt_pool_header *pool[NT_POOL_BUCKETS];
    const void *freed[NT_FREED_KEPT]; /* the last pool blocks and runs freed, to tell a double free */
    uint32_t freed_next;
    uint32_t mapping_next;
    uint32_t live;
    uint32_t allocations;
    uint64_t fail_at;                           /* the allocation number that fails; UINT64_MAX: none */
    struct nt_timer timers[AERO_NT_TIMERS_MAX]; /* the first timer_count, in the order they were set */
    uint32_t timer_count;
    uint64_t virtual_ns;
    uint64_t began_ns;

    struct sim_os_lock breach_lock;
    _Atomic uint32_t breach_count;
    struct aero_nt_breach breaches[AERO_NT_BREACHES_KEPT];
};

/* ---- breach.c ---- */
/* cpu NULL: no CPU is concerned. nt NULL: a stray, see aero_nt_stray_count. */
void nt_breach(struct aero_nt *nt, struct nt_cpu *cpu, const char *rule, const char *clause,
               const char *function, uint64_t value, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
#define NT_BREACH(cpu, rule, value, ...) \
    nt_breach((cpu)->nt, (cpu), (rule), "", __func__, (value), __VA_ARGS__)
void nt_stray(const char *function);
/* Reports and answers false where the CPU is above that IRQL. */
bool nt_irql_at_most(struct nt_cpu *cpu, uint8_t irql, const char *function);

/* The calling thread's CPU; NULL, and reported, where it is none. */
static inline struct nt_cpu *nt_cpu_current(const char *function)
{
    struct nt_cpu *cpu = sim_os_tls_get();

    if (NT_UNLIKELY(cpu == NULL)) {
        nt_stray(function);
    }
    return cpu;
}

/* ---- irql.c ---- */
/* Takes what is pending and IRQL allows: interrupts, then timers that are due, then DPCs. */
void nt_service(struct nt_cpu *cpu);
/* To irql <= the present one; checks locks held, then services. */
void nt_irql_lower(struct nt_cpu *cpu, uint8_t irql, const char *function);

/* Was this CPU asked to look since it last did? */
static inline bool nt_cpu_kicked(const struct nt_cpu *cpu)
{
    return atomic_load_explicit(&cpu->kicks, memory_order_relaxed) != cpu->kicks_seen;
}

/* Of a call that takes its time: reads the clock, where a timer of this CPU is set. */
static inline void nt_interruption_point(struct nt_cpu *cpu)
{
    if (NT_UNLIKELY(nt_cpu_kicked(cpu) || (cpu->watched & NT_WATCH_TIMERS) != 0)) {
        cpu->timer_rest = 0;
        nt_service(cpu);
    }
}

void nt_timers_glance(struct nt_cpu *cpu);

/* The same where it comes thick and fast: the real clock is read every now and then. */
static inline void nt_interruption_point_often(struct nt_cpu *cpu)
{
    if (NT_UNLIKELY(nt_cpu_kicked(cpu))) {
        nt_service(cpu);
    } else if (NT_UNLIKELY((cpu->watched & NT_WATCH_TIMERS) != 0)) {
        nt_timers_glance(cpu);
    }
}

/* Makes a CPU look at lines and events soon, awake or asleep. Any thread, the worker too; never blocks. */
static inline void nt_cpu_kick(struct nt_cpu *cpu)
{
    /*
     * K: what the kicker stored before is seen by the CPU's looks behind its load of `kicks` in nt_service.
     * And the addition stands before this load of `sleeping` as the CPU's store of `sleeping` stands before
     * its last look at `kicks` (Z in event.c).
     */
    atomic_fetch_add_explicit(&cpu->kicks, 1, memory_order_seq_cst);
    if (NT_UNLIKELY(atomic_load_explicit(&cpu->sleeping, memory_order_seq_cst) != 0) &&
        atomic_exchange_explicit(&cpu->sleeping, 0, memory_order_seq_cst) != 0) {
        sim_os_wake_one(&cpu->sleeping);
    }
}

/* ---- spinlock.c ---- */
void nt_lock_enter(struct nt_cpu *cpu, PKSPIN_LOCK lock, uint8_t irql, const char *function);
void nt_lock_leave(struct nt_cpu *cpu, PKSPIN_LOCK lock, const char *function);
/* Gives up the locks taken since there were `count`, after a breach. */
void nt_locks_drop(struct nt_cpu *cpu, uint32_t count);
/* The IRQL below which the locks held must not be lowered; 0 without any. */
uint8_t nt_locks_irql(const struct nt_cpu *cpu);

/* ---- interrupt.c ---- */
aero_sim_intx_fn nt_line_changed; /* context: struct nt_device */
void nt_interrupts_take(struct nt_cpu *cpu);
void nt_interrupts_judge(struct aero_nt *nt); /* at destroy: reports and frees what is still connected */

/* ---- dpc.c ---- */
void nt_dpcs_run(struct nt_cpu *cpu);
/* On that CPU's thread; false: it is queued already, and the arguments are dropped. Runs nothing. */
bool nt_dpc_queue(struct nt_cpu *cpu, PRKDPC dpc, PVOID argument1, PVOID argument2);

/* ---- event.c ---- */
/* The object was signalled: wakes the other CPUs that sleep for it. Reads no memory of it. */
void nt_waiters_kick(struct nt_cpu *self, const void *object);

/* ---- timer.c ---- */
/* If it is time to look: signals what is due of this CPU's and queues its DPCs. Below DISPATCH_LEVEL. */
void nt_timers_look(struct nt_cpu *cpu);
/* ns until the first of this CPU's timers is due, 0 where it is; UINT64_MAX: none is set. */
uint64_t nt_timers_left_ns(struct nt_cpu *cpu);
/* Likewise of one timer, whichever CPU set it; UINT64_MAX: it isn't set. */
uint64_t nt_timer_left_ns(struct aero_nt *nt, const void *object);
/* A bit for each CPU that has a timer due by the virtual clock. With aero_nt.lock held. */
uint32_t nt_timers_due_cpus(const struct aero_nt *nt);
void nt_timers_judge(struct aero_nt *nt); /* at destroy: reports what is still set */

/* ---- time.c ---- */
/* ns from now until an NT time-out (negative: relative, else absolute), saturated. */
uint64_t nt_timeout_ns(struct aero_nt *nt, LONGLONG timeout);
/* The virtual clock moves by ns, and comes by each of this CPU's timers on the way, where IRQL allows. */
void nt_clock_pass(struct nt_cpu *cpu, uint64_t ns);

/* ---- memory.c, pool.c, mapping.c ---- */
/* Both with aero_nt.lock held. false: this allocation is to fail. */
bool nt_allocation_begin(struct aero_nt *nt);
void nt_freed_note(struct aero_nt *nt, const void *address);
bool nt_freed_before(const struct aero_nt *nt, const void *address);
enum aero_sim_status nt_ram_create(struct aero_nt *nt);
void nt_ram_destroy(struct aero_nt *nt); /* reports leaks */
void nt_pool_destroy(struct aero_nt *nt);
void nt_mappings_judge(struct aero_nt *nt);

/* ---- referee.c ---- */
uint32_t nt_referee_read(struct nt_cpu *cpu, const struct nt_mapping *mapping, uint32_t offset,
                         uint32_t width, const char *function);
void nt_referee_write(struct nt_cpu *cpu, const struct nt_mapping *mapping, uint32_t offset, uint32_t width,
                      uint32_t value, const char *function);

#endif

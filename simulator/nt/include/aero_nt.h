/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated machine behind ntddk.h, as its harness sees it: RAM, one to eight virtual CPUs, PCI slots for
 * aero_sim devices, interrupt lines, a clock, and a record of every rule that the driver broke. Drivers never
 * include this.
 *
 * A life:
 *     aero_nt_create -> aero_sim_device_create(model, aero_nt_memory(nt), ...) -> configure the device
 *     -> aero_nt_attach -> aero_sim_device_start -> aero_nt_enable -> aero_nt_cpu_enter -> the driver runs
 *     -> aero_nt_cpu_leave -> aero_sim_device_stop -> aero_nt_detach -> aero_sim_device_destroy
 *     -> aero_nt_destroy
 *
 * Several machines may exist at a time; a thread belongs to at most one. Unless a text says more, a function
 * belongs to one thread at a time, and no virtual CPU may be inside the kernel meanwhile (the calling thread
 * itself may be a CPU).
 */
#ifndef AERO_NT_H
#define AERO_NT_H

#include "aero_sim.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AERO_NT_CPUS_MAX      8u
#define AERO_NT_DEVICES_MAX   32u
#define AERO_NT_LINES_MAX     8u   /* interrupt lines; line n has IRQL 4 + n */
#define AERO_NT_MAPPINGS_MAX  256u /* MmMapIoSpace at a time */
#define AERO_NT_TIMERS_MAX    256u /* KTIMERs set at a time */
#define AERO_NT_BREACHES_KEPT 64u

#define AERO_NT_RAM_LOW_GPA  UINT64_C(0x00100000)
#define AERO_NT_RAM_HIGH_GPA UINT64_C(0x100000000)

struct aero_nt;

/* ---- Breaches ------------------------------------------------------------------------------------------ */
/*
 * Rules of the kernel (clause ""):
 *   IRQL                 called above the IRQL that ntddk.h allows; raised to a lower, lowered to a higher
 *   SPINLOCK-RECURSIVE   acquired by the CPU that holds it
 *   SPINLOCK-OWNER       released by a CPU that doesn't hold it
 *   SPINLOCK-HELD        a wait, or an IRQL too low, with a lock held
 *   SPINLOCK-TIMEOUT     not obtained within lock_timeout_ns; the caller goes on without it
 *   SPINLOCK-CORRUPT     the word names no CPU of this machine; the lock is taken by force
 *   STALL                KeStallExecutionProcessor of more than 50 us
 *   WAIT-FOREVER         a wait without time-out, or a flush, that took max_wait_ns
 *   ISR-RETURN           a service routine came back at another IRQL, or with a lock held
 *   DPC-RETURN           a DPC routine did
 *   INTERRUPT-STORM      1000 interrupts in a row without the line going down; it is masked until it changes
 *   INTERRUPT-CONNECT    IoConnectInterrupt that fits no line, or a disconnect of what isn't connected
 *   POOL-TAG             a tag of zero, or another than the allocation's
 *   POOL-FREE            freed what isn't allocated, or was freed before
 *   POOL-OVERRUN         the bytes behind a block were written; found by the free
 *   CONTIGUOUS-FREE      freed what isn't allocated, was freed before, or is of another size
 *   PHYSICAL-ADDRESS     MmGetPhysicalAddress of what isn't contiguous memory
 *   IO-MAPPING           MmMapIoSpace of what is no BAR, or MmUnmapIoSpace of what isn't mapped
 *   REGISTER-ADDRESS     a register access outside every mapping
 *   TIMER-LIMIT          more than AERO_NT_TIMERS_MAX timers set at a time
 *   ARGUMENT             nonsense where the DDK allows none
 *   NO-CPU               the thread is no virtual CPU; counted to no machine, see aero_nt_stray_count
 *   CPU-LEFT             a CPU left above PASSIVE_LEVEL, or a machine destroyed with a CPU entered
 *   LEAK-LOCK            a CPU left with a lock held
 *   LEAK-CONTIGUOUS, LEAK-POOL, LEAK-MAPPING, LEAK-INTERRUPT, LEAK-TIMER, LEAK-DPC, LEAK-DEVICE
 *                        found by destroy
 *   BUGCHECK, ASSERT     the driver's own
 * The referee's rules have the clause's id as their name, and the clause filled in.
 */
struct aero_nt_breach {
    const char *rule;   /* as above; static */
    const char *clause; /* "COM-14", or ""; static */
    const char
        *function;  /* the function called, "KeLowerIrql", or the expression of a failed ASSERT; static */
    char text[160]; /* one line: what was wrong and what would be right */
    uint64_t value; /* the offending value: IRQL, address, offset, length, as the text says */
    uint32_t cpu;   /* virtual CPU, or UINT32_MAX */
};

/*
 * On the thread that broke the rule, perhaps at raised IRQL with locks held: take it down, and call nothing
 * of the kernel.
 */
typedef void aero_nt_breach_fn(void *context, const struct aero_nt_breach *breach);

/*
 * For a debugger, off at first: with true, each breach of every machine in this process, the referee's and a
 * stray call's among them, is printed on stderr, callback or not, and then raises SIGTRAP (Windows:
 * STATUS_BREAKPOINT) on the thread that broke the rule, inside the call that broke it and before the callback.
 * The driver is up the stack. Without a debugger the process ends there. What aero_nt_destroy finds was done
 * earlier: there the stack shows the destroy. Any thread, any time.
 */
void aero_nt_break_on_breach(bool on);

/* ---- Create and destroy -------------------------------------------------------------------------------- */

enum aero_nt_clock {
    AERO_NT_CLOCK_REAL,    /* stalls spin and delays sleep, with interrupts taken meanwhile */
    AERO_NT_CLOCK_VIRTUAL, /* both return at once, having moved the clock from timer to timer */
};

struct aero_nt_options {
    uint32_t cpu_count;       /* 1 to AERO_NT_CPUS_MAX */
    uint64_t ram_low_bytes;   /* at AERO_NT_RAM_LOW_GPA; multiple of 4096, at most 1 GiB, 0: none */
    uint64_t ram_high_bytes;  /* at AERO_NT_RAM_HIGH_GPA; likewise */
    uint32_t spin_ns;         /* how long a blocked CPU looks about before its thread sleeps; 0: not at all */
    uint64_t max_wait_ns;     /* what "for ever" means in KeWaitForSingleObject and KeFlushQueuedDpcs */
    uint64_t lock_timeout_ns; /* how long a spin lock may be waited for */
    enum aero_nt_clock clock;
    bool referee;              /* watch the driver's side of the contract, register by register */
    bool quiet;                /* without a callback: don't print breaches on stderr */
    aero_nt_breach_fn *breach; /* NULL: breaches are printed, a line each; kept they are in any case */
    void *breach_context;
};

/* One CPU, 16 MiB low and 16 MiB high, 50 us of spinning, 30 s, 10 s, real clock, no referee, no callback. */
struct aero_nt_options aero_nt_options_default(void);

/* options NULL: the defaults. BAD_ARGUMENT: a value outside what its comment says. NO_MEMORY. */
enum aero_sim_status aero_nt_create(const struct aero_nt_options *options, struct aero_nt **nt_out);

/*
 * Judges and frees: each thing left behind is one more breach. Answers how many breaches there were in the
 * machine's whole life (after the last aero_nt_breach_forget), so that a teardown may demand 0. NULL: 0.
 * Legal once no thread is a CPU of it and every device on its memory is destroyed.
 */
uint32_t aero_nt_destroy(struct aero_nt *nt);

/*
 * Breaches so far, and the kept ones by index (NULL past the last). Any thread. They are kept beside a
 * callback too.
 */
uint32_t aero_nt_breach_count(const struct aero_nt *nt);
const struct aero_nt_breach *aero_nt_breach_at(const struct aero_nt *nt, uint32_t index);

/* Forgets all of them, for a test that broke a rule on purpose and has checked so. */
void aero_nt_breach_forget(struct aero_nt *nt);

/* Kernel calls of this process by threads that were no virtual CPU, since it began. Any thread. */
uint32_t aero_nt_stray_count(void);

/*
 * The machine's RAM, for aero_sim_device_create; it lives as long as the machine. A guest address is never
 * the host's.
 */
struct aero_sim_memory *aero_nt_memory(struct aero_nt *nt);

/* ---- Virtual CPUs -------------------------------------------------------------------------------------- */

/*
 * The calling thread becomes virtual CPU number cpu (from 0), at PASSIVE_LEVEL. false: no such CPU, another
 * thread is it, or this thread is one already. Several threads may call it at once. An interrupt that came
 * while nobody was the CPU is taken at the first interruption point.
 */
bool aero_nt_cpu_enter(struct aero_nt *nt, uint32_t cpu);

/* The calling thread stops being a CPU of nt; it must be at PASSIVE_LEVEL and hold no lock. */
void aero_nt_cpu_leave(struct aero_nt *nt);

/* ---- Devices ------------------------------------------------------------------------------------------- */

struct aero_nt_attach_options {
    uint32_t line;     /* interrupt line, below AERO_NT_LINES_MAX; devices may share one (INT-9) */
    uint32_t cpu;      /* the CPU that the line goes to; all devices of a line name the same one */
    uint32_t slot;     /* PCI device number 1 to 31, or 0: the first free one */
    uint32_t function; /* PCI function number, below 8 */
};

struct aero_nt_device_info {
    uint32_t bus_number;  /* HalGetBusDataByOffset */
    uint32_t slot_number; /* PCI_SLOT_NUMBER.u.AsULONG */
    uint64_t bar0_gpa;    /* MmMapIoSpace */
    uint32_t bar0_bytes;
    uint32_t interrupt_vector; /* IoConnectInterrupt */
    uint32_t interrupt_irql;
    uint64_t interrupt_affinity;
};

/*
 * Puts a device that is not yet started into a PCI slot and takes its INTx callback; a harness that watches
 * the line puts its own before that one (aero_sim_device_intx). options NULL: line 0, CPU 0, any slot.
 * BAD_ARGUMENT: out of range, slot taken, or the line goes to another CPU. BAD_STATE: the device is started
 * already. LIMIT: no room.
 */
enum aero_sim_status aero_nt_attach(struct aero_nt *nt, struct aero_sim_device *device,
                                    const struct aero_nt_attach_options *options,
                                    struct aero_nt_device_info *info_out);

/*
 * What firmware and the PCI driver do once the device is started: writes BAR0 and sets memory decode and bus
 * master. A test that wants them clear leaves this out and uses aero_sim_pci_write. Once more after each
 * aero_sim_bus_reset, from any one thread and whatever the CPUs do meanwhile; mappings are good again, which
 * between the two read all ones. NOT_FOUND: not attached.
 */
enum aero_sim_status aero_nt_enable(struct aero_nt *nt, struct aero_sim_device *device);

/*
 * After the device's stop and before its destroy. Mappings of its BAR read all ones from now on. NOT_FOUND.
 */
enum aero_sim_status aero_nt_detach(struct aero_nt *nt, struct aero_sim_device *device);

/* ---- Observation and injection ------------------------------------------------------------------------- */

struct aero_nt_counters {
    uint64_t register_reads;
    uint64_t register_writes;
    uint64_t interrupts;           /* times that an interrupt was taken, claimed or not */
    uint64_t interrupts_unclaimed; /* of these, times that no service routine claimed it */
    uint64_t dpcs;                 /* DPC routines run */
    uint64_t sleeps;               /* times that a CPU's thread went to sleep */
    uint64_t stalls;               /* calls of KeStallExecutionProcessor */
    uint64_t delays;               /* calls of KeDelayExecutionThread */
    uint64_t stalled_ns;           /* time asked for in stalls, */
    uint64_t stalled_ns_raised;    /* of it at DISPATCH_LEVEL and above, */
    uint64_t stalled_ns_longest;   /* and in the longest single call */
    uint64_t delayed_ns;           /* time asked for in delays */
};

/* Of one CPU. Legal on that CPU's own thread, and on any when that CPU isn't entered. */
void aero_nt_cpu_counters(const struct aero_nt *nt, uint32_t cpu, struct aero_nt_counters *counters_out);

/* Of all CPUs (stalled_ns_longest is a maximum); legal when no CPU but the caller's is entered. */
void aero_nt_counters(const struct aero_nt *nt, struct aero_nt_counters *counters_out);

/* stalled_ns + delayed_ns of all CPUs; legal as above. */
uint64_t aero_nt_waited_ns(const struct aero_nt *nt);

/* The machine's clock, ns since create. Any thread. */
uint64_t aero_nt_now_ns(struct aero_nt *nt);

/*
 * Lets the next n allocations of pool, contiguous memory, mappings and interrupt objects succeed and the one
 * after fail.
 */
void aero_nt_fail_allocation_after(struct aero_nt *nt, uint32_t n);
void aero_nt_fail_allocation_never(struct aero_nt *nt);

/* Allocations asked for so far, to end a sweep of the above. */
uint32_t aero_nt_allocation_count(const struct aero_nt *nt);

/* Contiguous and pool memory, mappings and interrupt objects that the driver holds now. */
uint32_t aero_nt_live_count(const struct aero_nt *nt);

#ifdef __cplusplus
}
#endif

#endif

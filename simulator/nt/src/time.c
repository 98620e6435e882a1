/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine's clock, real or virtual, and stalls. Any IRQL. The virtual clock moves only by stalls, delays
 * and waits (event.c says how); it is 64 bits wide and shared, so it lives under the machine's lock.
 */
#include "nt.h"

#define NT_TICK_NS           100u
#define NT_FREQUENCY_HZ      10000000
/* Windows 7 reached the shops on 22 October 2009; the machine begins there, in 100 ns since 1601. */
#define NT_SYSTEM_TIME_BEGAN INT64_C(0x01CA52AA9919C000)

/* By at most ns, and no further than the next timer of this CPU; answers by how much. */
static uint64_t clock_step(struct nt_cpu *cpu, uint64_t ns)
{
    uint64_t left = cpu->irql < DISPATCH_LEVEL ? nt_timers_left_ns(cpu) : UINT64_MAX;
    uint64_t step = left < ns ? left : ns;
    struct aero_nt *nt = cpu->nt;
    uint32_t due;

    sim_os_lock_acquire(&nt->lock);
    nt->virtual_ns += step;
    due = nt_timers_due_cpus(nt) & ~(UINT32_C(1) << cpu->number);
    sim_os_lock_release(&nt->lock);
    for (; due != 0; due &= due - 1) {
        nt_cpu_kick(&nt->cpus[__builtin_ctz(due)]);
    }
    return step;
}

void nt_clock_pass(struct nt_cpu *cpu, uint64_t ns)
{
    do {
        ns -= clock_step(cpu, ns);
        nt_interruption_point(cpu);
    } while (ns != 0);
}

uint64_t aero_nt_now_ns(struct aero_nt *nt)
{
    uint64_t ns;

    if (nt->options.clock == AERO_NT_CLOCK_REAL) {
        return sim_os_now_ns() - nt->began_ns;
    }
    sim_os_lock_acquire(&nt->lock);
    ns = nt->virtual_ns;
    sim_os_lock_release(&nt->lock);
    return ns;
}

uint64_t nt_timeout_ns(struct aero_nt *nt, LONGLONG timeout)
{
    uint64_t ticks;

    if (timeout <= 0) {
        ticks = 0 - (uint64_t)timeout;
    } else {
        uint64_t now = (uint64_t)NT_SYSTEM_TIME_BEGAN + aero_nt_now_ns(nt) / NT_TICK_NS;

        ticks = (uint64_t)timeout > now ? (uint64_t)timeout - now : 0;
    }
    return ticks < INT64_MAX / NT_TICK_NS ? ticks * NT_TICK_NS : INT64_MAX;
}

VOID NTAPI KeStallExecutionProcessor(ULONG MicroSeconds)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    uint64_t ns = (uint64_t)MicroSeconds * 1000u;
    struct aero_nt_counters *counters;

    if (cpu == NULL) {
        return;
    }
    if (NT_UNLIKELY(MicroSeconds > NT_STALL_US_MAX)) {
        NT_BREACH(cpu, "STALL", MicroSeconds, "%u us in one call, allowed are %u", MicroSeconds,
                  NT_STALL_US_MAX);
    }
    counters = &cpu->counters;
    counters->stalls++;
    counters->stalled_ns += ns;
    counters->stalled_ns_raised += cpu->irql >= DISPATCH_LEVEL ? ns : 0;
    counters->stalled_ns_longest = ns > counters->stalled_ns_longest ? ns : counters->stalled_ns_longest;
    nt_interruption_point(cpu);
    if (cpu->nt->options.clock == AERO_NT_CLOCK_VIRTUAL) {
        nt_clock_pass(cpu, ns);
        sim_os_yield();
    } else if (ns != 0) {
        uint64_t deadline_ns = sim_os_now_ns() + ns;

        do {
            sim_os_pause();
            nt_interruption_point(cpu);
        } while (sim_os_now_ns() < deadline_ns);
    }
    nt_interruption_point(cpu);
}

ULONGLONG NTAPI KeQueryInterruptTime(VOID)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    return cpu != NULL ? aero_nt_now_ns(cpu->nt) / NT_TICK_NS : 0;
}

LARGE_INTEGER NTAPI KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
{
    LARGE_INTEGER count;

    if (PerformanceFrequency != NULL) {
        PerformanceFrequency->QuadPart = NT_FREQUENCY_HZ;
    }
    count.QuadPart = (LONGLONG)KeQueryInterruptTime();
    return count;
}

VOID NTAPI KeQuerySystemTime(PLARGE_INTEGER CurrentTime)
{
    CurrentTime->QuadPart = NT_SYSTEM_TIME_BEGAN + (LONGLONG)KeQueryInterruptTime();
}

ULONG NTAPI KeQueryTimeIncrement(VOID)
{
    return 156250;
}

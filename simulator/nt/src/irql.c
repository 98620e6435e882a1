/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * IRQL of a virtual CPU, and what happens when it drops: pending interrupts above the new level are taken,
 * then, below DISPATCH_LEVEL, timers expire and queued DPCs run. All on the CPU's own thread.
 */
#include "nt.h"

void nt_service(struct nt_cpu *cpu)
{
    for (;;) {
        /*
         * Acquire pairs with K in nt.h: a line that went up before a kick that is counted here is seen up
         * below; any other kick is still to be seen. So no interrupt is lost.
         */
        uint32_t kicks = atomic_load_explicit(&cpu->kicks, memory_order_acquire);
        bool kicked = kicks != cpu->kicks_seen;

        cpu->kicks_seen = kicks;
        if (kicked || cpu->deferred) {
            nt_interrupts_take(cpu);
        }
        if (cpu->irql < DISPATCH_LEVEL && (cpu->watched & NT_WATCH_TIMERS) != 0) {
            nt_timers_look(cpu);
        }
        if (cpu->irql < DISPATCH_LEVEL && atomic_load_explicit(&cpu->dpc_count, memory_order_relaxed) != 0) {
            nt_dpcs_run(cpu);
        } else if (!nt_cpu_kicked(cpu)) {
            return;
        }
    }
}

void nt_irql_lower(struct nt_cpu *cpu, uint8_t irql, const char *function)
{
    uint8_t needed = cpu->held_count != 0 ? nt_locks_irql(cpu) : 0;

    if (NT_UNLIKELY(irql > cpu->irql)) {
        nt_breach(cpu->nt, cpu, "IRQL", "", function, irql, "lowered from IRQL %u to the higher %u",
                  cpu->irql, irql);
        return;
    }
    if (NT_UNLIKELY(irql < needed)) {
        nt_breach(cpu->nt, cpu, "SPINLOCK-HELD", "", function, irql,
                  "lowered to IRQL %u holding a spin lock that needs %u", irql, needed);
    }
    cpu->irql = irql;
    if (NT_UNLIKELY(nt_cpu_kicked(cpu) || cpu->deferred ||
                    atomic_load_explicit(&cpu->dpc_count, memory_order_relaxed) != 0)) {
        nt_service(cpu);
    } else if (NT_UNLIKELY((cpu->watched & NT_WATCH_TIMERS) != 0)) {
        nt_timers_glance(cpu);
    }
}

KIRQL NTAPI KeGetCurrentIrql(VOID)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    return cpu != NULL ? cpu->irql : PASSIVE_LEVEL;
}

KIRQL NTAPI KfRaiseIrql(KIRQL NewIrql)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    KIRQL old;

    if (cpu == NULL) {
        return PASSIVE_LEVEL;
    }
    old = cpu->irql;
    if (NewIrql > HIGH_LEVEL) {
        NT_BREACH(cpu, "IRQL", NewIrql, "there is no IRQL %u; the highest is %u", NewIrql, HIGH_LEVEL);
    } else if (NewIrql < old) {
        NT_BREACH(cpu, "IRQL", NewIrql, "raised from IRQL %u to the lower %u", old, NewIrql);
    } else {
        cpu->irql = NewIrql;
    }
    return old;
}

VOID NTAPI KeLowerIrql(KIRQL NewIrql)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu != NULL) {
        nt_irql_lower(cpu, NewIrql, __func__);
    }
}

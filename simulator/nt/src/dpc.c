/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * DPCs: queued at any IRQL to the CPU that asks, run by that CPU's thread at DISPATCH_LEVEL when its IRQL
 * drops below it. DpcData says which CPU's queue a DPC is on; it leaves NULL by compare-and-swap, so that a
 * DPC is queued once at a time.
 */
#include "nt.h"

static void list_unlink(PLIST_ENTRY entry)
{
    entry->Blink->Flink = entry->Flink;
    entry->Flink->Blink = entry->Blink;
}

/* Under the queue's lock, which spares it a locked instruction. */
static void dpc_count_add(struct nt_cpu *cpu, uint32_t difference)
{
    uint32_t count = atomic_load_explicit(&cpu->dpc_count, memory_order_relaxed);

    atomic_store_explicit(&cpu->dpc_count, count + difference, memory_order_relaxed);
}

static void dpc_unqueue(struct nt_cpu *cpu, PRKDPC dpc)
{
    list_unlink(&dpc->DpcListEntry);
    dpc_count_add(cpu, UINT32_MAX);
    /* Q: who queues it next finds the arguments taken. */
    __atomic_store_n(&dpc->DpcData, NULL, __ATOMIC_RELEASE);
}

static void dpc_call(struct nt_cpu *cpu, const KDPC *dpc, PRKDPC identity)
{
    uint32_t held = cpu->held_count;
    uint8_t old = cpu->irql;

    cpu->irql = DISPATCH_LEVEL;
    cpu->counters.dpcs++;
    dpc->DeferredRoutine(identity, dpc->DeferredContext, dpc->SystemArgument1, dpc->SystemArgument2);
    if (NT_UNLIKELY(cpu->irql != DISPATCH_LEVEL || cpu->held_count != held)) {
        nt_breach(cpu->nt, cpu, "DPC-RETURN", "", "KDEFERRED_ROUTINE", cpu->irql,
                  "came back at IRQL %u, holding %d spin locks more than before", cpu->irql,
                  (int)(cpu->held_count - held));
        nt_locks_drop(cpu, held);
    }
    cpu->irql = old;
}

void nt_dpcs_run(struct nt_cpu *cpu)
{
    while (atomic_load_explicit(&cpu->dpc_count, memory_order_relaxed) != 0) {
        PRKDPC dpc = NULL;
        KDPC copy;

        sim_os_lock_acquire(&cpu->dpc_lock);
        if (cpu->dpcs.Flink != &cpu->dpcs) {
            dpc = CONTAINING_RECORD(cpu->dpcs.Flink, KDPC, DpcListEntry);
            /* A copy: the routine may queue the DPC again, with other arguments, or free it. */
            copy.DeferredRoutine = dpc->DeferredRoutine;
            copy.DeferredContext = dpc->DeferredContext;
            copy.SystemArgument1 = dpc->SystemArgument1;
            copy.SystemArgument2 = dpc->SystemArgument2;
            /* Before the count drops: a flush that sees neither must be right (F in KeFlushQueuedDpcs). */
            atomic_store_explicit(&cpu->dpc_running, 1, memory_order_relaxed);
            dpc_unqueue(cpu, dpc);
        }
        sim_os_lock_release(&cpu->dpc_lock);
        if (dpc != NULL) {
            dpc_call(cpu, &copy, dpc);
        }
        /* Pairs with F: what the routine did is visible to whoever flushed. */
        atomic_store_explicit(&cpu->dpc_running, 0, memory_order_release);
    }
}

VOID NTAPI KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    memset(Dpc, 0, sizeof *Dpc);
    Dpc->Type = 19; /* DpcObject */
    Dpc->Importance = 1;
    Dpc->DeferredRoutine = DeferredRoutine;
    Dpc->DeferredContext = DeferredContext;
}

bool nt_dpc_queue(struct nt_cpu *cpu, PRKDPC dpc, PVOID argument1, PVOID argument2)
{
    PVOID expected = NULL;
    bool queued;

    sim_os_lock_acquire(&cpu->dpc_lock);
    /* Acquire pairs with Q. */
    queued = __atomic_compare_exchange_n(&dpc->DpcData, &expected, (PVOID)cpu, false, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED);
    if (queued) {
        dpc->SystemArgument1 = argument1;
        dpc->SystemArgument2 = argument2;
        dpc->DpcListEntry.Flink = &cpu->dpcs;
        dpc->DpcListEntry.Blink = cpu->dpcs.Blink;
        cpu->dpcs.Blink->Flink = &dpc->DpcListEntry;
        cpu->dpcs.Blink = &dpc->DpcListEntry;
        dpc_count_add(cpu, 1);
    }
    sim_os_lock_release(&cpu->dpc_lock);
    return queued;
}

BOOLEAN NTAPI KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    bool queued;

    if (cpu == NULL) {
        return FALSE;
    }
    if (Dpc->DeferredRoutine == NULL) {
        NT_BREACH(cpu, "ARGUMENT", 0, "the DPC has no routine: initialised?");
        return FALSE;
    }
    queued = nt_dpc_queue(cpu, Dpc, SystemArgument1, SystemArgument2);
    if (NT_UNLIKELY(queued && cpu->irql < DISPATCH_LEVEL)) {
        nt_service(cpu);
    }
    return queued;
}

BOOLEAN NTAPI KeRemoveQueueDpc(PRKDPC Dpc)
{
    struct nt_cpu *self = nt_cpu_current(__func__);
    struct nt_cpu *cpu;
    bool removed = false;

    if (self == NULL) {
        return FALSE;
    }
    cpu = __atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE);
    if (cpu == NULL) {
        return FALSE;
    }
    sim_os_lock_acquire(&cpu->dpc_lock);
    /* Still on that queue? It is set and linked, or unlinked and cleared, under the queue's lock. */
    if (__atomic_load_n(&Dpc->DpcData, __ATOMIC_RELAXED) == cpu) {
        dpc_unqueue(cpu, Dpc);
        removed = true;
    }
    sim_os_lock_release(&cpu->dpc_lock);
    return removed;
}

static bool dpcs_busy(struct nt_cpu *cpu)
{
    bool busy;

    /* F: under the lock, so that a DPC is seen queued or running, never between the two. */
    sim_os_lock_acquire(&cpu->dpc_lock);
    busy = atomic_load_explicit(&cpu->dpc_count, memory_order_relaxed) != 0 ||
           atomic_load_explicit(&cpu->dpc_running, memory_order_acquire) != 0;
    sim_os_lock_release(&cpu->dpc_lock);
    return busy;
}

VOID NTAPI KeFlushQueuedDpcs(VOID)
{
    struct nt_cpu *self = nt_cpu_current(__func__);
    uint64_t began_ns;
    uint32_t number;

    if (self == NULL || !nt_irql_at_most(self, PASSIVE_LEVEL, __func__)) {
        return;
    }
    nt_interruption_point(self);
    began_ns = sim_os_now_ns();
    for (number = 0; number < self->nt->options.cpu_count; number++) {
        struct nt_cpu *cpu = &self->nt->cpus[number];

        /*
         * The other CPU's thread must come by an interruption point by itself; a kick spares it nothing but
         * sleep.
         */
        while (cpu != self && dpcs_busy(cpu)) {
            if (sim_os_now_ns() - began_ns > self->nt->options.max_wait_ns) {
                NT_BREACH(self, "WAIT-FOREVER", number, "CPU %u doesn't run its DPCs", (unsigned)number);
                return;
            }
            nt_interruption_point(self);
            sim_os_yield();
        }
    }
}

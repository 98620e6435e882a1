/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Interrupt lines. The device's INTx callback, on the worker or inside a bus call, only kicks the CPU
 * that the line goes to; that CPU's own thread calls the service routines at its next interruption point,
 * at the line's IRQL, while the level is high. A line without a service routine is masked, as an
 * operating system leaves it.
 */
#include <stdlib.h>

#include "nt.h"

struct _KINTERRUPT {
    struct _KINTERRUPT *next;
    struct nt_line *line;
    PKSERVICE_ROUTINE routine;
    PVOID context;
    PKSPIN_LOCK lock; /* own_lock or the driver's */
    KSPIN_LOCK own_lock;
    KIRQL synchronize_irql;
    bool shared;
};

void nt_line_changed(void *context, bool asserted)
{
    struct nt_device *device = context;
    struct nt_line *line = device->line;

    /*
     * Relaxed: what the next look at the level, ordered by K, makes of them is as good a moment earlier
     * or later.
     */
    if (NT_UNLIKELY(atomic_load_explicit(&line->masked, memory_order_relaxed) != 0)) {
        atomic_store_explicit(&line->masked, 0, memory_order_relaxed);
    }
    if (asserted) {
        nt_cpu_kick(line->cpu);
    } else {
        atomic_store_explicit(&line->fell, 1, memory_order_relaxed);
    }
}

static bool line_raised(const struct nt_line *line)
{
    uint32_t index;

    if (atomic_load_explicit(&line->masked, memory_order_relaxed) != 0) {
        return false;
    }
    for (index = 0; index < line->device_count; index++) {
        if (aero_sim_device_intx_level(line->devices[index]->device)) {
            return true;
        }
    }
    return false;
}

static bool routine_call(struct nt_cpu *cpu, PKINTERRUPT interrupt)
{
    uint8_t old = cpu->irql;
    uint32_t held;
    bool claimed;

    cpu->irql = interrupt->synchronize_irql;
    nt_lock_enter(cpu, interrupt->lock, interrupt->synchronize_irql, "KSERVICE_ROUTINE");
    held = cpu->held_count;
    claimed = interrupt->routine(interrupt, interrupt->context) != FALSE;
    if (NT_UNLIKELY(cpu->irql != interrupt->synchronize_irql || cpu->held_count != held)) {
        nt_breach(cpu->nt, cpu, "ISR-RETURN", "", "KSERVICE_ROUTINE", cpu->irql,
                  "came back at IRQL %u instead of %u, holding %d spin locks more than before", cpu->irql,
                  interrupt->synchronize_irql, (int)(cpu->held_count - held));
        nt_locks_drop(cpu, held);
    }
    nt_lock_leave(cpu, interrupt->lock, "KSERVICE_ROUTINE");
    cpu->irql = old;
    return claimed;
}

/*
 * A level-triggered line: its routines in the order they were connected, until one claims; again while it
 * is high.
 */
static void line_serve(struct nt_cpu *cpu, struct nt_line *line)
{
    uint32_t in_a_row = 0;

    sim_os_lock_acquire(&line->lock);
    line->serving = true;
    while (line->interrupts != NULL && line_raised(line)) {
        PKINTERRUPT interrupt;
        bool claimed = false;

        atomic_store_explicit(&line->fell, 0, memory_order_relaxed);
        for (interrupt = line->interrupts; interrupt != NULL && !claimed; interrupt = interrupt->next) {
            claimed = routine_call(cpu, interrupt);
        }
        cpu->counters.interrupts++;
        cpu->counters.interrupts_unclaimed += !claimed;
        in_a_row = atomic_load_explicit(&line->fell, memory_order_relaxed) != 0 ? 0 : in_a_row + 1;
        if (NT_UNLIKELY(in_a_row == NT_STORM_INTERRUPTS)) {
            nt_breach(cpu->nt, cpu, "INTERRUPT-STORM", "", "KSERVICE_ROUTINE", line->number,
                      "line %u stayed high through %u interrupts; it is masked until it changes",
                      (unsigned)line->number, in_a_row);
            atomic_store_explicit(&line->masked, 1, memory_order_relaxed);
        }
    }
    line->serving = false;
    sim_os_lock_release(&line->lock);
}

void nt_interrupts_take(struct nt_cpu *cpu)
{
    uint32_t lines = atomic_load_explicit(&cpu->lines, memory_order_acquire);

    cpu->deferred = false;
    while (lines != 0) {
        uint32_t number = 31u - (uint32_t)__builtin_clz(lines); /* the highest IRQL first */
        struct nt_line *line = &cpu->nt->lines[number];

        lines &= ~(UINT32_C(1) << number);
        if (!line_raised(line)) {
            continue;
        }
        /* serving: the driver lowered IRQL inside a service routine, a breach; don't enter it again. */
        if (line->irql <= cpu->irql || line->serving) {
            cpu->deferred = true;
        } else {
            line_serve(cpu, line);
        }
    }
}

static struct nt_line *line_of_vector(struct aero_nt *nt, ULONG vector)
{
    uint32_t number;

    for (number = 0; number < AERO_NT_LINES_MAX; number++) {
        if (nt->lines[number].irql * 16u == vector && nt->lines[number].cpu != NULL) {
            return &nt->lines[number];
        }
    }
    return NULL;
}

static PKINTERRUPT interrupt_allocate(struct aero_nt *nt)
{
    PKINTERRUPT interrupt = NULL;

    sim_os_lock_acquire(&nt->lock);
    if (nt_allocation_begin(nt)) {
        interrupt = calloc(1, sizeof *interrupt);
        nt->live += interrupt != NULL;
    }
    sim_os_lock_release(&nt->lock);
    return interrupt;
}

static void interrupt_free(struct aero_nt *nt, PKINTERRUPT interrupt)
{
    sim_os_lock_acquire(&nt->lock);
    nt->live--;
    sim_os_lock_release(&nt->lock);
    free(interrupt);
}

/* At the end of the line's list, unless one of the two doesn't share. */
static bool line_connect(struct nt_line *line, PKINTERRUPT interrupt)
{
    PKINTERRUPT *link;
    bool refused;

    sim_os_lock_acquire(&line->lock);
    link = &line->interrupts;
    refused = *link != NULL && !(interrupt->shared && (*link)->shared);
    if (!refused) {
        while (*link != NULL) {
            link = &(*link)->next;
        }
        *link = interrupt;
        atomic_fetch_or_explicit(&line->cpu->lines, UINT32_C(1) << line->number, memory_order_release);
    }
    sim_os_lock_release(&line->lock);
    return !refused;
}

static bool line_disconnect(struct nt_line *line, const KINTERRUPT *interrupt)
{
    PKINTERRUPT *link;
    bool found;

    sim_os_lock_acquire(&line->lock);
    link = &line->interrupts;
    while (*link != NULL && *link != interrupt) {
        link = &(*link)->next;
    }
    found = *link != NULL;
    if (found) {
        *link = (*link)->next;
    }
    if (line->interrupts == NULL) {
        atomic_fetch_and_explicit(&line->cpu->lines, ~(UINT32_C(1) << line->number), memory_order_relaxed);
    }
    sim_os_lock_release(&line->lock);
    return found;
}

NTSTATUS NTAPI IoConnectInterrupt(PKINTERRUPT *InterruptObject, PKSERVICE_ROUTINE ServiceRoutine,
                                  PVOID ServiceContext, PKSPIN_LOCK SpinLock, ULONG Vector, KIRQL Irql,
                                  KIRQL SynchronizeIrql, KINTERRUPT_MODE InterruptMode, BOOLEAN ShareVector,
                                  KAFFINITY ProcessorEnableMask, BOOLEAN FloatingSave)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    struct nt_line *line;
    PKINTERRUPT interrupt;

    UNREFERENCED_PARAMETER(FloatingSave);
    *InterruptObject = NULL;
    if (cpu == NULL || !nt_irql_at_most(cpu, PASSIVE_LEVEL, __func__)) {
        return STATUS_INVALID_PARAMETER;
    }
    line = line_of_vector(cpu->nt, Vector);
    if (line == NULL || line->irql != Irql || SynchronizeIrql < Irql || SynchronizeIrql > HIGH_LEVEL ||
        InterruptMode != LevelSensitive || ServiceRoutine == NULL ||
        (ProcessorEnableMask >> line->cpu->number & 1u) == 0) {
        NT_BREACH(cpu, "INTERRUPT-CONNECT", Vector, "vector 0x%x, IRQL %u, mode %d, CPUs 0x%llx fit no line",
                  Vector, Irql, (int)InterruptMode, (unsigned long long)ProcessorEnableMask);
        return STATUS_INVALID_PARAMETER;
    }
    interrupt = interrupt_allocate(cpu->nt);
    if (interrupt == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    interrupt->line = line;
    interrupt->routine = ServiceRoutine;
    interrupt->context = ServiceContext;
    interrupt->lock = SpinLock != NULL ? SpinLock : &interrupt->own_lock;
    interrupt->synchronize_irql = SynchronizeIrql;
    interrupt->shared = ShareVector != FALSE;
    if (!line_connect(line, interrupt)) {
        interrupt_free(cpu->nt, interrupt);
        return STATUS_INVALID_PARAMETER;
    }
    *InterruptObject = interrupt;
    nt_cpu_kick(line->cpu); /* the line may be up already */
    nt_interruption_point(cpu);
    return STATUS_SUCCESS;
}

/* The line that holds the interrupt; without touching an object that may be freed. */
static struct nt_line *line_of_interrupt(struct aero_nt *nt, const KINTERRUPT *interrupt)
{
    uint32_t number;

    for (number = 0; number < AERO_NT_LINES_MAX; number++) {
        struct nt_line *line = &nt->lines[number];
        PKINTERRUPT candidate;

        sim_os_lock_acquire(&line->lock);
        candidate = line->interrupts;
        while (candidate != NULL && candidate != interrupt) {
            candidate = candidate->next;
        }
        sim_os_lock_release(&line->lock);
        if (candidate != NULL) {
            return line;
        }
    }
    return NULL;
}

VOID NTAPI IoDisconnectInterrupt(PKINTERRUPT InterruptObject)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    struct nt_line *line;

    /* At raised IRQL this CPU may be inside the line's lock: refuse. */
    if (cpu == NULL || !nt_irql_at_most(cpu, PASSIVE_LEVEL, __func__)) {
        return;
    }
    line = line_of_interrupt(cpu->nt, InterruptObject);
    if (line == NULL || !line_disconnect(line, InterruptObject)) {
        NT_BREACH(cpu, "INTERRUPT-CONNECT", (uintptr_t)InterruptObject, "%p is no connected interrupt",
                  (void *)InterruptObject);
        return;
    }
    interrupt_free(cpu->nt, InterruptObject);
}

KIRQL NTAPI KeAcquireInterruptSpinLock(PKINTERRUPT Interrupt)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    KIRQL old;

    if (cpu == NULL) {
        return PASSIVE_LEVEL;
    }
    old = cpu->irql;
    if (nt_irql_at_most(cpu, Interrupt->synchronize_irql, __func__)) {
        cpu->irql = Interrupt->synchronize_irql;
    }
    nt_interruption_point(cpu);
    nt_lock_enter(cpu, Interrupt->lock, Interrupt->synchronize_irql, __func__);
    return old;
}

VOID NTAPI KeReleaseInterruptSpinLock(PKINTERRUPT Interrupt, KIRQL OldIrql)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return;
    }
    nt_lock_leave(cpu, Interrupt->lock, __func__);
    nt_irql_lower(cpu, OldIrql, __func__);
}

BOOLEAN NTAPI KeSynchronizeExecution(PKINTERRUPT Interrupt, PKSYNCHRONIZE_ROUTINE SynchronizeRoutine,
                                     PVOID SynchronizeContext)
{
    KIRQL old;
    BOOLEAN answer;

    if (nt_cpu_current(__func__) == NULL) {
        return FALSE;
    }
    old = KeAcquireInterruptSpinLock(Interrupt);
    answer = SynchronizeRoutine(SynchronizeContext);
    KeReleaseInterruptSpinLock(Interrupt, old);
    return answer;
}

void nt_interrupts_judge(struct aero_nt *nt)
{
    uint32_t number;

    for (number = 0; number < AERO_NT_LINES_MAX; number++) {
        struct nt_line *line = &nt->lines[number];

        while (line->interrupts != NULL) {
            PKINTERRUPT interrupt = line->interrupts;

            line->interrupts = interrupt->next;
            nt_breach(nt, NULL, "LEAK-INTERRUPT", "", "IoConnectInterrupt", number,
                      "a service routine is still connected to line %u", (unsigned)number);
            free(interrupt);
        }
    }
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Events and waits. A waiting CPU looks at its pending word and at the event for spin_ns, then its thread
 * sleeps on the pending word; an interrupt or KeSetEvent by another CPU wakes it, it takes interrupts and
 * DPCs and looks again.
 *
 * No wake-up is lost. Against an interrupt there is one word: the sleeper changes it from NT_IDLE to
 * NT_SLEEPING (Z), the waker exchanges it for NT_PENDING (K in nt.h): whoever comes second sees the first.
 * Against KeSetEvent there are two words, as in Dekker's protocol, all sequentially consistent: the sleeper
 * writes waiting_on (W1) and then reads the event (W2), the setter writes the event (S1) and then reads
 * waiting_on (S2): at least one sees the other.
 */
#include "nt.h"

#define NT_ROUNDS_BETWEEN_CLOCKS 64u

static bool event_take(PRKEVENT event)
{
    /* Acquire pairs with S1: what the setter did before is seen after the wait. */
    if (__atomic_load_n(&event->Header.SignalState, __ATOMIC_ACQUIRE) == 0) {
        return false;
    }
    if (event->Header.Type == NotificationEvent) {
        return true;
    }
    return __atomic_exchange_n(&event->Header.SignalState, 0, __ATOMIC_ACQ_REL) != 0;
}

static void cpu_sleep(struct nt_cpu *cpu, PRKEVENT event, uint64_t ns)
{
    uint32_t expected = NT_IDLE;

    atomic_store_explicit(&cpu->waiting_on, (uintptr_t)event, memory_order_seq_cst); /* W1 */
    /* Z */
    if (atomic_compare_exchange_strong_explicit(&cpu->pending, &expected, NT_SLEEPING, memory_order_seq_cst,
                                                memory_order_relaxed)) {
        if (event == NULL || __atomic_load_n(&event->Header.SignalState, __ATOMIC_SEQ_CST) == 0) { /* W2 */
            cpu->counters.sleeps++;
            sim_os_wait(&cpu->pending, NT_SLEEPING, ns);
        }
        /* Awake by itself: back to idle. Woken: the word says NT_PENDING and stays so. */
        expected = NT_SLEEPING;
        atomic_compare_exchange_strong_explicit(&cpu->pending, &expected, NT_IDLE, memory_order_relaxed,
                                                memory_order_relaxed);
    }
    atomic_store_explicit(&cpu->waiting_on, 0, memory_order_relaxed);
}

bool nt_block(struct nt_cpu *cpu, PRKEVENT event, uint64_t ns)
{
    uint32_t spin_ns = cpu->nt->options.spin_ns;
    uint64_t deadline_ns = 0;
    uint64_t spin_end_ns = 0;
    uint32_t rounds = 0;

    for (;;) {
        uint64_t now_ns;

        nt_interruption_point(cpu);
        if (event != NULL && event_take(event)) {
            return true;
        }
        /*
         * The clock costs as much as a cache line's journey: the first look at it comes late, which only
         * lengthens a wait.
         */
        if (spin_ns != 0 && ++rounds % NT_ROUNDS_BETWEEN_CLOCKS != 0) {
            sim_os_pause();
            continue;
        }
        now_ns = sim_os_now_ns();
        if (deadline_ns == 0) {
            deadline_ns = ns < UINT64_MAX - now_ns ? now_ns + ns : UINT64_MAX;
            spin_end_ns = now_ns + spin_ns;
        }
        if (now_ns >= deadline_ns) {
            return false;
        }
        if (now_ns >= spin_end_ns) {
            cpu_sleep(cpu, event, deadline_ns - now_ns);
            spin_end_ns = spin_ns != 0 ? sim_os_now_ns() + spin_ns : 0;
        }
    }
}

VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
    memset(Event, 0, sizeof *Event);
    Event->Header.Type = (UCHAR)Type;
    Event->Header.Size = sizeof *Event / sizeof(LONG);
    __atomic_store_n(&Event->Header.SignalState, State != 0, __ATOMIC_RELEASE);
}

LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    struct nt_cpu *self = nt_cpu_current(__func__);
    LONG old;

    UNREFERENCED_PARAMETER(Increment);
    if (self == NULL) {
        return 0;
    }
    nt_irql_at_most(self, DISPATCH_LEVEL, __func__);
    if (Wait) {
        NT_BREACH(self, "ARGUMENT", Wait, "Wait must be FALSE");
    }
    old = __atomic_exchange_n(&Event->Header.SignalState, 1, __ATOMIC_SEQ_CST); /* S1 */
    if (old == 0 && self->nt->options.cpu_count > 1) {
        uint32_t number;

        for (number = 0; number < self->nt->options.cpu_count; number++) {
            struct nt_cpu *cpu = &self->nt->cpus[number];

            if (cpu != self &&
                atomic_load_explicit(&cpu->waiting_on, memory_order_seq_cst) == (uintptr_t)Event) { /* S2 */
                nt_cpu_kick(cpu);
            }
        }
    }
    nt_interruption_point(self);
    return old;
}

LONG NTAPI KeResetEvent(PRKEVENT Event)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return 0;
    }
    nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
    return __atomic_exchange_n(&Event->Header.SignalState, 0, __ATOMIC_SEQ_CST);
}

VOID NTAPI KeClearEvent(PRKEVENT Event)
{
    KeResetEvent(Event);
}

LONG NTAPI KeReadStateEvent(PRKEVENT Event)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return 0;
    }
    nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
    return __atomic_load_n(&Event->Header.SignalState, __ATOMIC_ACQUIRE);
}

/* May the CPU block? Above APC_LEVEL the scheduler is off; with a lock held, others spin for as long. */
static bool wait_allowed(struct nt_cpu *cpu, const char *function)
{
    bool allowed = nt_irql_at_most(cpu, APC_LEVEL, function);

    if (cpu->held_count != 0) {
        nt_breach(cpu->nt, cpu, "SPINLOCK-HELD", "", function, cpu->held_count, "waits holding %u spin locks",
                  (unsigned)cpu->held_count);
        allowed = false;
    }
    return allowed;
}

NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode,
                                     BOOLEAN Alertable, PLARGE_INTEGER Timeout)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    PRKEVENT event = Object;
    uint64_t ns;

    UNREFERENCED_PARAMETER(WaitReason);
    UNREFERENCED_PARAMETER(WaitMode);
    UNREFERENCED_PARAMETER(Alertable);
    if (cpu == NULL) {
        return STATUS_TIMEOUT;
    }
    if (event->Header.Type > SynchronizationEvent) {
        NT_BREACH(cpu, "ARGUMENT", event->Header.Type, "the object is no initialised KEVENT");
        return STATUS_INVALID_PARAMETER;
    }
    ns = Timeout != NULL ? nt_timeout_ns(cpu->nt, Timeout->QuadPart) : cpu->nt->options.max_wait_ns;
    if (Timeout != NULL && Timeout->QuadPart == 0) {
        nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
        nt_interruption_point(cpu);
        return event_take(event) ? STATUS_SUCCESS : STATUS_TIMEOUT;
    }
    if (!wait_allowed(cpu, __func__)) {
        return event_take(event) ? STATUS_SUCCESS : STATUS_TIMEOUT;
    }
    if (nt_block(cpu, event, ns)) {
        return STATUS_SUCCESS;
    }
    if (Timeout == NULL) {
        NT_BREACH(cpu, "WAIT-FOREVER", (uintptr_t)event,
                  "nobody set the event within the machine's max_wait_ns");
    } else if (cpu->nt->options.clock == AERO_NT_CLOCK_VIRTUAL) {
        nt_clock_advance(cpu->nt, ns);
    }
    return STATUS_TIMEOUT;
}

NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Interval)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    uint64_t ns;

    UNREFERENCED_PARAMETER(WaitMode);
    UNREFERENCED_PARAMETER(Alertable);
    if (cpu == NULL || !wait_allowed(cpu, __func__)) {
        return STATUS_SUCCESS;
    }
    ns = nt_timeout_ns(cpu->nt, Interval->QuadPart);
    cpu->counters.delays++;
    cpu->counters.delayed_ns += ns;
    if (cpu->nt->options.clock == AERO_NT_CLOCK_REAL) {
        nt_block(cpu, NULL, ns);
    } else {
        nt_clock_advance(cpu->nt, ns);
        nt_interruption_point(cpu);
        sim_os_yield();
    }
    nt_interruption_point(cpu);
    return STATUS_SUCCESS;
}

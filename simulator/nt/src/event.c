/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Events, and waits for events and timers. A waiting CPU looks at its count of kicks and at the object for
 * spin_ns, then its thread sleeps on its word `sleeping`, at most until one of its timers is due; an
 * interrupt, or another CPU that signals the object, wakes it. It takes interrupts, timers and DPCs and looks
 * again.
 *
 * No wake-up is lost, by Dekker's protocol twice over: each side writes its own word and then reads the
 * other's, with a full barrier between, so that at least one sees the other. Against an interrupt the sleeper
 * writes `sleeping` and reads `kicks` (Z), the waker adds to `kicks` and reads `sleeping` (K in nt.h).
 * Against KeSetEvent, and a timer that expires on another CPU, the sleeper writes waiting_on (W1) and then
 * reads the signal state (W2), the setter writes the signal state (S1) and then reads waiting_on (S2).
 */
#include "nt.h"

#define NT_ROUNDS_BETWEEN_CLOCKS 64u

/* Of an event or a timer. */
static bool object_take(DISPATCHER_HEADER *object)
{
    /* Acquire pairs with S1: what the setter did before is seen after the wait. */
    if (__atomic_load_n(&object->SignalState, __ATOMIC_ACQUIRE) == 0) {
        return false;
    }
    if (object->Type == NotificationEvent || object->Type == NT_NOTIFICATION_TIMER) {
        return true;
    }
    return __atomic_exchange_n(&object->SignalState, 0, __ATOMIC_ACQ_REL) != 0;
}

static void cpu_sleep(struct nt_cpu *cpu, const DISPATCHER_HEADER *object, uint64_t ns)
{
    atomic_store_explicit(&cpu->waiting_on, (uintptr_t)object, memory_order_seq_cst); /* W1 */
    atomic_store_explicit(&cpu->sleeping, 1, memory_order_seq_cst);
    sim_os_full_barrier(); /* Z */
    if (atomic_load_explicit(&cpu->kicks, memory_order_seq_cst) == cpu->kicks_seen &&
        (object == NULL || __atomic_load_n(&object->SignalState, __ATOMIC_SEQ_CST) == 0)) { /* W2 */
        cpu->counters.sleeps++;
        sim_os_wait(&cpu->sleeping, 1, ns);
    }
    atomic_store_explicit(&cpu->sleeping, 0, memory_order_relaxed);
    atomic_store_explicit(&cpu->waiting_on, 0, memory_order_relaxed);
}

/* A wait under way; times are the host's. */
struct block {
    uint64_t ns;
    uint64_t began_ns; /* 0: the clock has not been looked at */
    uint64_t deadline_ns;
    uint64_t spin_end_ns;
    uint64_t passed_ns; /* of the wait, on the virtual clock */
};

static void block_begin(struct nt_cpu *cpu, struct block *block, uint64_t now_ns)
{
    block->began_ns = now_ns;
    block->deadline_ns = block->ns < UINT64_MAX - now_ns ? now_ns + block->ns : UINT64_MAX;
    block->spin_end_ns = now_ns + cpu->nt->options.spin_ns;
}

/*
 * How long the CPU may sleep until one of its timers is due; 0: one was, and has expired. Who ends a wait may
 * be another thread, which needs the host's time: so the virtual clock follows that, a timer at a time.
 */
static uint64_t block_timers(struct nt_cpu *cpu, struct block *block, uint64_t now_ns)
{
    uint64_t left = nt_timers_left_ns(cpu);
    uint64_t unpassed = now_ns < block->deadline_ns ? now_ns - block->began_ns : block->ns;

    if (cpu->nt->options.clock == AERO_NT_CLOCK_REAL) {
        if (left == 0) {
            nt_interruption_point(cpu);
        }
        return left;
    }
    unpassed -= block->passed_ns;
    if (left > unpassed) {
        return left - unpassed;
    }
    nt_clock_pass(cpu, left);
    block->passed_ns += left;
    return 0;
}

/*
 * Until the object is taken (true) or ns have passed since the call (false), which the virtual clock then has
 * too. object NULL: only the latter.
 */
static bool cpu_block(struct nt_cpu *cpu, DISPATCHER_HEADER *object, uint64_t ns)
{
    uint32_t spin_ns = cpu->nt->options.spin_ns;
    struct block block = {.ns = ns};
    uint32_t rounds = 0;

    for (;;) {
        uint64_t now_ns, quiet_ns;

        nt_interruption_point_often(cpu);
        if (object != NULL && object_take(object)) {
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
        if (block.began_ns == 0) {
            block_begin(cpu, &block, now_ns);
        }
        quiet_ns = block_timers(cpu, &block, now_ns);
        if (quiet_ns == 0) {
            continue;
        }
        if (now_ns >= block.deadline_ns) {
            break;
        }
        if (now_ns >= block.spin_end_ns) {
            uint64_t left_ns = block.deadline_ns - now_ns;

            cpu_sleep(cpu, object, left_ns < quiet_ns ? left_ns : quiet_ns);
            block.spin_end_ns = spin_ns != 0 ? sim_os_now_ns() + spin_ns : 0;
        }
    }
    if (cpu->nt->options.clock == AERO_NT_CLOCK_VIRTUAL) {
        nt_clock_pass(cpu, ns - block.passed_ns);
    }
    return false;
}

/*
 * A wait for a timer that is set is a delay until it is due, so the virtual clock moves as in a delay.
 * Answers by how much: at most ns, and less where the timer is cancelled on the way or is another CPU's to
 * expire.
 */
static uint64_t timer_await(struct nt_cpu *cpu, DISPATCHER_HEADER *timer, uint64_t ns)
{
    uint64_t passed = 0;
    uint64_t step;

    do {
        uint64_t left = nt_timer_left_ns(cpu->nt, timer);

        if (left == UINT64_MAX || __atomic_load_n(&timer->SignalState, __ATOMIC_ACQUIRE) != 0) {
            break;
        }
        step = left < ns - passed ? left : ns - passed;
        nt_clock_pass(cpu, step);
        passed += step;
    } while (step != 0);
    return passed;
}

void nt_waiters_kick(struct nt_cpu *self, const void *object)
{
    uint32_t number;

    for (number = 0; number < self->nt->options.cpu_count; number++) {
        struct nt_cpu *cpu = &self->nt->cpus[number];

        if (cpu != self &&
            atomic_load_explicit(&cpu->waiting_on, memory_order_seq_cst) == (uintptr_t)object) { /* S2 */
            nt_cpu_kick(cpu);
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
    if (old == 0) {
        nt_waiters_kick(self, Event);
    }
    nt_interruption_point_often(self);
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
    DISPATCHER_HEADER *object = Object;
    uint64_t passed_ns = 0;
    uint64_t ns;

    UNREFERENCED_PARAMETER(WaitReason);
    UNREFERENCED_PARAMETER(WaitMode);
    UNREFERENCED_PARAMETER(Alertable);
    if (cpu == NULL) {
        return STATUS_TIMEOUT;
    }
    if (object->Type > SynchronizationEvent && object->Type != NT_NOTIFICATION_TIMER &&
        object->Type != NT_SYNCHRONIZATION_TIMER) {
        NT_BREACH(cpu, "ARGUMENT", object->Type, "the object is no initialised KEVENT or KTIMER");
        return STATUS_INVALID_PARAMETER;
    }
    ns = Timeout != NULL ? nt_timeout_ns(cpu->nt, Timeout->QuadPart) : cpu->nt->options.max_wait_ns;
    if (Timeout != NULL && Timeout->QuadPart == 0) {
        nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
        nt_interruption_point(cpu);
        return object_take(object) ? STATUS_SUCCESS : STATUS_TIMEOUT;
    }
    if (!wait_allowed(cpu, __func__)) {
        return object_take(object) ? STATUS_SUCCESS : STATUS_TIMEOUT;
    }
    if (cpu->nt->options.clock == AERO_NT_CLOCK_VIRTUAL) {
        passed_ns = timer_await(cpu, object, Timeout != NULL ? ns : UINT64_MAX);
    }
    if (cpu_block(cpu, object, Timeout != NULL ? ns - passed_ns : ns)) {
        return STATUS_SUCCESS;
    }
    if (Timeout == NULL) {
        NT_BREACH(cpu, "WAIT-FOREVER", (uintptr_t)object,
                  "nobody signalled the object within the machine's max_wait_ns");
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
        cpu_block(cpu, NULL, ns);
    } else {
        nt_clock_pass(cpu, ns);
        sim_os_yield();
    }
    nt_interruption_point(cpu);
    return STATUS_SUCCESS;
}

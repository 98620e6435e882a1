/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Kernel timers. What is set stands in the machine's own table, under the machine's lock: nothing that the
 * driver can free or overwrite says when a timer is due. A timer expires on the CPU that set it, at an
 * interruption point below DISPATCH_LEVEL, as Windows does it by a DPC of its own: it is signalled, its DPC
 * is queued to that CPU, and a periodic one is due again.
 *
 * Expiring and cancelling exclude each other by the lock, and the DPC is queued under it: who cancels, and
 * hears that the timer wasn't set, finds the DPC queued, running or done, so that a flush waits for it.
 */
#include "nt.h"

#define NT_NS_PER_MS        1000000u
#define NT_POINTS_PER_CLOCK 32u

/* With the lock held. */
static uint64_t clock_now_ns(const struct aero_nt *nt)
{
    return nt->options.clock == AERO_NT_CLOCK_REAL ? sim_os_now_ns() - nt->began_ns : nt->virtual_ns;
}

/* The timer's place, or timer_count. With the lock held, as the next four. */
static uint32_t timer_find(const struct aero_nt *nt, const void *timer)
{
    uint32_t index = 0;

    while (index < nt->timer_count && nt->timers[index].timer != timer) {
        index++;
    }
    return index;
}

static bool timer_remove(struct aero_nt *nt, const KTIMER *timer)
{
    uint32_t index = timer_find(nt, timer);

    if (index == nt->timer_count) {
        return false;
    }
    nt->timer_count--;
    /* Moved down one by one: of timers due at the same time the one that was set first expires first. */
    for (; index < nt->timer_count; index++) {
        nt->timers[index] = nt->timers[index + 1];
    }
    return true;
}

/* The CPU's timer that is due first, or NULL. */
static struct nt_timer *timer_first(struct aero_nt *nt, const struct nt_cpu *cpu)
{
    struct nt_timer *first = NULL;
    uint32_t index;

    for (index = 0; index < nt->timer_count; index++) {
        struct nt_timer *set = &nt->timers[index];

        if (set->cpu == cpu && (first == NULL || set->due_ns < first->due_ns)) {
            first = set;
        }
    }
    return first;
}

static void timer_fire(struct nt_timer *set, uint64_t now_ns)
{
    struct nt_timer fired = *set;
    struct aero_nt *nt = fired.cpu->nt;

    if (fired.period_ns != 0) {
        /* In step with its due time; periods that went by unseen are one. */
        set->due_ns += ((now_ns - fired.due_ns) / fired.period_ns + 1) * fired.period_ns;
    } else {
        timer_remove(nt, fired.timer);
    }
    if (fired.dpc != NULL) {
        nt_dpc_queue(fired.cpu, fired.dpc, NULL, NULL);
    }
    /* Last, for a waiter may free the timer once it sees this. Pairs with W2 in event.c, as S1 does. */
    if (__atomic_exchange_n(&fired.timer->Header.SignalState, 1, __ATOMIC_SEQ_CST) == 0) {
        nt_waiters_kick(fired.cpu, fired.timer);
    }
}

/* What the CPU looks at before it takes the lock. */
static void timers_note(struct nt_cpu *cpu)
{
    const struct nt_timer *first = timer_first(cpu->nt, cpu);

    cpu->timer_due_ns = first != NULL ? first->due_ns : UINT64_MAX;
    cpu->watched =
        (uint8_t)(first != NULL ? cpu->watched | NT_WATCH_TIMERS : cpu->watched & ~NT_WATCH_TIMERS);
}

static void timers_expire(struct nt_cpu *cpu)
{
    struct aero_nt *nt = cpu->nt;
    struct nt_timer *first;
    uint64_t now_ns;

    cpu->timer_rest = NT_POINTS_PER_CLOCK;
    /* Another CPU may have cancelled what was due first, which makes this a look too early. */
    if (nt->options.clock == AERO_NT_CLOCK_REAL && sim_os_now_ns() - nt->began_ns < cpu->timer_due_ns) {
        return;
    }
    sim_os_lock_acquire(&nt->lock);
    now_ns = clock_now_ns(nt);
    while ((first = timer_first(nt, cpu)) != NULL && first->due_ns <= now_ns) {
        timer_fire(first, now_ns);
    }
    timers_note(cpu);
    sim_os_lock_release(&nt->lock);
}

/*
 * Is it time to look? Reading the real clock costs as much as a cache line's journey: rare enough that it
 * doesn't show beside register accesses and interrupts, often enough for any timer.
 */
static bool timers_rest(struct nt_cpu *cpu)
{
    if (cpu->nt->options.clock != AERO_NT_CLOCK_REAL || cpu->timer_rest == 0) {
        return false;
    }
    cpu->timer_rest--;
    return true;
}

void nt_timers_look(struct nt_cpu *cpu)
{
    if (!timers_rest(cpu)) {
        timers_expire(cpu);
    }
}

void nt_timers_glance(struct nt_cpu *cpu)
{
    if (cpu->irql < DISPATCH_LEVEL && !timers_rest(cpu)) {
        nt_service(cpu);
    }
}

static uint64_t left_ns(uint64_t due_ns, uint64_t now_ns)
{
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

uint64_t nt_timers_left_ns(struct nt_cpu *cpu)
{
    const struct nt_timer *first;
    uint64_t left = UINT64_MAX;

    if ((cpu->watched & NT_WATCH_TIMERS) == 0) {
        return UINT64_MAX;
    }
    sim_os_lock_acquire(&cpu->nt->lock);
    first = timer_first(cpu->nt, cpu);
    if (first != NULL) {
        left = left_ns(first->due_ns, clock_now_ns(cpu->nt));
    }
    sim_os_lock_release(&cpu->nt->lock);
    return left;
}

uint64_t nt_timer_left_ns(struct aero_nt *nt, const void *object)
{
    uint64_t left = UINT64_MAX;
    uint32_t index;

    sim_os_lock_acquire(&nt->lock);
    index = timer_find(nt, object);
    if (index < nt->timer_count) {
        left = left_ns(nt->timers[index].due_ns, clock_now_ns(nt));
    }
    sim_os_lock_release(&nt->lock);
    return left;
}

uint32_t nt_timers_due_cpus(const struct aero_nt *nt)
{
    uint32_t cpus = 0;
    uint32_t index;

    for (index = 0; index < nt->timer_count; index++) {
        if (nt->timers[index].due_ns <= nt->virtual_ns) {
            cpus |= UINT32_C(1) << nt->timers[index].cpu->number;
        }
    }
    return cpus;
}

/* ---- What drivers call ---- */

VOID NTAPI KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type)
{
    struct nt_cpu *cpu = sim_os_tls_get();

    if (cpu != NULL && nt_timer_left_ns(cpu->nt, Timer) != UINT64_MAX) {
        NT_BREACH(cpu, "ARGUMENT", (uintptr_t)Timer, "timer %p is set: cancel it first", (void *)Timer);
        return;
    }
    memset(Timer, 0, sizeof *Timer);
    /* A type that there isn't makes a timer that the first use reports. */
    Timer->Header.Type = (UCHAR)(Type <= SynchronizationTimer ? NT_NOTIFICATION_TIMER + Type : MAXUCHAR);
    Timer->Header.Size = sizeof *Timer / sizeof(LONG);
}

VOID NTAPI KeInitializeTimer(PKTIMER Timer)
{
    KeInitializeTimerEx(Timer, NotificationTimer);
}

/* The CPU, where the call is one that can be served. */
static struct nt_cpu *timer_cpu(const KTIMER *timer, const char *function)
{
    struct nt_cpu *cpu = nt_cpu_current(function);

    if (cpu == NULL) {
        return NULL;
    }
    nt_irql_at_most(cpu, DISPATCH_LEVEL, function);
    if (timer->Header.Type != NT_NOTIFICATION_TIMER && timer->Header.Type != NT_SYNCHRONIZATION_TIMER) {
        nt_breach(cpu->nt, cpu, "ARGUMENT", "", function, timer->Header.Type,
                  "the object is no initialised KTIMER");
        return NULL;
    }
    return cpu;
}

/* Takes the timer out and, where there is room, in again; true where it was set. With the lock held. */
static bool timer_set(const struct nt_timer *wanted, uint64_t left, bool *full_out)
{
    struct nt_cpu *cpu = wanted->cpu;
    struct aero_nt *nt = cpu->nt;
    bool was_set = timer_remove(nt, wanted->timer);
    uint64_t now_ns = clock_now_ns(nt);

    __atomic_store_n(&wanted->timer->Header.SignalState, 0, __ATOMIC_SEQ_CST);
    *full_out = nt->timer_count == AERO_NT_TIMERS_MAX;
    if (!*full_out) {
        struct nt_timer *set = &nt->timers[nt->timer_count++];

        *set = *wanted;
        set->due_ns = left < UINT64_MAX - now_ns ? now_ns + left : UINT64_MAX;
        if (left == 0) {
            timer_fire(set, now_ns); /* at DISPATCH_LEVEL too: it is signalled when the call returns */
        }
    }
    timers_note(cpu);
    return was_set;
}

static BOOLEAN set_timer(PKTIMER timer, LARGE_INTEGER due_time, LONG period, PRKDPC dpc, const char *function)
{
    struct nt_cpu *cpu = timer_cpu(timer, function);
    struct nt_timer wanted = {0};
    bool full, was_set;
    uint64_t left;

    if (cpu == NULL) {
        return FALSE;
    }
    if (period < 0) {
        nt_breach(cpu->nt, cpu, "ARGUMENT", "", function, (uint64_t)(int64_t)period,
                  "a period of %d ms; the timer expires once", period);
        period = 0;
    }
    if (dpc != NULL && dpc->DeferredRoutine == NULL) {
        nt_breach(cpu->nt, cpu, "ARGUMENT", "", function, 0, "the DPC has no routine: initialised?");
        dpc = NULL;
    }
    wanted.timer = timer;
    wanted.cpu = cpu;
    wanted.dpc = dpc;
    wanted.period_ns = (uint64_t)period * NT_NS_PER_MS;
    left = nt_timeout_ns(cpu->nt, due_time.QuadPart);
    sim_os_lock_acquire(&cpu->nt->lock);
    was_set = timer_set(&wanted, left, &full);
    sim_os_lock_release(&cpu->nt->lock);
    if (full) {
        nt_breach(cpu->nt, cpu, "TIMER-LIMIT", "", function, AERO_NT_TIMERS_MAX,
                  "more than %u timers set at a time; this one isn't", AERO_NT_TIMERS_MAX);
    }
    nt_service(cpu);
    return was_set;
}

BOOLEAN NTAPI KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PRKDPC Dpc)
{
    return set_timer(Timer, DueTime, Period, Dpc, __func__);
}

BOOLEAN NTAPI KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PRKDPC Dpc)
{
    return set_timer(Timer, DueTime, 0, Dpc, __func__);
}

BOOLEAN NTAPI KeCancelTimer(PKTIMER Timer)
{
    struct nt_cpu *cpu = timer_cpu(Timer, __func__);
    bool was_set;

    if (cpu == NULL) {
        return FALSE;
    }
    sim_os_lock_acquire(&cpu->nt->lock);
    was_set = timer_remove(cpu->nt, Timer);
    timers_note(cpu); /* so that the clock isn't looked at any more for a timer that nobody waits for */
    sim_os_lock_release(&cpu->nt->lock);
    return was_set;
}

BOOLEAN NTAPI KeReadStateTimer(PKTIMER Timer)
{
    struct nt_cpu *cpu = timer_cpu(Timer, __func__);

    if (cpu == NULL) {
        return FALSE;
    }
    nt_interruption_point(cpu);
    return __atomic_load_n(&Timer->Header.SignalState, __ATOMIC_ACQUIRE) != 0;
}

void nt_timers_judge(struct aero_nt *nt)
{
    uint32_t index;

    /* By address alone: the memory may be gone. */
    for (index = 0; index < nt->timer_count; index++) {
        nt_breach(nt, nt->timers[index].cpu, "LEAK-TIMER", "", "KeSetTimer",
                  (uintptr_t)nt->timers[index].timer, "timer %p is still set%s",
                  (void *)nt->timers[index].timer, nt->timers[index].period_ns != 0 ? ", and periodic" : "");
    }
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Spin locks: a KSPIN_LOCK word holds a tag of the virtual CPU that owns it, and each CPU lists the locks
 * that it holds. A CPU that spins takes device interrupts meanwhile, as far as its IRQL lets it. Waiting is
 * bounded.
 */
#include "nt.h"

#define NT_SPINS_BEFORE_YIELD 256u

static KSPIN_LOCK lock_tag(const struct nt_cpu *cpu)
{
    return (KSPIN_LOCK)(uintptr_t)cpu | 1u;
}

static bool lock_tag_known(const struct aero_nt *nt, KSPIN_LOCK tag)
{
    uint32_t number;

    for (number = 0; number < nt->options.cpu_count; number++) {
        if (lock_tag(&nt->cpus[number]) == tag) {
            return true;
        }
    }
    return false;
}

static bool lock_try(PKSPIN_LOCK lock, KSPIN_LOCK from, KSPIN_LOCK to)
{
    /* L: pairs with the release in lock_free. */
    return __atomic_compare_exchange_n(lock, &from, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void lock_free(PKSPIN_LOCK lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE); /* pairs with L */
}

static int held_find(const struct nt_cpu *cpu, const KSPIN_LOCK *lock)
{
    int index = (int)cpu->held_count - 1;

    while (index >= 0 && cpu->held[index].lock != lock) {
        index--;
    }
    return index;
}

/* The lock wasn't free. true: it is ours now. */
static __attribute__((noinline)) bool lock_contend(struct nt_cpu *cpu, PKSPIN_LOCK lock, const char *function)
{
    KSPIN_LOCK tag = lock_tag(cpu);
    uint64_t deadline_ns = 0;
    uint32_t spins = 0;

    if (held_find(cpu, lock) >= 0) {
        nt_breach(cpu->nt, cpu, "SPINLOCK-RECURSIVE", "", function, (uintptr_t)lock,
                  "spin lock %p is held by this CPU already: a kernel would hang here", (void *)lock);
        return false;
    }
    for (;;) {
        KSPIN_LOCK owner = __atomic_load_n(lock, __ATOMIC_RELAXED);

        if (owner != 0 && (owner == tag || !lock_tag_known(cpu->nt, owner))) {
            nt_breach(cpu->nt, cpu, "SPINLOCK-CORRUPT", "", function, owner,
                      "spin lock %p holds 0x%llx, which names no owner: initialised?", (void *)lock,
                      (unsigned long long)owner);
        } else if (owner != 0) {
            owner = 0;
            nt_interruption_point_often(cpu);
            sim_os_pause();
            if (++spins % NT_SPINS_BEFORE_YIELD != 0) {
                continue;
            }
            if (deadline_ns == 0) {
                deadline_ns = sim_os_now_ns() + cpu->nt->options.lock_timeout_ns;
            } else if (sim_os_now_ns() >= deadline_ns) {
                nt_breach(cpu->nt, cpu, "SPINLOCK-TIMEOUT", "", function, (uintptr_t)lock,
                          "spin lock %p not obtained in time; going on without it", (void *)lock);
                return false;
            }
            sim_os_yield();
            continue;
        }
        if (lock_try(lock, owner, tag)) {
            return true;
        }
    }
}

void nt_lock_enter(struct nt_cpu *cpu, PKSPIN_LOCK lock, uint8_t irql, const char *function)
{
    struct nt_held *held;
    bool owned = lock_try(lock, 0, lock_tag(cpu));

    if (NT_UNLIKELY(!owned)) {
        owned = lock_contend(cpu, lock, function);
    }
    if (NT_UNLIKELY(cpu->held_count == NT_LOCKS_HELD_MAX)) {
        nt_breach(cpu->nt, cpu, "SPINLOCK-HELD", "", function, cpu->held_count,
                  "more than %u spin locks at a time", NT_LOCKS_HELD_MAX);
        if (owned) {
            lock_free(lock);
        }
        return;
    }
    held = &cpu->held[cpu->held_count++];
    held->lock = lock;
    held->irql = irql;
    held->owned = owned;
}

void nt_lock_leave(struct nt_cpu *cpu, PKSPIN_LOCK lock, const char *function)
{
    int index = held_find(cpu, lock);
    bool owned;

    if (NT_UNLIKELY(index < 0)) {
        nt_breach(cpu->nt, cpu, "SPINLOCK-OWNER", "", function, (uintptr_t)lock,
                  "spin lock %p is released by a CPU that doesn't hold it", (void *)lock);
        return;
    }
    owned = cpu->held[index].owned;
    cpu->held_count--;
    for (; index < (int)cpu->held_count; index++) {
        cpu->held[index] = cpu->held[index + 1];
    }
    if (owned) {
        lock_free(lock);
    }
}

void nt_locks_drop(struct nt_cpu *cpu, uint32_t count)
{
    while (cpu->held_count > count) {
        cpu->held_count--;
        if (cpu->held[cpu->held_count].owned) {
            lock_free(cpu->held[cpu->held_count].lock);
        }
    }
}

uint8_t nt_locks_irql(const struct nt_cpu *cpu)
{
    uint8_t irql = 0;
    uint32_t index;

    for (index = 0; index < cpu->held_count; index++) {
        if (cpu->held[index].irql > irql) {
            irql = cpu->held[index].irql;
        }
    }
    return irql;
}

VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
    lock_free(SpinLock);
}

VOID NTAPI KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    *OldIrql = PASSIVE_LEVEL;
    if (cpu == NULL) {
        return;
    }
    *OldIrql = cpu->irql;
    if (NT_LIKELY(nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__))) {
        cpu->irql = DISPATCH_LEVEL;
    }
    nt_interruption_point_often(cpu);
    nt_lock_enter(cpu, SpinLock, DISPATCH_LEVEL, __func__);
}

VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return;
    }
    if (NT_UNLIKELY(cpu->irql != DISPATCH_LEVEL)) {
        NT_BREACH(cpu, "IRQL", cpu->irql, "called at IRQL %u; a spin lock is held at %u", cpu->irql,
                  DISPATCH_LEVEL);
    }
    nt_lock_leave(cpu, SpinLock, __func__);
    nt_irql_lower(cpu, NewIrql, __func__);
}

VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return;
    }
    if (NT_UNLIKELY(cpu->irql != DISPATCH_LEVEL)) {
        NT_BREACH(cpu, "IRQL", cpu->irql, "called at IRQL %u; it must be %u", cpu->irql, DISPATCH_LEVEL);
    }
    nt_interruption_point_often(cpu);
    nt_lock_enter(cpu, SpinLock, DISPATCH_LEVEL, __func__);
}

VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu == NULL) {
        return;
    }
    if (NT_UNLIKELY(cpu->irql != DISPATCH_LEVEL)) {
        NT_BREACH(cpu, "IRQL", cpu->irql, "called at IRQL %u; it must be %u", cpu->irql, DISPATCH_LEVEL);
    }
    nt_lock_leave(cpu, SpinLock, __func__);
    nt_interruption_point_often(cpu);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The record of broken rules: kept, counted, handed to the callback or printed. Runs on the thread that broke
 * the rule, at whatever IRQL it is; never leaves by longjmp, never aborts, and stops a debugger on request.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nt.h"

static _Atomic uint32_t nt_strays;
static _Atomic bool nt_breaks; /* see aero_nt_break_on_breach */

static void breach_print(const struct aero_nt_breach *breach)
{
    if (breach->cpu == UINT32_MAX) {
        fprintf(stderr, "nt: %s: %s: %s\n", breach->rule, breach->function, breach->text);
    } else {
        fprintf(stderr, "nt: %s: cpu %u: %s: %s\n", breach->rule, (unsigned)breach->cpu, breach->function,
                breach->text);
    }
}

static void breach_keep(struct aero_nt *nt, const struct aero_nt_breach *breach)
{
    uint32_t count;

    sim_os_lock_acquire(&nt->breach_lock);
    count = atomic_load_explicit(&nt->breach_count, memory_order_relaxed);
    if (count < AERO_NT_BREACHES_KEPT) {
        nt->breaches[count] = *breach;
    }
    /* B1: pairs with B2, so that whoever sees the count sees the record. */
    atomic_store_explicit(&nt->breach_count, count + 1, memory_order_release);
    sim_os_lock_release(&nt->breach_lock);
}

void nt_breach(struct aero_nt *nt, struct nt_cpu *cpu, const char *rule, const char *clause,
               const char *function, uint64_t value, const char *format, ...)
{
    bool breaks = atomic_load_explicit(&nt_breaks, memory_order_relaxed);
    struct aero_nt_breach breach;
    va_list arguments;

    memset(&breach, 0, sizeof breach);
    breach.rule = rule;
    breach.clause = clause;
    breach.function = function;
    breach.value = value;
    breach.cpu = cpu != NULL ? cpu->number : UINT32_MAX;
    va_start(arguments, format);
    vsnprintf(breach.text, sizeof breach.text, format, arguments);
    va_end(arguments);

    breach_keep(nt, &breach);
    if (breaks || (nt->options.breach == NULL && !nt->options.quiet)) {
        breach_print(&breach);
    }
    if (breaks) {
        sim_os_debug_break(); /* the culprit is a few frames up */
    }
    if (nt->options.breach != NULL) {
        nt->options.breach(nt->options.breach_context, &breach);
    }
}

void nt_stray(const char *function)
{
    if (atomic_fetch_add(&nt_strays, 1) < AERO_NT_BREACHES_KEPT) {
        fprintf(stderr, "nt: NO-CPU: %s: the calling thread is no virtual CPU\n", function);
    }
    if (atomic_load_explicit(&nt_breaks, memory_order_relaxed)) {
        sim_os_debug_break();
    }
}

bool nt_irql_at_most(struct nt_cpu *cpu, uint8_t irql, const char *function)
{
    if (NT_LIKELY(cpu->irql <= irql)) {
        return true;
    }
    nt_breach(cpu->nt, cpu, "IRQL", "", function, cpu->irql, "called at IRQL %u, allowed up to %u", cpu->irql,
              irql);
    return false;
}

void aero_nt_break_on_breach(bool on)
{
    atomic_store_explicit(&nt_breaks, on, memory_order_relaxed);
}

uint32_t aero_nt_stray_count(void)
{
    return atomic_load(&nt_strays);
}

uint32_t aero_nt_breach_count(const struct aero_nt *nt)
{
    return atomic_load_explicit(&nt->breach_count, memory_order_acquire); /* B2 */
}

const struct aero_nt_breach *aero_nt_breach_at(const struct aero_nt *nt, uint32_t index)
{
    if (index >= AERO_NT_BREACHES_KEPT || index >= aero_nt_breach_count(nt)) {
        return NULL;
    }
    return &nt->breaches[index];
}

void aero_nt_breach_forget(struct aero_nt *nt)
{
    atomic_store(&nt->breach_count, 0);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The scene of an end-to-end test: see nt_rig.h. */
#include "nt_rig.h"

#include <string.h>

#define RAM_BYTES      (UINT64_C(4) << 20)
#define CPU_WAIT_100NS 10000000 /* 1 s: how long CPU 1 waits for a request at a time */

#if defined(SIM_TSAN)
#define SCALE_DIVISOR 5u
#elif defined(__SANITIZE_ADDRESS__) || defined(_WIN32)
#define SCALE_DIVISOR 4u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCALE_DIVISOR 4u
#endif
#endif
#ifndef SCALE_DIVISOR
#define SCALE_DIVISOR 1u
#endif

struct nt_rig_options nt_rig_options_default(void)
{
    return (struct nt_rig_options){.cpus = 1, .cpu_spin_ns = 50000, .worker_spin_ns = 50000};
}

bool nt_rig_create(struct nt_rig *rig, const struct nt_rig_options *options)
{
    struct nt_rig_options chosen = options ? *options : nt_rig_options_default();
    struct aero_sim_worker_options worker = {.spin_ns = chosen.worker_spin_ns, .cpu = -1};
    struct aero_nt_options nt = aero_nt_options_default();

    memset(rig, 0, sizeof *rig);
    nt.cpu_count = chosen.cpus;
    nt.spin_ns = chosen.cpu_spin_ns;
    nt.clock = chosen.virtual_clock ? AERO_NT_CLOCK_VIRTUAL : AERO_NT_CLOCK_REAL;
    nt.ram_low_bytes = nt.ram_high_bytes = RAM_BYTES;
    nt.referee = !chosen.no_referee;
    nt.quiet = chosen.quiet;
    return aero_nt_create(&nt, &rig->nt) == AERO_SIM_OK &&
           aero_sim_worker_create(&worker, &rig->worker) == AERO_SIM_OK;
}

static void device_breach(void *context, const struct aero_sim_breach *breach)
{
    struct nt_rig *rig = context;

    atomic_store(&rig->device_clause, breach->clause);
    atomic_fetch_add(&rig->device_breaches, 1);
}

bool nt_rig_add(struct nt_rig *rig, const struct aero_sim_model *model,
                const struct aero_nt_attach_options *attach)
{
    struct nt_rig_device *at = &rig->devices[rig->device_count];
    struct aero_nt_device_info info;

    if (rig->device_count == NT_RIG_DEVICES_MAX ||
        aero_sim_device_create(model, aero_nt_memory(rig->nt), rig->worker, &at->device))
        return false;
    rig->device_count++;
    if (aero_sim_device_set_breach(at->device, device_breach, rig) ||
        aero_nt_attach(rig->nt, at->device, attach, &info))
        return false;
    at->attached = true;
    at->resources.Bar0.QuadPart = (LONGLONG)info.bar0_gpa;
    at->resources.Bar0Length = info.bar0_bytes;
    at->resources.Vector = info.interrupt_vector;
    at->resources.Irql = (KIRQL)info.interrupt_irql;
    at->resources.Affinity = (KAFFINITY)info.interrupt_affinity;
    return true;
}

bool nt_rig_power_on(struct nt_rig *rig)
{
    for (uint32_t i = 0; i < rig->device_count; i++) {
        struct nt_rig_device *at = &rig->devices[i];

        if (aero_sim_device_start(at->device))
            return false;
        at->started = true;
        if (aero_nt_enable(rig->nt, at->device))
            return false;
    }
    rig->entered = aero_nt_cpu_enter(rig->nt, 0);
    return rig->entered;
}

void nt_rig_unplug(struct nt_rig *rig)
{
    for (uint32_t i = 0; i < rig->device_count; i++) {
        if (rig->devices[i].started)
            aero_sim_device_stop(rig->devices[i].device);
        rig->devices[i].started = false;
    }
}

uint32_t nt_rig_destroy(struct nt_rig *rig)
{
    uint32_t breaches;

    if (rig->entered)
        aero_nt_cpu_leave(rig->nt);
    nt_rig_unplug(rig);
    for (uint32_t i = 0; i < rig->device_count; i++) {
        if (rig->devices[i].attached)
            aero_nt_detach(rig->nt, rig->devices[i].device);
        aero_sim_device_destroy(rig->devices[i].device);
    }
    aero_sim_worker_destroy(rig->worker);
    breaches = aero_nt_destroy(rig->nt);
    memset(rig, 0, sizeof *rig);
    return breaches;
}

void *nt_rig_at(const struct nt_rig *rig, uint64_t gpa, uint64_t bytes)
{
    return aero_sim_memory_at(aero_nt_memory(rig->nt), gpa, bytes);
}

struct aero_sim_counters nt_rig_counters(const struct nt_rig *rig, uint32_t device)
{
    struct aero_sim_counters counters;

    aero_sim_device_counters(rig->devices[device].device, &counters);
    return counters;
}

/* ---- A second virtual CPU ---- */

static void cpu_run(void *context)
{
    struct nt_rig_cpu *cpu = context;
    LARGE_INTEGER timeout;

    if (!aero_nt_cpu_enter(cpu->rig->nt, 1)) {
        atomic_store(&cpu->entered, 2);
        sim_os_wake_all(&cpu->entered);
        return;
    }
    atomic_store(&cpu->entered, 1);
    sim_os_wake_all(&cpu->entered);
    timeout.QuadPart = -(LONGLONG)CPU_WAIT_100NS;
    while (!atomic_load(&cpu->stop)) {
        NTSTATUS status = KeWaitForSingleObject(&cpu->request, Executive, KernelMode, FALSE, &timeout);

        if (status == STATUS_SUCCESS && cpu->work && !atomic_load(&cpu->stop))
            cpu->work(cpu->context);
    }
    aero_nt_cpu_leave(cpu->rig->nt);
}

bool nt_rig_cpu_start(struct nt_rig_cpu *cpu, struct nt_rig *rig, void (*work)(void *context), void *context)
{
    memset(cpu, 0, sizeof *cpu);
    cpu->rig = rig;
    cpu->work = work;
    cpu->context = context;
    KeInitializeEvent(&cpu->request, SynchronizationEvent, FALSE);
    cpu->thread = sim_os_thread_start(cpu_run, cpu, -1);
    if (!cpu->thread)
        return false;
    while (atomic_load(&cpu->entered) == 0)
        sim_os_wait(&cpu->entered, 0, UINT64_MAX);
    return atomic_load(&cpu->entered) == 1;
}

void nt_rig_cpu_stop(struct nt_rig_cpu *cpu)
{
    if (!cpu->thread)
        return;
    atomic_store(&cpu->stop, 1);
    KeSetEvent(&cpu->request, IO_NO_INCREMENT, FALSE);
    sim_os_thread_join(cpu->thread);
    cpu->thread = NULL;
}

/* ---- Scale and chance ---- */

uint32_t nt_rig_scale(uint32_t iterations)
{
    return iterations > SCALE_DIVISOR ? iterations / SCALE_DIVISOR : 1;
}

uint64_t nt_rig_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

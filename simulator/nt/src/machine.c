/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine itself: made, given devices, entered by threads, judged and freed. On the harness's threads,
 * outside the kernel.
 */
#include <string.h>

#include "nt.h"

#define NT_RAM_BYTES_MAX (UINT64_C(1) << 30)
#define NT_RAM_BYTES     (UINT64_C(16) << 20)

struct aero_nt_options aero_nt_options_default(void)
{
    struct aero_nt_options options;

    memset(&options, 0, sizeof options);
    options.cpu_count = 1;
    options.ram_low_bytes = NT_RAM_BYTES;
    options.ram_high_bytes = NT_RAM_BYTES;
    options.spin_ns = 50 * 1000;
    options.max_wait_ns = UINT64_C(30000000000);
    options.lock_timeout_ns = UINT64_C(10000000000);
    options.clock = AERO_NT_CLOCK_REAL;
    return options;
}

static bool options_good(const struct aero_nt_options *options)
{
    return options->cpu_count >= 1 && options->cpu_count <= AERO_NT_CPUS_MAX &&
           options->ram_low_bytes % PAGE_SIZE == 0 && options->ram_low_bytes <= NT_RAM_BYTES_MAX &&
           options->ram_high_bytes % PAGE_SIZE == 0 && options->ram_high_bytes <= NT_RAM_BYTES_MAX &&
           (options->clock == AERO_NT_CLOCK_REAL || options->clock == AERO_NT_CLOCK_VIRTUAL);
}

static void machine_free(struct aero_nt *nt)
{
    nt_ram_destroy(nt);
    if (nt->arena != NULL) {
        sim_os_range_release(nt->arena, NT_ARENA_BYTES);
    }
    sim_os_memory_unmap(nt, sizeof *nt);
}

static void cpus_init(struct aero_nt *nt)
{
    uint32_t number;

    for (number = 0; number < AERO_NT_CPUS_MAX; number++) {
        struct nt_cpu *cpu = &nt->cpus[number];

        cpu->nt = nt;
        cpu->number = number;
        cpu->arena = (uintptr_t)nt->arena;
        cpu->mappings = nt->mappings;
        cpu->watched = nt->options.referee ? NT_WATCH_REFEREE : 0;
        cpu->timer_due_ns = UINT64_MAX;
        cpu->dpcs.Flink = &cpu->dpcs;
        cpu->dpcs.Blink = &cpu->dpcs;
    }
    for (number = 0; number < AERO_NT_LINES_MAX; number++) {
        nt->lines[number].number = number;
        nt->lines[number].irql = (uint8_t)(NT_LINE_IRQL + number);
    }
}

enum aero_sim_status aero_nt_create(const struct aero_nt_options *options, struct aero_nt **nt_out)
{
    struct aero_nt_options chosen = options != NULL ? *options : aero_nt_options_default();
    enum aero_sim_status status;
    struct aero_nt *nt;

    if (nt_out == NULL) {
        return AERO_SIM_BAD_ARGUMENT;
    }
    *nt_out = NULL;
    if (!options_good(&chosen)) {
        return AERO_SIM_BAD_ARGUMENT;
    }
    nt = sim_os_memory_map(sizeof *nt); /* page-aligned, so that the CPUs' cache lines are what they seem */
    if (nt == NULL) {
        return AERO_SIM_NO_MEMORY;
    }
    nt->options = chosen;
    nt->fail_at = UINT64_MAX;
    nt->began_ns = sim_os_now_ns();
    nt->arena = sim_os_range_reserve(NT_ARENA_BYTES, NT_SLOT_BYTES);
    status = nt->arena != NULL ? nt_ram_create(nt) : AERO_SIM_NO_MEMORY;
    if (status != AERO_SIM_OK) {
        machine_free(nt);
        return status;
    }
    cpus_init(nt);
    *nt_out = nt;
    return AERO_SIM_OK;
}

struct aero_sim_memory *aero_nt_memory(struct aero_nt *nt)
{
    return nt->memory;
}

/* ---- Virtual CPUs ---- */

bool aero_nt_cpu_enter(struct aero_nt *nt, uint32_t cpu)
{
    struct nt_cpu *entered;
    uint32_t expected = 0;

    if (cpu >= nt->options.cpu_count || sim_os_tls_get() != NULL) {
        return false;
    }
    entered = &nt->cpus[cpu];
    /* Acquire pairs with the release in cpu_abandon: the CPU's private part passes from thread to thread. */
    if (!atomic_compare_exchange_strong_explicit(&entered->entered, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        return false;
    }
    atomic_fetch_add_explicit(&nt->entered, 1, memory_order_relaxed);
    sim_os_tls_set(entered);
    return true;
}

static void cpu_abandon(struct nt_cpu *cpu)
{
    struct aero_nt *nt = cpu->nt;

    if (cpu->held_count != 0) {
        nt_breach(nt, cpu, "LEAK-LOCK", "", "aero_nt_cpu_leave", cpu->held_count,
                  "the CPU left holding %u spin locks", (unsigned)cpu->held_count);
        nt_locks_drop(cpu, 0);
    }
    if (cpu->irql != PASSIVE_LEVEL) {
        nt_breach(nt, cpu, "CPU-LEFT", "", "aero_nt_cpu_leave", cpu->irql, "the CPU left at IRQL %u",
                  cpu->irql);
        cpu->irql = PASSIVE_LEVEL;
    }
    atomic_fetch_sub_explicit(&nt->entered, 1, memory_order_relaxed);
    atomic_store_explicit(&cpu->entered, 0, memory_order_release);
}

void aero_nt_cpu_leave(struct aero_nt *nt)
{
    struct nt_cpu *cpu = sim_os_tls_get();

    if (cpu == NULL || cpu->nt != nt) {
        nt_stray("aero_nt_cpu_leave");
        return;
    }
    cpu_abandon(cpu);
    sim_os_tls_set(NULL);
}

/* ---- Devices ---- */

static bool slot_taken(const struct aero_nt *nt, uint32_t slot_number)
{
    uint32_t index;

    for (index = 0; index < AERO_NT_DEVICES_MAX; index++) {
        if (nt->devices[index].device != NULL && nt->devices[index].slot_number == slot_number) {
            return true;
        }
    }
    return false;
}

/* PCI_SLOT_NUMBER.u.AsULONG; 0: taken, or none free. */
static uint32_t slot_choose(const struct aero_nt *nt, const struct aero_nt_attach_options *options)
{
    uint32_t slot = options->slot != 0 ? options->slot : 1;

    for (; slot < 32; slot++) {
        uint32_t slot_number = slot | options->function << 5;

        if (!slot_taken(nt, slot_number)) {
            return slot_number;
        }
        if (options->slot != 0) {
            break;
        }
    }
    return 0;
}

static struct nt_device *device_find(struct aero_nt *nt, const struct aero_sim_device *device)
{
    uint32_t index;

    for (index = 0; index < AERO_NT_DEVICES_MAX; index++) {
        if (nt->devices[index].device == device) {
            return &nt->devices[index];
        }
    }
    return NULL;
}

enum aero_sim_status aero_nt_attach(struct aero_nt *nt, struct aero_sim_device *device,
                                    const struct aero_nt_attach_options *options,
                                    struct aero_nt_device_info *info_out)
{
    struct aero_nt_attach_options chosen = {0, 0, 0, 0};
    struct nt_device *entry = device_find(nt, NULL);
    enum aero_sim_status status;
    struct nt_line *line;
    uint32_t slot_number;

    if (options != NULL) {
        chosen = *options;
    }
    if (device == NULL || device_find(nt, device) != NULL || chosen.line >= AERO_NT_LINES_MAX ||
        chosen.cpu >= nt->options.cpu_count || chosen.slot > 31 || chosen.function > 7) {
        return AERO_SIM_BAD_ARGUMENT;
    }
    line = &nt->lines[chosen.line];
    if (line->device_count != 0 && line->cpu != &nt->cpus[chosen.cpu]) {
        return AERO_SIM_BAD_ARGUMENT;
    }
    slot_number = slot_choose(nt, &chosen);
    if (entry == NULL || (slot_number == 0 && chosen.slot == 0)) {
        return AERO_SIM_LIMIT;
    }
    if (slot_number == 0) {
        return AERO_SIM_BAD_ARGUMENT;
    }
    status = aero_sim_device_set_intx(device, nt_line_changed, entry);
    if (status == AERO_SIM_OK) {
        status = aero_sim_device_set_intx_line(device, &nt->cpus[chosen.cpu].kicks); /* nt_line_changed kicks it */
    }
    if (status != AERO_SIM_OK) {
        return status;
    }
    memset(entry, 0, sizeof *entry);
    entry->device = device;
    entry->nt = nt;
    entry->line = line;
    entry->slot_number = slot_number;
    entry->bar0_gpa = NT_BAR_GPA + (uint64_t)(entry - nt->devices) * NT_BAR_STRIDE;
    line->cpu = &nt->cpus[chosen.cpu];
    line->devices[line->device_count++] = entry;
    if (info_out != NULL) {
        info_out->bus_number = 0;
        info_out->slot_number = slot_number;
        info_out->bar0_gpa = entry->bar0_gpa;
        info_out->bar0_bytes = AERO_SIM_BAR0_SIZE;
        info_out->interrupt_vector = line->irql * 16u;
        info_out->interrupt_irql = line->irql;
        info_out->interrupt_affinity = UINT64_C(1) << chosen.cpu;
    }
    return AERO_SIM_OK;
}

enum aero_sim_status aero_nt_enable(struct aero_nt *nt, struct aero_sim_device *device)
{
    struct nt_device *entry = device != NULL ? device_find(nt, device) : NULL;

    if (entry == NULL) {
        return AERO_SIM_NOT_FOUND;
    }
    aero_sim_pci_write(device, 0x10, 4, (uint32_t)entry->bar0_gpa);
    aero_sim_pci_write(device, 0x14, 4, (uint32_t)(entry->bar0_gpa >> 32));
    aero_sim_pci_write(device, 0x3C, 1, entry->line->irql * 16u); /* Interrupt Line: read by software alone */
    aero_sim_pci_write(device, 0x04, 2, 0x0006); /* memory decode and bus master; INTx not disabled */
    return AERO_SIM_OK;
}

enum aero_sim_status aero_nt_detach(struct aero_nt *nt, struct aero_sim_device *device)
{
    struct nt_device *entry = device != NULL ? device_find(nt, device) : NULL;
    struct nt_line *line;
    uint32_t index;

    if (entry == NULL) {
        return AERO_SIM_NOT_FOUND;
    }
    for (index = 0; index < AERO_NT_MAPPINGS_MAX; index++) {
        if (nt->mappings[index].device == device) {
            nt->mappings[index].device = NULL; /* owner stays: the address is good, nobody answers */
            nt->mappings[index].end = 0;
        }
    }
    line = entry->line;
    for (index = 0; line->devices[index] != entry; index++) {
    }
    line->devices[index] = line->devices[--line->device_count];
    entry->device = NULL;
    return AERO_SIM_OK;
}

/* ---- Counters ---- */

void aero_nt_cpu_counters(const struct aero_nt *nt, uint32_t cpu, struct aero_nt_counters *counters_out)
{
    memset(counters_out, 0, sizeof *counters_out);
    if (nt == NULL || cpu >= nt->options.cpu_count) {
        return;
    }
    *counters_out = nt->cpus[cpu].counters;
    counters_out->register_reads = nt->cpus[cpu].reads;
    counters_out->register_writes = nt->cpus[cpu].writes;
}

void aero_nt_counters(const struct aero_nt *nt, struct aero_nt_counters *counters_out)
{
    uint32_t number;

    memset(counters_out, 0, sizeof *counters_out);
    for (number = 0; number < nt->options.cpu_count; number++) {
        struct aero_nt_counters one;

        aero_nt_cpu_counters(nt, number, &one);
        counters_out->register_reads += one.register_reads;
        counters_out->register_writes += one.register_writes;
        counters_out->interrupts += one.interrupts;
        counters_out->interrupts_unclaimed += one.interrupts_unclaimed;
        counters_out->dpcs += one.dpcs;
        counters_out->sleeps += one.sleeps;
        counters_out->stalls += one.stalls;
        counters_out->delays += one.delays;
        counters_out->stalled_ns += one.stalled_ns;
        counters_out->stalled_ns_raised += one.stalled_ns_raised;
        counters_out->delayed_ns += one.delayed_ns;
        if (one.stalled_ns_longest > counters_out->stalled_ns_longest) {
            counters_out->stalled_ns_longest = one.stalled_ns_longest;
        }
    }
}

uint64_t aero_nt_waited_ns(const struct aero_nt *nt)
{
    struct aero_nt_counters counters;

    aero_nt_counters(nt, &counters);
    return counters.stalled_ns + counters.delayed_ns;
}

/* ---- The judgement ---- */

static void cpus_judge(struct aero_nt *nt)
{
    uint32_t number;

    for (number = 0; number < nt->options.cpu_count; number++) {
        struct nt_cpu *cpu = &nt->cpus[number];

        if (atomic_load(&cpu->dpc_count) != 0) {
            nt_breach(nt, cpu, "LEAK-DPC", "", "KeInsertQueueDpc", atomic_load(&cpu->dpc_count),
                      "%u DPCs are still queued", (unsigned)atomic_load(&cpu->dpc_count));
        }
        if (atomic_load(&cpu->entered) != 0) {
            nt_breach(nt, cpu, "CPU-LEFT", "", "aero_nt_destroy", number, "a thread is still CPU %u",
                      (unsigned)number);
            cpu_abandon(cpu);
            if (sim_os_tls_get() == cpu) {
                sim_os_tls_set(NULL);
            }
        }
    }
}

uint32_t aero_nt_destroy(struct aero_nt *nt)
{
    uint32_t index;
    uint32_t count;

    if (nt == NULL) {
        return 0;
    }
    cpus_judge(nt);
    nt_timers_judge(nt);
    nt_interrupts_judge(nt);
    nt_mappings_judge(nt);
    nt_pool_destroy(nt);
    for (index = 0; index < AERO_NT_DEVICES_MAX; index++) {
        if (nt->devices[index].device != NULL) {
            nt_breach(nt, NULL, "LEAK-DEVICE", "", "aero_nt_attach", index, "a device is still attached");
        }
    }
    nt_ram_destroy(nt);
    memset(nt->ram, 0, sizeof nt->ram);
    nt->memory = NULL;
    count = aero_nt_breach_count(nt);
    machine_free(nt);
    return count;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * CPUID, read: see machine.h. Leaves are those of Intel's and AMD's manuals; what isn't there is left out.
 */
#include "machine.h"

#include "os.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

static void ask_model(struct machine *machine)
{
    unsigned words[12];
    unsigned leaf;
    char text[sizeof words + 1];
    char *start = text, *end;

    for (leaf = 0; leaf < 3; leaf++) {
        if (!__get_cpuid(0x80000002u + leaf, &words[4 * leaf], &words[4 * leaf + 1], &words[4 * leaf + 2],
                         &words[4 * leaf + 3])) {
            snprintf(machine->model, sizeof machine->model, "x86 of unknown model");
            return;
        }
    }
    memcpy(text, words, sizeof words);
    text[sizeof words] = '\0';
    while (*start == ' ')
        start++;
    end = start + strlen(start);
    while (end > start && end[-1] == ' ')
        *--end = '\0';
    snprintf(machine->model, sizeof machine->model, "%s", start);
}

static void ask_hypervisor(struct machine *machine)
{
    static const struct {
        const char *signature, *name;
    } known[] = {
        {"KVMKVMKVM", "KVM"},      {"Microsoft Hv", "Hyper-V"}, {"VMwareVMware", "VMware"},
        {"XenVMMXenVMM", "Xen"},   {"TCGTCGTCGTCG", "QEMU"},    {"VBoxVBoxVBox", "VirtualBox"},
        {"bhyve bhyve ", "bhyve"},
    };
    unsigned eax, words[3], unused;
    char signature[13];
    size_t i;

    if (!__get_cpuid(1, &eax, &words[0], &words[1], &unused) || (words[1] >> 31 & 1) == 0)
        return;
    __cpuid(0x40000000u, eax, words[0], words[1], words[2]);
    memcpy(signature, words, sizeof words);
    signature[12] = '\0';
    snprintf(machine->hypervisor, sizeof machine->hypervisor, "unknown");
    for (i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(signature, known[i].signature) == 0)
            snprintf(machine->hypervisor, sizeof machine->hypervisor, "%s", known[i].name);
    }
}

/* Leaf 4 (Intel) and 0x8000001D (AMD) have one layout; 0 where the CPU has neither. */
static unsigned cache_leaf(void)
{
    unsigned eax, ebx, ecx, edx;

    if (__get_cpuid_count(0x8000001Du, 0, &eax, &ebx, &ecx, &edx) && (eax & 0x1F) != 0)
        return 0x8000001Du;
    if (__get_cpuid_count(4, 0, &eax, &ebx, &ecx, &edx) && (eax & 0x1F) != 0)
        return 4;
    return 0;
}

static void ask_caches(struct machine *machine)
{
    static const char *const types[] = {"", "Data", "Instruction", "Unified"};
    unsigned leaf = cache_leaf(), eax, ebx, ecx, edx, index;
    struct machine_cache *cache;

    for (index = 0; leaf != 0 && index < MACHINE_CACHES_MAX; index++) {
        __cpuid_count(leaf, index, eax, ebx, ecx, edx);
        if ((eax & 0x1F) == 0 || (eax & 0x1F) > 3)
            break;
        cache = &machine->caches[machine->cache_count++];
        cache->type = types[eax & 0x1F];
        cache->level = eax >> 5 & 7;
        cache->sharing = (eax >> 14 & 0xFFF) + 1;
        cache->bytes = ((ebx >> 22) + 1) * ((ebx >> 12 & 0x3FF) + 1) * ((ebx & 0xFFF) + 1) * (ecx + 1);
    }
}

struct machine machine_ask(void)
{
    struct machine machine;

    memset(&machine, 0, sizeof machine);
    ask_model(&machine);
    ask_hypervisor(&machine);
    ask_caches(&machine);
    return machine;
}

/* ---- Two CPUs ---- */

/* Where a CPU is, told by the CPU that runs it. */
struct place {
    bool known;
    unsigned apic_id;
    unsigned core_shift, package_shift,
        cache_shift; /* apic_id >> shift names the core, the package, the last-level cache */
};

static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;

    while (bits < 31 && 1u << bits < count)
        bits++;
    return bits;
}

static void ask_place(void *context)
{
    struct place *place = context;
    unsigned eax, ebx, ecx, edx, index, leaf = cache_leaf(), deepest = 0;

    for (index = 0; index < 4; index++) {
        if (!__get_cpuid_count(0xB, index, &eax, &ebx, &ecx, &edx) || (ecx >> 8 & 0xFF) == 0)
            break;
        place->known = true;
        place->apic_id = edx;
        if ((ecx >> 8 & 0xFF) == 1)
            place->core_shift = eax & 0x1F;
        place->package_shift = eax & 0x1F;
    }
    for (index = 0; leaf != 0 && index < MACHINE_CACHES_MAX; index++) {
        __cpuid_count(leaf, index, eax, ebx, ecx, edx);
        if ((eax & 0x1F) == 0)
            break;
        if ((eax >> 5 & 7) > deepest) {
            deepest = eax >> 5 & 7;
            place->cache_shift = bits_for((eax >> 14 & 0xFFF) + 1);
        }
    }
}

static struct place place_of(int cpu)
{
    struct place place = {.known = false};
    struct sim_os_thread *thread = sim_os_thread_start(ask_place, &place, cpu);

    if (thread != NULL)
        sim_os_thread_join(thread);
    return place;
}

const char *machine_relation(int cpu, int other)
{
    struct place a = place_of(cpu), b = place_of(other);

    if (!a.known || !b.known || a.apic_id == b.apic_id)
        return "how they lie to each other is unknown";
    if (a.apic_id >> a.core_shift == b.apic_id >> b.core_shift)
        return "two threads of one core";
    if (a.apic_id >> a.package_shift != b.apic_id >> b.package_shift)
        return "two packages";
    if (a.cache_shift != 0 && a.apic_id >> a.cache_shift == b.apic_id >> b.cache_shift)
        return "two cores that share the last-level cache";
    return "two cores of one package";
}

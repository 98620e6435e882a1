/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine's RAM: one region below and one above 4 GiB, and contiguous memory out of them, first fit from
 * the lowest address, so that the same calls give the same guest addresses. At PASSIVE_LEVEL;
 * MmGetPhysicalAddress at any, without a lock.
 */
#include <stdlib.h>
#include <string.h>

#include "nt.h"

#define NT_HOST_TRIES 16u

struct nt_run {
    struct nt_run *next;
    uint64_t first_page;
    uint64_t pages;
    uint64_t bytes; /* as asked for */
    const char *function;
};

bool nt_allocation_begin(struct aero_nt *nt)
{
    return nt->allocations++ != nt->fail_at;
}

void nt_freed_note(struct aero_nt *nt, const void *address)
{
    nt->freed[nt->freed_next++ % NT_FREED_KEPT] = address;
}

bool nt_freed_before(const struct aero_nt *nt, const void *address)
{
    uint32_t index;

    for (index = 0; index < NT_FREED_KEPT; index++) {
        if (nt->freed[index] == address) {
            return true;
        }
    }
    return false;
}

void aero_nt_fail_allocation_after(struct aero_nt *nt, uint32_t n)
{
    sim_os_lock_acquire(&nt->lock);
    nt->fail_at = (uint64_t)nt->allocations + n;
    sim_os_lock_release(&nt->lock);
}

void aero_nt_fail_allocation_never(struct aero_nt *nt)
{
    sim_os_lock_acquire(&nt->lock);
    nt->fail_at = UINT64_MAX;
    sim_os_lock_release(&nt->lock);
}

uint32_t aero_nt_allocation_count(const struct aero_nt *nt)
{
    return nt->allocations;
}

uint32_t aero_nt_live_count(const struct aero_nt *nt)
{
    return nt->live;
}

/* ---- RAM ---- */

/*
 * Host memory that doesn't lie where the guest address does as a number, so that mixing the two up never
 * works by luck.
 */
static void *host_memory_map(uint64_t gpa, uint64_t bytes)
{
    void *refused[NT_HOST_TRIES];
    uint32_t count = 0;
    void *host = NULL;

    while (count < NT_HOST_TRIES) {
        uint64_t address;

        host = sim_os_memory_map((size_t)bytes);
        address = (uintptr_t)host;
        if (host == NULL || address + bytes <= gpa || gpa + bytes <= address) {
            break;
        }
        refused[count++] = host;
        host = NULL;
    }
    while (count > 0) {
        sim_os_memory_unmap(refused[--count], (size_t)bytes);
    }
    return host;
}

static enum aero_sim_status ram_create(struct aero_nt *nt, struct nt_ram *ram, uint64_t gpa, uint64_t bytes)
{
    if (bytes == 0) {
        return AERO_SIM_OK;
    }
    ram->used = calloc((size_t)(bytes / PAGE_SIZE), sizeof *ram->used);
    ram->host = host_memory_map(gpa, bytes);
    ram->gpa = gpa;
    ram->bytes = bytes;
    if (ram->used == NULL || ram->host == NULL) {
        return AERO_SIM_NO_MEMORY;
    }
    return aero_sim_memory_map(nt->memory, gpa, bytes, ram->host);
}

enum aero_sim_status nt_ram_create(struct aero_nt *nt)
{
    enum aero_sim_status status = aero_sim_memory_create(&nt->memory);

    if (status == AERO_SIM_OK) {
        status = ram_create(nt, &nt->ram[0], AERO_NT_RAM_LOW_GPA, nt->options.ram_low_bytes);
    }
    if (status == AERO_SIM_OK) {
        status = ram_create(nt, &nt->ram[1], AERO_NT_RAM_HIGH_GPA, nt->options.ram_high_bytes);
    }
    return status;
}

void nt_ram_destroy(struct aero_nt *nt)
{
    uint32_t index;

    aero_sim_memory_destroy(nt->memory);
    for (index = 0; index < 2; index++) {
        struct nt_ram *ram = &nt->ram[index];

        while (ram->runs != NULL) {
            struct nt_run *run = ram->runs;
            uint64_t gpa = ram->gpa + run->first_page * PAGE_SIZE;

            ram->runs = run->next;
            nt_breach(nt, NULL, "LEAK-CONTIGUOUS", "", run->function, gpa,
                      "%llu bytes at guest address 0x%llx not freed", (unsigned long long)run->bytes,
                      (unsigned long long)gpa);
            free(run);
        }
        free((void *)ram->used);
        if (ram->host != NULL) {
            sim_os_memory_unmap(ram->host, (size_t)ram->bytes);
        }
    }
}

/* ---- Contiguous memory ---- */

struct run_request {
    uint64_t pages;
    uint64_t lowest; /* guest addresses; of the last byte */
    uint64_t highest;
    uint64_t boundary; /* the run crosses no multiple of it; 0: any */
};

/* The first address >= gpa that suits the request, as far as the request goes; 0: none. */
static uint64_t request_fit(const struct run_request *request, uint64_t gpa)
{
    uint64_t bytes = request->pages * PAGE_SIZE;

    if (gpa < request->lowest) {
        gpa = (request->lowest + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    }
    if (request->boundary != 0 && gpa / request->boundary != (gpa + bytes - 1) / request->boundary) {
        gpa = (gpa / request->boundary + 1) * request->boundary;
    }
    return gpa + bytes - 1 <= request->highest ? gpa : 0;
}

/* Puts run into the first gap that suits. */
static bool ram_take(struct nt_ram *ram, const struct run_request *request, struct nt_run *run)
{
    struct nt_run **link = &ram->runs;
    uint64_t gpa = ram->gpa;

    for (;;) {
        uint64_t gap_end = *link != NULL ? ram->gpa + (*link)->first_page * PAGE_SIZE : ram->gpa + ram->bytes;
        uint64_t start = request_fit(request, gpa);
        uint64_t page;

        if (start != 0 && start + request->pages * PAGE_SIZE <= gap_end) {
            run->first_page = (start - ram->gpa) / PAGE_SIZE;
            run->next = *link;
            *link = run;
            for (page = 0; page < run->pages; page++) {
                atomic_store_explicit(&ram->used[run->first_page + page], 1, memory_order_relaxed);
            }
            return true;
        }
        if (*link == NULL) {
            return false;
        }
        gpa = gap_end + (*link)->pages * PAGE_SIZE;
        link = &(*link)->next;
    }
}

static PVOID contiguous_allocate(SIZE_T bytes, uint64_t lowest, uint64_t highest, uint64_t boundary,
                                 const char *function)
{
    struct nt_cpu *cpu = nt_cpu_current(function);
    struct run_request request = {((uint64_t)bytes + PAGE_SIZE - 1) / PAGE_SIZE, lowest, highest, boundary};
    unsigned char *host = NULL;
    struct nt_run *run;
    uint32_t index;

    if (cpu == NULL) {
        return NULL;
    }
    nt_irql_at_most(cpu, PASSIVE_LEVEL, function);
    if (bytes == 0 || bytes > INT32_MAX || (boundary & (boundary - 1)) != 0 ||
        (boundary != 0 && boundary < request.pages * PAGE_SIZE)) {
        nt_breach(cpu->nt, cpu, "ARGUMENT", "", function, bytes,
                  "%llu bytes with boundary 0x%llx can't be had", (unsigned long long)bytes,
                  (unsigned long long)boundary);
        return NULL;
    }
    run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    run->pages = request.pages;
    run->bytes = bytes;
    run->function = function;
    sim_os_lock_acquire(&cpu->nt->lock);
    if (nt_allocation_begin(cpu->nt)) {
        for (index = 0; index < 2 && host == NULL; index++) {
            struct nt_ram *ram = &cpu->nt->ram[index];

            if (ram->bytes != 0 && ram_take(ram, &request, run)) {
                host = ram->host + run->first_page * PAGE_SIZE;
                cpu->nt->live++;
            }
        }
    }
    sim_os_lock_release(&cpu->nt->lock);
    if (host == NULL) {
        free(run);
        return NULL;
    }
    memset(host, NT_FILL_NEW, (size_t)(request.pages * PAGE_SIZE));
    return host;
}

/* Takes the run at that host address out of its region; NULL: there is none, or not of that many bytes. */
static struct nt_run *run_remove(struct aero_nt *nt, const unsigned char *host, uint64_t bytes)
{
    uint32_t index;

    for (index = 0; index < 2; index++) {
        struct nt_ram *ram = &nt->ram[index];
        struct nt_run **link;

        for (link = &ram->runs; *link != NULL; link = &(*link)->next) {
            struct nt_run *run = *link;
            uint64_t page;

            if (ram->host + run->first_page * PAGE_SIZE != host || (bytes != 0 && bytes != run->bytes)) {
                continue;
            }
            *link = run->next;
            for (page = 0; page < run->pages; page++) {
                atomic_store_explicit(&ram->used[run->first_page + page], 0, memory_order_relaxed);
            }
            return run;
        }
    }
    return NULL;
}

static void contiguous_free(PVOID address, uint64_t bytes, const char *function)
{
    struct nt_cpu *cpu = nt_cpu_current(function);
    struct nt_run *run;
    bool before;

    if (cpu == NULL) {
        return;
    }
    nt_irql_at_most(cpu, PASSIVE_LEVEL, function);
    sim_os_lock_acquire(&cpu->nt->lock);
    run = run_remove(cpu->nt, address, bytes);
    before = nt_freed_before(cpu->nt, address);
    if (run != NULL) {
        cpu->nt->live--;
        nt_freed_note(cpu->nt, address);
    }
    sim_os_lock_release(&cpu->nt->lock);
    if (run == NULL) {
        nt_breach(cpu->nt, cpu, "CONTIGUOUS-FREE", "", function, (uintptr_t)address, "%p of %llu bytes is %s",
                  address, (unsigned long long)bytes, before ? "freed already" : "no such allocation");
    }
    free(run);
}

PVOID NTAPI MmAllocateContiguousMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress)
{
    return contiguous_allocate(NumberOfBytes, 0, (uint64_t)HighestAcceptableAddress.QuadPart, 0, __func__);
}

PVOID NTAPI MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes,
                                                   PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                   PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                   PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                                   MEMORY_CACHING_TYPE CacheType)
{
    UNREFERENCED_PARAMETER(CacheType);
    return contiguous_allocate(NumberOfBytes, (uint64_t)LowestAcceptableAddress.QuadPart,
                               (uint64_t)HighestAcceptableAddress.QuadPart,
                               (uint64_t)BoundaryAddressMultiple.QuadPart, __func__);
}

VOID NTAPI MmFreeContiguousMemory(PVOID BaseAddress)
{
    contiguous_free(BaseAddress, 0, __func__);
}

VOID NTAPI MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, SIZE_T NumberOfBytes,
                                              MEMORY_CACHING_TYPE CacheType)
{
    UNREFERENCED_PARAMETER(CacheType);
    contiguous_free(BaseAddress, NumberOfBytes, __func__);
}

PHYSICAL_ADDRESS NTAPI MmGetPhysicalAddress(PVOID BaseAddress)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    PHYSICAL_ADDRESS gpa;
    uint32_t index;

    gpa.QuadPart = 0;
    if (cpu == NULL) {
        return gpa;
    }
    for (index = 0; index < 2; index++) {
        const struct nt_ram *ram = &cpu->nt->ram[index];
        uintptr_t distance = (uintptr_t)BaseAddress - (uintptr_t)ram->host;

        if (distance < ram->bytes &&
            atomic_load_explicit(&ram->used[distance / PAGE_SIZE], memory_order_relaxed) != 0) {
            gpa.QuadPart = (LONGLONG)(ram->gpa + distance);
            return gpa;
        }
    }
    NT_BREACH(cpu, "PHYSICAL-ADDRESS", (uintptr_t)BaseAddress, "%p is not in contiguous memory", BaseAddress);
    return gpa;
}

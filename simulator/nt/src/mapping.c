/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a driver reaches of the bus besides registers: MmMapIoSpace, which hands out addresses in the
 * inaccessible arena, and PCI configuration space through the HAL. Up to DISPATCH_LEVEL.
 */
#include <string.h>

#include "nt.h"

static struct nt_device *device_of_range(struct aero_nt *nt, uint64_t gpa, uint64_t bytes)
{
    uint32_t index;

    for (index = 0; index < AERO_NT_DEVICES_MAX; index++) {
        struct nt_device *device = &nt->devices[index];
        uint64_t offset = gpa - device->bar0_gpa;

        if (device->device != NULL && offset < AERO_SIM_BAR0_SIZE && bytes <= AERO_SIM_BAR0_SIZE - offset) {
            return device;
        }
    }
    return NULL;
}

/* The next free slot after the last one taken, so that an old address stays bad for long; NULL: none. */
static struct nt_mapping *mapping_take(struct aero_nt *nt)
{
    uint32_t tries;

    for (tries = 0; tries < AERO_NT_MAPPINGS_MAX; tries++) {
        struct nt_mapping *mapping = &nt->mappings[nt->mapping_next++ % AERO_NT_MAPPINGS_MAX];

        if (mapping->owner == NULL) {
            return mapping;
        }
    }
    return NULL;
}

PVOID NTAPI MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes,
                         MEMORY_CACHING_TYPE CacheType)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    struct nt_device *device;
    struct nt_mapping *mapping = NULL;
    struct aero_nt *nt;

    UNREFERENCED_PARAMETER(CacheType);
    if (cpu == NULL) {
        return NULL;
    }
    nt = cpu->nt;
    nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
    device = device_of_range(nt, (uint64_t)PhysicalAddress.QuadPart, NumberOfBytes);
    if (device == NULL || NumberOfBytes == 0) {
        NT_BREACH(cpu, "IO-MAPPING", (uint64_t)PhysicalAddress.QuadPart,
                  "0x%llx, %llu bytes: not within a BAR", (unsigned long long)PhysicalAddress.QuadPart,
                  (unsigned long long)NumberOfBytes);
        return NULL;
    }
    sim_os_lock_acquire(&nt->lock);
    if (nt_allocation_begin(nt)) {
        mapping = mapping_take(nt);
    }
    if (mapping != NULL) {
        mapping->owner = device;
        mapping->device = device->device;
        mapping->first = (uint32_t)((uint64_t)PhysicalAddress.QuadPart - device->bar0_gpa);
        mapping->end = mapping->first + (uint32_t)NumberOfBytes;
        mapping->bytes = NumberOfBytes;
        nt->live++;
    }
    sim_os_lock_release(&nt->lock);
    if (mapping == NULL) {
        return NULL;
    }
    return nt->arena + (uintptr_t)(mapping - nt->mappings) * NT_SLOT_BYTES + mapping->first;
}

VOID NTAPI MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    uintptr_t distance;
    bool unmapped = false;

    if (cpu == NULL) {
        return;
    }
    nt_irql_at_most(cpu, DISPATCH_LEVEL, __func__);
    distance = (uintptr_t)BaseAddress - cpu->arena;
    if (distance < NT_ARENA_BYTES) {
        struct nt_mapping *mapping = &cpu->mappings[distance >> NT_SLOT_SHIFT];

        sim_os_lock_acquire(&cpu->nt->lock);
        if (mapping->owner != NULL && mapping->first == (distance & (NT_SLOT_BYTES - 1)) &&
            mapping->bytes == NumberOfBytes) {
            memset(mapping, 0, sizeof *mapping);
            cpu->nt->live--;
            unmapped = true;
        }
        sim_os_lock_release(&cpu->nt->lock);
    }
    if (!unmapped) {
        NT_BREACH(cpu, "IO-MAPPING", (uintptr_t)BaseAddress, "%p, %llu bytes: no such mapping", BaseAddress,
                  (unsigned long long)NumberOfBytes);
    }
}

void nt_mappings_judge(struct aero_nt *nt)
{
    uint32_t index;

    for (index = 0; index < AERO_NT_MAPPINGS_MAX; index++) {
        const struct nt_mapping *mapping = &nt->mappings[index];

        if (mapping->owner != NULL) {
            nt_breach(nt, NULL, "LEAK-MAPPING", "", "MmMapIoSpace", mapping->bytes,
                      "%llu bytes at BAR0 offset 0x%x not unmapped", (unsigned long long)mapping->bytes,
                      (unsigned)mapping->first);
        }
    }
}

/* ---- PCI configuration space ---- */

static struct aero_sim_device *device_of_slot(struct aero_nt *nt, ULONG slot_number)
{
    uint32_t index;

    for (index = 0; index < AERO_NT_DEVICES_MAX; index++) {
        if (nt->devices[index].device != NULL && nt->devices[index].slot_number == slot_number) {
            return nt->devices[index].device;
        }
    }
    return NULL;
}

/* The widest naturally aligned access that starts at offset and needs no more than length bytes. */
static uint32_t config_width(ULONG offset, ULONG length)
{
    if (offset % 4 == 0 && length >= 4) {
        return 4;
    }
    return offset % 2 == 0 && length >= 2 ? 2 : 1;
}

static ULONG config_length(ULONG offset, ULONG length)
{
    if (offset >= 256) {
        return 0;
    }
    return length < 256 - offset ? length : 256 - offset;
}

/* Moves configuration bytes between buffer and the device, one access after the other. */
static ULONG config_move(struct aero_sim_device *device, bool to_device, UCHAR *buffer, ULONG offset,
                         ULONG length)
{
    ULONG done = 0;

    length = config_length(offset, length);
    while (done < length) {
        uint32_t width = config_width(offset + done, length - done);
        uint32_t value = 0; /* little-endian, as the host is */

        if (to_device) {
            memcpy(&value, buffer + done, width);
            aero_sim_pci_write(device, offset + done, width, value);
        } else {
            value = aero_sim_pci_read(device, offset + done, width);
            memcpy(buffer + done, &value, width);
        }
        done += width;
    }
    return done;
}

/* The caller's CPU, where the call is one that these functions serve; else NULL. */
static struct nt_cpu *config_caller(const char *function, BUS_DATA_TYPE bus_data_type, ULONG bus_number)
{
    struct nt_cpu *cpu = nt_cpu_current(function);

    return cpu != NULL && nt_irql_at_most(cpu, DISPATCH_LEVEL, function) &&
                   bus_data_type == PCIConfiguration && bus_number == 0
               ? cpu
               : NULL;
}

ULONG NTAPI HalGetBusDataByOffset(BUS_DATA_TYPE BusDataType, ULONG BusNumber, ULONG SlotNumber, PVOID Buffer,
                                  ULONG Offset, ULONG Length)
{
    struct nt_cpu *cpu = config_caller(__func__, BusDataType, BusNumber);
    struct aero_sim_device *device;

    if (cpu == NULL) {
        return 0;
    }
    device = device_of_slot(cpu->nt, SlotNumber);
    if (device == NULL) {
        memset(Buffer, 0xFF, Length);
        return 2;
    }
    return config_move(device, false, Buffer, Offset, Length);
}

ULONG NTAPI HalSetBusDataByOffset(BUS_DATA_TYPE BusDataType, ULONG BusNumber, ULONG SlotNumber, PVOID Buffer,
                                  ULONG Offset, ULONG Length)
{
    struct nt_cpu *cpu = config_caller(__func__, BusDataType, BusNumber);
    struct aero_sim_device *device = cpu != NULL ? device_of_slot(cpu->nt, SlotNumber) : NULL;

    return device != NULL ? config_move(device, true, Buffer, Offset, Length) : 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * READ_REGISTER_* and WRITE_REGISTER_*: from an address in the inaccessible arena to a device and an offset
 * in its BAR0. At any IRQL. This is the hottest path of the simulator: one thread-local load, one look at the
 * count of kicks, one table entry; no lock and no locked instruction.
 */
#include "nt.h"

#define NT_INLINE static inline __attribute__((always_inline))

/*
 * The device's side of the access, too, is compiled into it where the linker sees all: its width is constant
 * here.
 */
#define NT_FLAT __attribute__((flatten))

/*
 * All ones: an address that no device claims. Detached devices are gone, which is legal to find out by
 * reading.
 */
static __attribute__((noinline, cold)) uint32_t register_nobody(uintptr_t address, const char *function)
{
    struct nt_cpu *cpu = sim_os_tls_get();
    uintptr_t distance;

    if (cpu == NULL) {
        nt_stray(function);
        return UINT32_MAX;
    }
    distance = address - cpu->arena;
    if (distance < NT_ARENA_BYTES) {
        const struct nt_mapping *mapping = &cpu->mappings[distance >> NT_SLOT_SHIFT];

        if (mapping->owner != NULL && mapping->device == NULL) {
            return UINT32_MAX;
        }
        nt_breach(cpu->nt, cpu, "REGISTER-ADDRESS", "", function, distance & (NT_SLOT_BYTES - 1),
                  mapping->owner != NULL ? "BAR0 offset 0x%x lies outside the part mapped"
                                         : "BAR0 offset 0x%x of a mapping that is gone",
                  (unsigned)(distance & (NT_SLOT_BYTES - 1)));
    } else {
        nt_breach(cpu->nt, cpu, "REGISTER-ADDRESS", "", function, address,
                  "%p is no address from MmMapIoSpace", (void *)address);
    }
    return UINT32_MAX;
}

NT_INLINE const struct nt_mapping *register_find(struct nt_cpu *cpu, uintptr_t address, uint32_t width,
                                                 uint32_t *offset_out)
{
    uintptr_t distance = address - cpu->arena;
    uint32_t offset = (uint32_t)distance & (uint32_t)(NT_SLOT_BYTES - 1);
    const struct nt_mapping *mapping;

    *offset_out = offset;
    if (NT_UNLIKELY(distance >= NT_ARENA_BYTES)) {
        return NULL;
    }
    mapping = &cpu->mappings[distance >> NT_SLOT_SHIFT];
    if (NT_UNLIKELY(offset < mapping->first || offset + width > mapping->end)) {
        return NULL;
    }
    return mapping;
}

/*
 * Out of line, so that the straight path keeps nothing across a call: an interrupt is pending, a timer is
 * set, or the referee watches.
 */
static __attribute__((noinline)) uint32_t register_read_slowly(struct nt_cpu *cpu,
                                                               const struct nt_mapping *mapping,
                                                               uint32_t offset, uint32_t width,
                                                               const char *function)
{
    nt_interruption_point_often(cpu);
    if ((cpu->watched & NT_WATCH_REFEREE) != 0) {
        return nt_referee_read(cpu, mapping, offset, width, function);
    }
    return (uint32_t)aero_sim_bar_read(mapping->device, offset, width);
}

static __attribute__((noinline)) void register_write_slowly(struct nt_cpu *cpu,
                                                            const struct nt_mapping *mapping, uint32_t offset,
                                                            uint32_t width, uint32_t value,
                                                            const char *function)
{
    nt_interruption_point_often(cpu);
    if ((cpu->watched & NT_WATCH_REFEREE) != 0) {
        nt_referee_write(cpu, mapping, offset, width, value, function);
    } else {
        aero_sim_bar_write(mapping->device, offset, width, value);
    }
}

NT_INLINE bool register_watched(struct nt_cpu *cpu)
{
    return ((atomic_load_explicit(&cpu->kicks, memory_order_relaxed) ^ cpu->kicks_seen) | cpu->watched) != 0;
}

NT_INLINE uint32_t register_read(const volatile void *address, uint32_t width, const char *function)
{
    struct nt_cpu *cpu = sim_os_tls_get();
    const struct nt_mapping *mapping;
    uint32_t offset;

    if (NT_UNLIKELY(cpu == NULL)) {
        return register_nobody((uintptr_t)address, function);
    }
    mapping = register_find(cpu, (uintptr_t)address, width, &offset);
    if (NT_UNLIKELY(mapping == NULL)) {
        return register_nobody((uintptr_t)address, function);
    }
    cpu->reads++;
    if (NT_UNLIKELY(register_watched(cpu))) {
        return register_read_slowly(cpu, mapping, offset, width, function);
    }
    return (uint32_t)aero_sim_bar_read(mapping->device, offset, width);
}

NT_INLINE void register_write(volatile void *address, uint32_t width, uint32_t value, const char *function)
{
    struct nt_cpu *cpu = sim_os_tls_get();
    const struct nt_mapping *mapping;
    uint32_t offset;

    if (NT_UNLIKELY(cpu == NULL)) {
        register_nobody((uintptr_t)address, function);
        return;
    }
    mapping = register_find(cpu, (uintptr_t)address, width, &offset);
    if (NT_UNLIKELY(mapping == NULL)) {
        register_nobody((uintptr_t)address, function);
        return;
    }
    cpu->writes++;
    if (NT_UNLIKELY(register_watched(cpu))) {
        register_write_slowly(cpu, mapping, offset, width, value, function);
    } else {
        aero_sim_bar_write(mapping->device, offset, width, value);
    }
}

NT_FLAT UCHAR NTAPI READ_REGISTER_UCHAR(const volatile UCHAR *Register)
{
    return (UCHAR)register_read(Register, 1, "READ_REGISTER_UCHAR");
}

NT_FLAT USHORT NTAPI READ_REGISTER_USHORT(const volatile USHORT *Register)
{
    return (USHORT)register_read(Register, 2, "READ_REGISTER_USHORT");
}

NT_FLAT ULONG NTAPI READ_REGISTER_ULONG(const volatile ULONG *Register)
{
    return register_read(Register, 4, "READ_REGISTER_ULONG");
}

NT_FLAT VOID NTAPI WRITE_REGISTER_UCHAR(volatile UCHAR *Register, UCHAR Value)
{
    register_write(Register, 1, Value, "WRITE_REGISTER_UCHAR");
}

NT_FLAT VOID NTAPI WRITE_REGISTER_USHORT(volatile USHORT *Register, USHORT Value)
{
    register_write(Register, 2, Value, "WRITE_REGISTER_USHORT");
}

NT_FLAT VOID NTAPI WRITE_REGISTER_ULONG(volatile ULONG *Register, ULONG Value)
{
    register_write(Register, 4, Value, "WRITE_REGISTER_ULONG");
}

VOID NTAPI READ_REGISTER_BUFFER_UCHAR(const volatile UCHAR *Register, PUCHAR Buffer, ULONG Count)
{
    ULONG index;

    for (index = 0; index < Count; index++) {
        Buffer[index] = (UCHAR)register_read(Register + index, 1, "READ_REGISTER_BUFFER_UCHAR");
    }
}

VOID NTAPI WRITE_REGISTER_BUFFER_UCHAR(volatile UCHAR *Register, const UCHAR *Buffer, ULONG Count)
{
    ULONG index;

    for (index = 0; index < Count; index++) {
        register_write(Register + index, 1, Buffer[index], "WRITE_REGISTER_BUFFER_UCHAR");
    }
}

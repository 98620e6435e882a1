/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How memory that a device shares (a split ring) is touched: the only way, for every access after the device
 * has been told of it. Each macro may be predefined by ntddk.h, which is how a user-mode build gets the
 * compiler's atomics, or a scheduling point at each access; where it is not, the default below says the same
 * in the DDK's terms.
 *
 * What they promise: a naturally aligned access of 16 or 32 bits is a single one. One of 64 bits is single on
 * x64 and may be two halves, in either order, on x86: so 64-bit accesses are only for memory whose owner is
 * settled by an index. Nothing is reordered by the compiler against another of these. Any IRQL. P must point
 * to the type of that width, or to void.
 *
 *     AERO_VIRTIO_SHARED_READ16(P)  READ32  READ64      a load, no fence
 *     AERO_VIRTIO_SHARED_WRITE16(P, V)  WRITE32  WRITE64  a store, no fence
 *     AERO_VIRTIO_SHARED_READ16_ACQUIRE(P)              a load that later accesses don't pass
 *     AERO_VIRTIO_SHARED_WRITE16_RELEASE(P, V)          a store that earlier accesses don't pass
 *     AERO_VIRTIO_SHARED_BARRIER()                      full: no later load passes an earlier store
 *
 * Their partners are the device's: in the simulator, simulator/src/ring.h (P1, P2, P3) and service.c (P4).
 *     P1  WRITE16_RELEASE of avail.idx                its load-acquire of avail.idx
 *     P2  READ16_ACQUIRE of used.idx                  its store-release of used.idx
 *     P3  avail.flags, BARRIER, used.idx (rearm)      used.idx, full barrier, avail.flags
 *     P4  avail.idx, BARRIER, doorbell                load-acquire of the doorbell, avail.idx
 */
#ifndef AERO_VIRTIO_SHARED_H
#define AERO_VIRTIO_SHARED_H

#include <ntddk.h>

/* Volatile alone keeps these in program order, among themselves, in every compiler of the WDK. */
#ifndef AERO_VIRTIO_SHARED_READ16
#define AERO_VIRTIO_SHARED_READ16(P) (*(const volatile USHORT *)(P))
#endif
#ifndef AERO_VIRTIO_SHARED_READ32
#define AERO_VIRTIO_SHARED_READ32(P) (*(const volatile ULONG *)(P))
#endif
#ifndef AERO_VIRTIO_SHARED_READ64
#define AERO_VIRTIO_SHARED_READ64(P) (*(const volatile ULONGLONG *)(P))
#endif
#ifndef AERO_VIRTIO_SHARED_WRITE16
#define AERO_VIRTIO_SHARED_WRITE16(P, V) ((void)(*(volatile USHORT *)(P) = (USHORT)(V)))
#endif
#ifndef AERO_VIRTIO_SHARED_WRITE32
#define AERO_VIRTIO_SHARED_WRITE32(P, V) ((void)(*(volatile ULONG *)(P) = (ULONG)(V)))
#endif
#ifndef AERO_VIRTIO_SHARED_WRITE64
#define AERO_VIRTIO_SHARED_WRITE64(P, V) ((void)(*(volatile ULONGLONG *)(P) = (ULONGLONG)(V)))
#endif

/*
 * x86 and x64 never pass a load with a load, nor a store with a store, nor a load with a later store, so
 * acquire and release are up to the compiler alone: the buffers' own bytes are accessed without volatile.
 */
#ifndef AERO_VIRTIO_SHARED_READ16_ACQUIRE
static __inline USHORT AeroVirtioSharedRead16Acquire(const volatile USHORT *Pointer)
{
    USHORT Value;

    Value = *Pointer;
    _ReadWriteBarrier();
    return Value;
}
#define AERO_VIRTIO_SHARED_READ16_ACQUIRE(P) AeroVirtioSharedRead16Acquire((const volatile USHORT *)(P))
#endif
#ifndef AERO_VIRTIO_SHARED_WRITE16_RELEASE
static __inline void AeroVirtioSharedWrite16Release(volatile USHORT *Pointer, USHORT Value)
{
    _ReadWriteBarrier();
    *Pointer = Value;
}
#define AERO_VIRTIO_SHARED_WRITE16_RELEASE(P, V) \
    AeroVirtioSharedWrite16Release((volatile USHORT *)(P), (USHORT)(V))
#endif

/* The one order that x86 doesn't keep by itself: a store before a later load. */
#ifndef AERO_VIRTIO_SHARED_BARRIER
#define AERO_VIRTIO_SHARED_BARRIER() KeMemoryBarrier()
#endif

#endif

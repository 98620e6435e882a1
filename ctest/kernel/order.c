/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the compiler must not move, one case a function: ctest/kernel/check reads the machine code. It is here that
 * aero_virtio_shared.h's own definitions are looked at: every user-mode build predefines them. Never run.
 *
 * With AERO_WITHOUT_BRIDGE the DDK's own take the place of what the bridge has, and less than is needed that of the
 * shared header's and of the doorbell: each case must then be refused.
 */
#include <ntddk.h>

#ifdef AERO_WITHOUT_BRIDGE
#define AERO_VIRTIO_SHARED_READ16(P)             (*(const USHORT *)(P))
#define AERO_VIRTIO_SHARED_WRITE16(P, V)         ((void)(*(USHORT *)(P) = (USHORT)(V)))
#define AERO_VIRTIO_SHARED_READ32(P)             (*(const ULONG *)(P))
#define AERO_VIRTIO_SHARED_WRITE32(P, V)         ((void)(*(ULONG *)(P) = (ULONG)(V)))
#define AERO_VIRTIO_SHARED_READ64(P)             (*(const ULONGLONG *)(P))
#define AERO_VIRTIO_SHARED_WRITE64(P, V)         ((void)(*(ULONGLONG *)(P) = (ULONGLONG)(V)))
#define AERO_VIRTIO_SHARED_READ16_ACQUIRE(P)     (*(const volatile USHORT *)(P))
#define AERO_VIRTIO_SHARED_WRITE16_RELEASE(P, V) ((void)(*(volatile USHORT *)(P) = (USHORT)(V)))
#define AERO_VIRTIO_SHARED_BARRIER()             _ReadWriteBarrier()
#endif
#include "aero_virtio_shared.h"

#ifdef AERO_WITHOUT_BRIDGE
#undef READ_REGISTER_ULONG
#undef WRITE_REGISTER_USHORT
#define WRITE_REGISTER_USHORT(Register, Value) ((VOID)(*(volatile USHORT *)(Register) = (Value)))
#undef READ_REGISTER_BUFFER_UCHAR
#ifndef _WIN64
#define KeMemoryBarrier AeroDdkKeMemoryBarrier
#endif
#endif

ULONG OrderBarrier(PULONG Plain);
ULONG OrderRegister(const ULONG *Plain, PULONG Register);
VOID OrderDoorbell(PULONG Plain, PUSHORT Register);
VOID OrderBuffer(PUCHAR Register, PUCHAR Buffer);
ULONG OrderSharedBarrier(PULONG Plain);
ULONG OrderAcquire(const ULONG *Plain, const USHORT *Index);
VOID OrderRelease(PULONG Plain, PUSHORT Index);
VOID OrderShared16(PUSHORT Shared);
VOID OrderShared32(PULONG Shared);
VOID OrderShared64(PULONGLONG Shared);

/* The load is a load, and comes after the barrier. */
ULONG OrderBarrier(PULONG Plain)
{
    *Plain = 1;
    KeMemoryBarrier();
    return *Plain;
}

/* Both loads happen, one on each side of the access: what it says may be that the device has written there. */
ULONG OrderRegister(const ULONG *Plain, PULONG Register)
{
    ULONG Before = *Plain;

    (VOID) READ_REGISTER_ULONG(Register);
    return Before + *Plain;
}

/* Both stores happen, one on each side of the access, and the second comes when the register's has left. */
VOID OrderDoorbell(PULONG Plain, PUSHORT Register)
{
    *Plain = 1;
    WRITE_REGISTER_USHORT(Register, 5);
    *Plain = 2;
}

/* From the register to the buffer. */
VOID OrderBuffer(PUCHAR Register, PUCHAR Buffer)
{
    READ_REGISTER_BUFFER_UCHAR(Register, Buffer, 1);
}

ULONG OrderSharedBarrier(PULONG Plain)
{
    *Plain = 1;
    AERO_VIRTIO_SHARED_BARRIER();
    return *Plain;
}

/* What the index says was written may be read behind it only. */
ULONG OrderAcquire(const ULONG *Plain, const USHORT *Index)
{
    ULONG Before = *Plain;

    (VOID) AERO_VIRTIO_SHARED_READ16_ACQUIRE(Index);
    return Before + *Plain;
}

/* What stands before the index is written before it. */
VOID OrderRelease(PULONG Plain, PUSHORT Index)
{
    *Plain = 1;
    AERO_VIRTIO_SHARED_WRITE16_RELEASE(Index, 5);
    *Plain = 2;
}

/* Each access happens, though a later one makes it look idle. */
#define ORDER_SHARED(Bits)                        \
    (VOID) AERO_VIRTIO_SHARED_READ##Bits(Shared); \
    AERO_VIRTIO_SHARED_WRITE##Bits(Shared, 1);    \
    AERO_VIRTIO_SHARED_WRITE##Bits(Shared, 2)

VOID OrderShared16(PUSHORT Shared)
{
    ORDER_SHARED(16);
}

VOID OrderShared32(PULONG Shared)
{
    ORDER_SHARED(32);
}

VOID OrderShared64(PULONGLONG Shared)
{
    ORDER_SHARED(64);
}

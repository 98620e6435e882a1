/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Private to transport/src: device registers, each accessed by its own width. The DDK's accessors take a
 * volatile pointer on x64 and a plain one on x86; these take the volatile one everywhere. Any IRQL.
 */
#ifndef AERO_VIRTIO_REGISTERS_H
#define AERO_VIRTIO_REGISTERS_H

#include <ntddk.h>

/* What a register of a device that is gone reads. */
#define ALL_ONES_8  0xFFu
#define ALL_ONES_16 0xFFFFu
#define ALL_ONES_32 0xFFFFFFFFu

static __inline UCHAR RegisterRead8(volatile UCHAR *Register)
{
    return READ_REGISTER_UCHAR((PUCHAR)Register);
}

static __inline USHORT RegisterRead16(volatile USHORT *Register)
{
    return READ_REGISTER_USHORT((PUSHORT)Register);
}

static __inline ULONG RegisterRead32(volatile ULONG *Register)
{
    return READ_REGISTER_ULONG((PULONG)Register);
}

static __inline void RegisterWrite8(volatile UCHAR *Register, UCHAR Value)
{
    WRITE_REGISTER_UCHAR((PUCHAR)Register, Value);
}

static __inline void RegisterWrite16(volatile USHORT *Register, USHORT Value)
{
    WRITE_REGISTER_USHORT((PUSHORT)Register, Value);
}

static __inline void RegisterWrite32(volatile ULONG *Register, ULONG Value)
{
    WRITE_REGISTER_ULONG((PULONG)Register, Value);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the compiler must not move, one case a function: ctest/kernel/check reads the machine code. With
 * AERO_WITHOUT_BRIDGE the DDK's own of the same name take the bridge's place, and show that it is needed. Never run.
 */
#include <ntddk.h>

#ifdef AERO_WITHOUT_BRIDGE
#undef READ_REGISTER_ULONG
#undef READ_REGISTER_BUFFER_UCHAR
#ifndef _WIN64
#define KeMemoryBarrier AeroDdkKeMemoryBarrier
#endif
#endif

ULONG OrderBarrier(PULONG Plain);
ULONG OrderRegister(const ULONG *Plain, PULONG Register);
VOID OrderBuffer(PUCHAR Register, PUCHAR Buffer);

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

/* From the register to the buffer. */
VOID OrderBuffer(PUCHAR Register, PUCHAR Buffer)
{
    READ_REGISTER_BUFFER_UCHAR(Register, Buffer, 1);
}

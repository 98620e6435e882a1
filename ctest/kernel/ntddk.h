/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bridge to MinGW-w64's DDK, for images that run in a kernel: its ntddk.h, and what that lacks. It stands before
 * the DDK's own directory on the include path. Written for Microsoft's compilers, the DDK leaves unsaid what their
 * volatile says besides: that no other access is moved across it.
 */
#ifndef AERO_KERNEL_NTDDK_H
#define AERO_KERNEL_NTDDK_H

/* x64 has none. x86's is an xchg with the stack, of which the compiler hears nothing: it is put out of the way. */
#define KeMemoryBarrier AeroDdkKeMemoryBarrier
#include_next <ntddk.h>
#undef KeMemoryBarrier

/* A full barrier to processor and compiler: a locked instruction. */
static __inline VOID KeMemoryBarrier(VOID)
{
    __sync_synchronize();
}

/*
 * Register accessors. On x86 they are the kernel's functions, declared without volatile. On x64 they are a plain
 * volatile access each, past which the compiler moves what isn't volatile, and READ_REGISTER_BUFFER_UCHAR copies in
 * the wrong direction. Any IRQL.
 */
#ifdef _WIN64
#define AERO_DDK_READ(Name, Type)                                         \
    static __inline Type AeroDdkRead##Name(const volatile Type *Register) \
    {                                                                     \
        Type Value;                                                       \
                                                                          \
        _ReadWriteBarrier();                                              \
        Value = *Register;                                                \
        _ReadWriteBarrier();                                              \
        return Value;                                                     \
    }
#define AERO_DDK_WRITE(Name, Type)                                                    \
    static __inline VOID AeroDdkWrite##Name(volatile Type *Register, Type Value)      \
    {                                                                                 \
        _ReadWriteBarrier();                                                          \
        *Register = Value;                                                            \
        __sync_synchronize(); /* as the DDK has it: the store leaves the processor */ \
    }
#else
#define AERO_DDK_READ(Name, Type)                                         \
    static __inline Type AeroDdkRead##Name(const volatile Type *Register) \
    {                                                                     \
        return READ_REGISTER_##Name((Type *)Register);                    \
    }
#define AERO_DDK_WRITE(Name, Type)                                               \
    static __inline VOID AeroDdkWrite##Name(volatile Type *Register, Type Value) \
    {                                                                            \
        WRITE_REGISTER_##Name((Type *)Register, Value);                          \
    }
#endif

AERO_DDK_READ(UCHAR, UCHAR)
AERO_DDK_READ(USHORT, USHORT)
AERO_DDK_READ(ULONG, ULONG)
AERO_DDK_WRITE(UCHAR, UCHAR)
AERO_DDK_WRITE(USHORT, USHORT)
AERO_DDK_WRITE(ULONG, ULONG)
#define READ_REGISTER_UCHAR   AeroDdkReadUCHAR
#define READ_REGISTER_USHORT  AeroDdkReadUSHORT
#define READ_REGISTER_ULONG   AeroDdkReadULONG
#define WRITE_REGISTER_UCHAR  AeroDdkWriteUCHAR
#define WRITE_REGISTER_USHORT AeroDdkWriteUSHORT
#define WRITE_REGISTER_ULONG  AeroDdkWriteULONG

static __inline VOID AeroDdkReadBufferUchar(const volatile UCHAR *Register, PUCHAR Buffer, ULONG Count)
{
    for (; Count != 0; Count--)
        *Buffer++ = READ_REGISTER_UCHAR(Register++);
}

static __inline VOID AeroDdkWriteBufferUchar(volatile UCHAR *Register, const UCHAR *Buffer, ULONG Count)
{
    for (; Count != 0; Count--)
        WRITE_REGISTER_UCHAR(Register++, *Buffer++);
}
#define READ_REGISTER_BUFFER_UCHAR  AeroDdkReadBufferUchar
#define WRITE_REGISTER_BUFFER_UCHAR AeroDdkWriteBufferUchar

/* The WDK's wdm.h has them; on x86 they are nothing there. */
#undef PreFetchCacheLine
#undef PrefetchForWrite
#ifdef _WIN64
#undef PF_TEMPORAL_LEVEL_1
#define PF_TEMPORAL_LEVEL_1               3
#define PreFetchCacheLine(Level, Address) __builtin_prefetch((const void *)(Address), 0, (Level))
#define PrefetchForWrite(Address)         __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(Address)))
#else
#define PreFetchCacheLine(Level, Address) ((void)(Address))
#define PrefetchForWrite(Address)         ((void)(Address))
#endif

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Stands in for the Windows 7 DDK's ntddk.h where a driver is compiled for user mode: real names, real
 * widths, real status values, and only what this project's drivers need. C90 with GNU attributes, C11 and
 * C++.
 *
 * It never meets windows.h in one translation unit. Behind every function is one simulated machine
 * (aero_nt.h); the calling thread must be one of its virtual CPUs. Each function names the IRQL up to which
 * it may be called; a call that breaks a rule is reported to the machine (rule names in aero_nt.h) and then
 * does the least harmful thing.
 *
 * "Interruption point" below: a call at which the virtual CPU takes a pending device interrupt, and timers
 * that are due, if its IRQL lets it. Register accesses, spin locks, KeSetEvent and a falling IRQL look for
 * timers only every now and then, where the machine's clock is real.
 */
#ifndef AERO_NT_NTDDK_H
#define AERO_NT_NTDDK_H

#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Compiler ------------------------------------------------------------------------------------------ */

#ifdef __i386__
#define NTAPI __attribute__((__stdcall__))
#else
#define NTAPI
#endif
#define FASTCALL
#define NTKERNELAPI
#define NTHALAPI
#define NTSYSAPI

#define IN
#define OUT
#define OPTIONAL
#define CONST const

#define FORCEINLINE static __inline__ __attribute__((__always_inline__, __unused__))

#define DECLSPEC_NOINLINE                       __attribute__((__noinline__))
#define DECLSPEC_ALIGN(Bytes)                   __attribute__((__aligned__(Bytes)))
#define UNREFERENCED_PARAMETER(Parameter)       ((void)(Parameter))
#define FIELD_OFFSET(Type, Field)               ((LONG)offsetof(Type, Field))
#define CONTAINING_RECORD(Address, Type, Field) ((Type *)(void *)((char *)(Address)-offsetof(Type, Field)))
#define RTL_NUMBER_OF(Array)                    (sizeof(Array) / sizeof((Array)[0]))
/* A declaration that may stand any number of times: a typedef named by its line would clash with another header's. */
#define C_ASSERT(Condition)                     extern void AeroNtAssert(int Holds[(Condition) ? 1 : -1])

/* ---- Types --------------------------------------------------------------------------------------------- */

#define VOID void
typedef void *PVOID;
typedef char CHAR, *PCHAR, CCHAR;
typedef const char *PCSTR;
typedef unsigned char UCHAR, *PUCHAR;
typedef short SHORT, *PSHORT;
typedef unsigned short USHORT, *PUSHORT;
typedef unsigned short WCHAR, *PWCHAR;
typedef int LONG, *PLONG;
typedef unsigned int ULONG, *PULONG;
/* Aligned as in Windows, for structures to be laid out as there; the System V ABI of i386 has 4. */
__extension__ typedef long long LONGLONG DECLSPEC_ALIGN(8), *PLONGLONG;
__extension__ typedef unsigned long long ULONGLONG DECLSPEC_ALIGN(8), *PULONGLONG;
typedef LONGLONG LONG64;
typedef ULONGLONG ULONG64, *PULONG64;
typedef __INTPTR_TYPE__ LONG_PTR, *PLONG_PTR;
typedef __UINTPTR_TYPE__ ULONG_PTR, *PULONG_PTR;
typedef ULONG_PTR SIZE_T, *PSIZE_T;
typedef UCHAR BOOLEAN, *PBOOLEAN;
typedef ULONG_PTR KAFFINITY, *PKAFFINITY;
typedef LONG KPRIORITY;
typedef CCHAR KPROCESSOR_MODE;
typedef UCHAR KIRQL, *PKIRQL;
typedef LONG NTSTATUS, *PNTSTATUS;

#define FALSE     ((BOOLEAN)0)
#define TRUE      ((BOOLEAN)1)
#define MAXUCHAR  0xFFu
#define MAXUSHORT 0xFFFFu
#define MAXULONG  0xFFFFFFFFu

typedef union _LARGE_INTEGER {
    __extension__ struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER, PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef union _ULARGE_INTEGER {
    __extension__ struct {
        ULONG LowPart;
        ULONG HighPart;
    };
    struct {
        ULONG LowPart;
        ULONG HighPart;
    } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

C_ASSERT(sizeof(ULONG) == 4);
C_ASSERT(sizeof(ULONGLONG) == 8);
C_ASSERT(sizeof(ULONG_PTR) == sizeof(PVOID));
C_ASSERT(sizeof(LARGE_INTEGER) == 8);

/* ---- Status values ------------------------------------------------------------------------------------- */

#define NT_SUCCESS(Status) (((NTSTATUS)(Status)) >= 0)

#define STATUS_SUCCESS                ((NTSTATUS)0x00000000)
#define STATUS_TIMEOUT                ((NTSTATUS)0x00000102)
#define STATUS_PENDING                ((NTSTATUS)0x00000103)
#define STATUS_NO_MORE_ENTRIES        ((NTSTATUS)0x8000001A)
#define STATUS_DEVICE_BUSY            ((NTSTATUS)0x80000011)
#define STATUS_UNSUCCESSFUL           ((NTSTATUS)0xC0000001)
#define STATUS_NOT_IMPLEMENTED        ((NTSTATUS)0xC0000002)
#define STATUS_INVALID_PARAMETER      ((NTSTATUS)0xC000000D)
#define STATUS_NO_SUCH_DEVICE         ((NTSTATUS)0xC000000E)
#define STATUS_INVALID_DEVICE_REQUEST ((NTSTATUS)0xC0000010)
#define STATUS_BUFFER_TOO_SMALL       ((NTSTATUS)0xC0000023)
#define STATUS_REVISION_MISMATCH      ((NTSTATUS)0xC0000059)
#define STATUS_DATA_ERROR             ((NTSTATUS)0xC000003E)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_DEVICE_NOT_CONNECTED   ((NTSTATUS)0xC000009D)
#define STATUS_DEVICE_NOT_READY       ((NTSTATUS)0xC00000A3)
#define STATUS_IO_TIMEOUT             ((NTSTATUS)0xC00000B5)
#define STATUS_NOT_SUPPORTED          ((NTSTATUS)0xC00000BB)
#define STATUS_CANCELLED              ((NTSTATUS)0xC0000120)
#define STATUS_INVALID_DEVICE_STATE   ((NTSTATUS)0xC0000184)
#define STATUS_IO_DEVICE_ERROR        ((NTSTATUS)0xC0000185)
#define STATUS_DEVICE_PROTOCOL_ERROR  ((NTSTATUS)0xC0000186)
#define STATUS_BUFFER_OVERFLOW        ((NTSTATUS)0x80000005)
#define STATUS_NOT_FOUND              ((NTSTATUS)0xC0000225)
#define STATUS_DEVICE_REMOVED         ((NTSTATUS)0xC00002B6)

/* ---- IRQL: one a virtual CPU --------------------------------------------------------------------------- */

#define PASSIVE_LEVEL  0
#define LOW_LEVEL      0
#define APC_LEVEL      1
#define DISPATCH_LEVEL 2
#ifdef __i386__
#define CLOCK_LEVEL 28
#define IPI_LEVEL   29
#define POWER_LEVEL 30
#define HIGH_LEVEL  31
#else
#define CLOCK_LEVEL 13
#define IPI_LEVEL   14
#define POWER_LEVEL 14
#define HIGH_LEVEL  15
#endif

KIRQL NTAPI KeGetCurrentIrql(VOID); /* any */

/* To the same or a higher IRQL; answers the old one. */
KIRQL NTAPI KfRaiseIrql(KIRQL NewIrql);
#define KeRaiseIrql(NewIrql, OldIrql) (*(OldIrql) = KfRaiseIrql(NewIrql))

/*
 * To the same or a lower IRQL, holding no lock that needs the present one. Interruption point; runs queued
 * DPCs.
 */
VOID NTAPI KeLowerIrql(KIRQL NewIrql);

/* ---- Device registers: any IRQL; each access is an interruption point, taken before it ----------------- */

UCHAR NTAPI READ_REGISTER_UCHAR(const volatile UCHAR *Register);
USHORT NTAPI READ_REGISTER_USHORT(const volatile USHORT *Register);
ULONG NTAPI READ_REGISTER_ULONG(const volatile ULONG *Register);
VOID NTAPI WRITE_REGISTER_UCHAR(volatile UCHAR *Register, UCHAR Value);
VOID NTAPI WRITE_REGISTER_USHORT(volatile USHORT *Register, USHORT Value);
VOID NTAPI WRITE_REGISTER_ULONG(volatile ULONG *Register, ULONG Value);

/* Count accesses of one byte each, at rising addresses. */
VOID NTAPI READ_REGISTER_BUFFER_UCHAR(const volatile UCHAR *Register, PUCHAR Buffer, ULONG Count);
VOID NTAPI WRITE_REGISTER_BUFFER_UCHAR(volatile UCHAR *Register, const UCHAR *Buffer, ULONG Count);

/* ---- Barriers and interlocked operations: any IRQL ----------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
#define AERO_NT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AERO_NT_TSAN 1
#endif
#endif
#ifndef AERO_NT_TSAN
#define AERO_NT_TSAN 0
#endif

#if AERO_NT_TSAN
/* ThreadSanitizer models no fences: all full barriers meet in this word instead. */
extern ULONG AeroNtBarrierWord;
#endif

FORCEINLINE VOID KeMemoryBarrier(VOID)
{
#if AERO_NT_TSAN
    __atomic_fetch_add(&AeroNtBarrierWord, 1u, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* As the WDK has it: nothing on x86, not all of whose processors know it. */
#ifdef __x86_64__
#define PF_TEMPORAL_LEVEL_1               3
#define PreFetchCacheLine(Level, Address) __builtin_prefetch((const void *)(Address), 0, (Level))
#define PrefetchForWrite(Address)         __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(Address)))
#else
#define PreFetchCacheLine(Level, Address) ((void)(Address))
#define PrefetchForWrite(Address)         ((void)(Address))
#endif

FORCEINLINE LONG InterlockedIncrement(volatile LONG *Addend)
{
    return __atomic_add_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedDecrement(volatile LONG *Addend)
{
    return __atomic_sub_fetch(Addend, 1, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedExchange(volatile LONG *Target, LONG Value)
{
    return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedExchangeAdd(volatile LONG *Addend, LONG Value)
{
    return __atomic_fetch_add(Addend, Value, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedOr(volatile LONG *Destination, LONG Value)
{
    return __atomic_fetch_or(Destination, Value, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedAnd(volatile LONG *Destination, LONG Value)
{
    return __atomic_fetch_and(Destination, Value, __ATOMIC_SEQ_CST);
}

FORCEINLINE LONG InterlockedCompareExchange(volatile LONG *Destination, LONG Exchange, LONG Comparand)
{
    __atomic_compare_exchange_n(Destination, &Comparand, Exchange, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return Comparand;
}

/* ---- Memory shared with a device: predefines what aero_virtio_shared.h takes --------------------------- */
/*
 * The pointers are of type USHORT *, ULONG * and ULONGLONG *, naturally aligned. READ and WRITE are relaxed.
 * On i386 a 64-bit access is two of 32 bits, so it may tear: descriptors are published by a later release.
 */

FORCEINLINE USHORT AeroNtSharedRead16(const volatile USHORT *Address)
{
    return __atomic_load_n(Address, __ATOMIC_RELAXED);
}

FORCEINLINE USHORT AeroNtSharedRead16Acquire(const volatile USHORT *Address)
{
    return __atomic_load_n(Address, __ATOMIC_ACQUIRE);
}

FORCEINLINE ULONG AeroNtSharedRead32(const volatile ULONG *Address)
{
    return __atomic_load_n(Address, __ATOMIC_RELAXED);
}

FORCEINLINE VOID AeroNtSharedWrite16(volatile USHORT *Address, USHORT Value)
{
    __atomic_store_n(Address, Value, __ATOMIC_RELAXED);
}

FORCEINLINE VOID AeroNtSharedWrite16Release(volatile USHORT *Address, USHORT Value)
{
    __atomic_store_n(Address, Value, __ATOMIC_RELEASE);
}

FORCEINLINE VOID AeroNtSharedWrite32(volatile ULONG *Address, ULONG Value)
{
    __atomic_store_n(Address, Value, __ATOMIC_RELAXED);
}

#ifdef __i386__
typedef ULONG __attribute__((__may_alias__)) AERO_NT_HALF;

FORCEINLINE ULONGLONG AeroNtSharedRead64(const volatile ULONGLONG *Address)
{
    const volatile AERO_NT_HALF *Half = (const volatile AERO_NT_HALF *)Address;
    ULONG Low = __atomic_load_n(&Half[0], __ATOMIC_RELAXED);
    ULONG High = __atomic_load_n(&Half[1], __ATOMIC_RELAXED);

    return ((ULONGLONG)High << 32) | Low;
}

FORCEINLINE VOID AeroNtSharedWrite64(volatile ULONGLONG *Address, ULONGLONG Value)
{
    volatile AERO_NT_HALF *Half = (volatile AERO_NT_HALF *)Address;

    __atomic_store_n(&Half[0], (ULONG)Value, __ATOMIC_RELAXED);
    __atomic_store_n(&Half[1], (ULONG)(Value >> 32), __ATOMIC_RELAXED);
}
#else
FORCEINLINE ULONGLONG AeroNtSharedRead64(const volatile ULONGLONG *Address)
{
    return __atomic_load_n(Address, __ATOMIC_RELAXED);
}

FORCEINLINE VOID AeroNtSharedWrite64(volatile ULONGLONG *Address, ULONGLONG Value)
{
    __atomic_store_n(Address, Value, __ATOMIC_RELAXED);
}
#endif

#define AERO_VIRTIO_SHARED_READ16(p)             AeroNtSharedRead16(p)
#define AERO_VIRTIO_SHARED_READ32(p)             AeroNtSharedRead32(p)
#define AERO_VIRTIO_SHARED_READ64(p)             AeroNtSharedRead64(p)
#define AERO_VIRTIO_SHARED_WRITE16(p, v)         AeroNtSharedWrite16((p), (v))
#define AERO_VIRTIO_SHARED_WRITE32(p, v)         AeroNtSharedWrite32((p), (v))
#define AERO_VIRTIO_SHARED_WRITE64(p, v)         AeroNtSharedWrite64((p), (v))
#define AERO_VIRTIO_SHARED_READ16_ACQUIRE(p)     AeroNtSharedRead16Acquire(p)
#define AERO_VIRTIO_SHARED_WRITE16_RELEASE(p, v) AeroNtSharedWrite16Release((p), (v))
#define AERO_VIRTIO_SHARED_BARRIER()             KeMemoryBarrier()

/* ---- Lists: any IRQL; the caller serialises ------------------------------------------------------------ */

FORCEINLINE VOID InitializeListHead(PLIST_ENTRY ListHead)
{
    ListHead->Flink = ListHead->Blink = ListHead;
}

FORCEINLINE BOOLEAN IsListEmpty(const LIST_ENTRY *ListHead)
{
    return ListHead->Flink == ListHead;
}

FORCEINLINE VOID InsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry)
{
    PLIST_ENTRY Last = ListHead->Blink;

    Entry->Flink = ListHead;
    Entry->Blink = Last;
    Last->Flink = Entry;
    ListHead->Blink = Entry;
}

/* TRUE: the list is empty now. */
FORCEINLINE BOOLEAN RemoveEntryList(PLIST_ENTRY Entry)
{
    PLIST_ENTRY Next = Entry->Flink;
    PLIST_ENTRY Previous = Entry->Blink;

    Previous->Flink = Next;
    Next->Blink = Previous;
    return Next == Previous;
}

/* ---- Spin locks ---------------------------------------------------------------------------------------- */

typedef ULONG_PTR KSPIN_LOCK, *PKSPIN_LOCK; /* 0: free; else a tag of the virtual CPU that holds it */

VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock); /* any; any thread */

/*
 * Up to DISPATCH_LEVEL, where it stays until the release. Not recursive. Both are interruption points: a
 * device interrupt outranks DISPATCH_LEVEL. The x86 kernel exports no KeAcquireSpinLockRaiseToDpc, so there
 * is none here.
 */
VOID NTAPI KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql);
VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql);

/* At DISPATCH_LEVEL exactly; IRQL doesn't change. */
VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);
VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock);

/* ---- DPCs ---------------------------------------------------------------------------------------------- */

struct _KDPC;
typedef VOID NTAPI KDEFERRED_ROUTINE(struct _KDPC *Dpc, PVOID DeferredContext, PVOID SystemArgument1,
                                     PVOID SystemArgument2);
typedef KDEFERRED_ROUTINE *PKDEFERRED_ROUTINE;

typedef struct _KDPC {
    UCHAR Type;
    UCHAR Importance;
    volatile USHORT Number;
    LIST_ENTRY DpcListEntry;
    PKDEFERRED_ROUTINE DeferredRoutine;
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID volatile DpcData; /* the virtual CPU that it is queued on, or NULL */
} KDPC, *PKDPC, *PRKDPC;

/* Any IRQL, any thread. */
VOID NTAPI KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);

/*
 * Any IRQL. Queues it to the calling CPU; FALSE, and the arguments are dropped, where it is queued already.
 */
BOOLEAN NTAPI KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2);

/* Any IRQL. TRUE: it was queued and won't run. */
BOOLEAN NTAPI KeRemoveQueueDpc(PRKDPC Dpc);

/* PASSIVE_LEVEL. Returns when every DPC queued so far, on any CPU, has run. */
VOID NTAPI KeFlushQueuedDpcs(VOID);

/* ---- Events -------------------------------------------------------------------------------------------- */

typedef enum _EVENT_TYPE { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef enum _KWAIT_REASON { Executive = 0, DelayExecution = 4, UserRequest = 6 } KWAIT_REASON;
enum { KernelMode = 0, UserMode = 1 };

typedef struct _DISPATCHER_HEADER {
    UCHAR Type;
    UCHAR Signalling;
    UCHAR Size;
    UCHAR Inserted;
    volatile LONG SignalState;
    LIST_ENTRY WaitListHead;
} DISPATCHER_HEADER;

typedef struct _KEVENT {
    DISPATCHER_HEADER Header;
} KEVENT, *PKEVENT, *PRKEVENT;

#define IO_NO_INCREMENT 0

/* Any IRQL, any thread. */
VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State);

/*
 * DISPATCH_LEVEL, all four; Wait must be FALSE. Setting is an interruption point. They answer the old state.
 */
LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait);
VOID NTAPI KeClearEvent(PRKEVENT Event);
LONG NTAPI KeResetEvent(PRKEVENT Event);
LONG NTAPI KeReadStateEvent(PRKEVENT Event);

/* ---- Timers -------------------------------------------------------------------------------------------- */
/*
 * A timer that is set belongs to the CPU that set it. Once it is due it expires at that CPU's next
 * interruption point below DISPATCH_LEVEL (a CPU that waits wakes for it): it is signalled, and its DPC is
 * queued to that CPU. It must stay where it is until it has expired or is cancelled.
 */
typedef enum _TIMER_TYPE { NotificationTimer, SynchronizationTimer } TIMER_TYPE;

typedef struct _KTIMER {
    DISPATCHER_HEADER Header;
    ULARGE_INTEGER DueTime; /* this and what follows is the real one's layout; nobody reads it here */
    LIST_ENTRY TimerListEntry;
    struct _KDPC *Dpc;
#ifndef __i386__
    ULONG Processor;
#endif
    ULONG Period;
} KTIMER, *PKTIMER, *PRKTIMER;

/* Any IRQL, any thread; the timer isn't set. KeInitializeTimer makes a NotificationTimer. */
VOID NTAPI KeInitializeTimer(PKTIMER Timer);
VOID NTAPI KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type);

/*
 * DISPATCH_LEVEL, all of the following. Setting clears the signal, and sets anew what is set already: TRUE.
 * DueTime in 100 ns, negative: from now, else a system time; one that has gone by expires inside the call.
 * Period in ms, 0: once; a periodic timer stays in step with its first due time, and periods that went by
 * while it couldn't expire count as one. Dpc NULL: none. Both are interruption points.
 */
BOOLEAN NTAPI KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PRKDPC Dpc);
BOOLEAN NTAPI KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PRKDPC Dpc);

/*
 * TRUE: it was set and won't expire; a periodic one always is. Leaves the signal, and a DPC that is queued,
 * as they are: KeRemoveQueueDpc or KeFlushQueuedDpcs sees to that one.
 */
BOOLEAN NTAPI KeCancelTimer(PKTIMER Timer);

/* Is it signalled? Interruption point. */
BOOLEAN NTAPI KeReadStateTimer(PKTIMER Timer);

/* ---- Waits --------------------------------------------------------------------------------------------- */

/*
 * Object is a KEVENT or a KTIMER. Timeout in 100 ns, negative: from now, NULL: for ever (bounded by the
 * machine's max_wait_ns). Up to APC_LEVEL, or DISPATCH_LEVEL with a timeout of zero; with no spin lock held.
 * The time-out is real time, whatever the machine's clock, for who signals the object may be another thread;
 * a virtual clock moves by the time-out once it is over, and meanwhile to each timer that is due by then. But
 * a wait for a timer that is set moves a virtual clock at once, as a delay does.
 * STATUS_SUCCESS or STATUS_TIMEOUT. Interruption point throughout.
 */
NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode,
                                     BOOLEAN Alertable, PLARGE_INTEGER Timeout);

/*
 * Up to APC_LEVEL, with no spin lock held. Interval in 100 ns, negative: from now. Interruption point
 * throughout.
 */
NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Interval);

/* Any IRQL; at most 50 us a call. Interruption point, with 0 too. */
VOID NTAPI KeStallExecutionProcessor(ULONG MicroSeconds);

/* ---- Clock: any IRQL; the machine's, real or virtual --------------------------------------------------- */

LARGE_INTEGER NTAPI KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency); /* 10 MHz */
ULONGLONG NTAPI KeQueryInterruptTime(VOID);               /* 100 ns since the machine began */
VOID NTAPI KeQuerySystemTime(PLARGE_INTEGER CurrentTime); /* 100 ns since 1601 */
ULONG NTAPI KeQueryTimeIncrement(VOID);                   /* 156250 */

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

struct _KINTERRUPT;
typedef struct _KINTERRUPT KINTERRUPT, *PKINTERRUPT;
typedef BOOLEAN NTAPI KSERVICE_ROUTINE(struct _KINTERRUPT *Interrupt, PVOID ServiceContext);
typedef KSERVICE_ROUTINE *PKSERVICE_ROUTINE;
typedef BOOLEAN NTAPI KSYNCHRONIZE_ROUTINE(PVOID SynchronizeContext);
typedef KSYNCHRONIZE_ROUTINE *PKSYNCHRONIZE_ROUTINE;
typedef enum _KINTERRUPT_MODE { LevelSensitive, Latched } KINTERRUPT_MODE;

/*
 * Both at PASSIVE_LEVEL. Vector and Irql are those of aero_nt_attach; the mode is LevelSensitive;
 * SynchronizeIrql >= Irql; ProcessorEnableMask includes the CPU that the line goes to.
 * STATUS_INVALID_PARAMETER: one of these isn't so, or the vector is connected already and one of the two
 * doesn't share. STATUS_INSUFFICIENT_RESOURCES. SpinLock NULL: the object's own.
 */
NTSTATUS NTAPI IoConnectInterrupt(PKINTERRUPT *InterruptObject, PKSERVICE_ROUTINE ServiceRoutine,
                                  PVOID ServiceContext, PKSPIN_LOCK SpinLock, ULONG Vector, KIRQL Irql,
                                  KIRQL SynchronizeIrql, KINTERRUPT_MODE InterruptMode, BOOLEAN ShareVector,
                                  KAFFINITY ProcessorEnableMask, BOOLEAN FloatingSave);
VOID NTAPI IoDisconnectInterrupt(PKINTERRUPT InterruptObject);

/* Up to SynchronizeIrql. Calls the routine at SynchronizeIrql with the interrupt's spin lock held. */
BOOLEAN NTAPI KeSynchronizeExecution(PKINTERRUPT Interrupt, PKSYNCHRONIZE_ROUTINE SynchronizeRoutine,
                                     PVOID SynchronizeContext);
KIRQL NTAPI KeAcquireInterruptSpinLock(PKINTERRUPT Interrupt);
VOID NTAPI KeReleaseInterruptSpinLock(PKINTERRUPT Interrupt, KIRQL OldIrql);

/* ---- Memory -------------------------------------------------------------------------------------------- */

typedef enum _MEMORY_CACHING_TYPE { MmNonCached = 0, MmCached = 1, MmWriteCombined = 2 } MEMORY_CACHING_TYPE;

#define PAGE_SIZE  4096u
#define PAGE_SHIFT 12

/*
 * PASSIVE_LEVEL, all four. Page-aligned, filled with a pattern; NULL: no such run of pages. Lowest address
 * first.
 */
PVOID NTAPI MmAllocateContiguousMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress);
PVOID NTAPI MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes,
                                                   PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                   PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                   PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                                   MEMORY_CACHING_TYPE CacheType);
VOID NTAPI MmFreeContiguousMemory(PVOID BaseAddress);
VOID NTAPI MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, SIZE_T NumberOfBytes,
                                              MEMORY_CACHING_TYPE CacheType);

/*
 * Any IRQL. Of an address in contiguous memory; pool and stack have none here. 0, and a report, where there
 * is none.
 */
PHYSICAL_ADDRESS NTAPI MmGetPhysicalAddress(PVOID BaseAddress);

/*
 * DISPATCH_LEVEL, both. A part of an attached device's BAR0; the address is good for READ_/WRITE_REGISTER_*
 * alone.
 */
PVOID NTAPI MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes,
                         MEMORY_CACHING_TYPE CacheType);
VOID NTAPI MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes);

typedef enum _POOL_TYPE { NonPagedPool = 0, PagedPool = 1 } POOL_TYPE;

/*
 * DISPATCH_LEVEL; PagedPool APC_LEVEL. Filled with a pattern; the tag isn't zero, and the free names the same
 * one.
 */
PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
VOID NTAPI ExFreePoolWithTag(PVOID P, ULONG Tag);

#define RtlZeroMemory(Destination, Length)         memset((Destination), 0, (Length))
#define RtlFillMemory(Destination, Length, Fill)   memset((Destination), (Fill), (Length))
#define RtlCopyMemory(Destination, Source, Length) memcpy((Destination), (Source), (Length))
#define RtlMoveMemory(Destination, Source, Length) memmove((Destination), (Source), (Length))
/* How many bytes are equal, from the first on. */
SIZE_T NTAPI RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length);

/* ---- PCI configuration space: DISPATCH_LEVEL ----------------------------------------------------------- */

typedef enum _BUS_DATA_TYPE { PCIConfiguration = 4 } BUS_DATA_TYPE;

typedef struct _PCI_SLOT_NUMBER {
    union {
        struct {
            ULONG DeviceNumber : 5;
            ULONG FunctionNumber : 3;
            ULONG Reserved : 24;
        } bits;
        ULONG AsULONG;
    } u;
} PCI_SLOT_NUMBER, *PPCI_SLOT_NUMBER;

/* Bytes moved; 0: no such bus; 2, with 0xFFFF as vendor id: no device in that slot. */
ULONG NTAPI HalGetBusDataByOffset(BUS_DATA_TYPE BusDataType, ULONG BusNumber, ULONG SlotNumber, PVOID Buffer,
                                  ULONG Offset, ULONG Length);
ULONG NTAPI HalSetBusDataByOffset(BUS_DATA_TYPE BusDataType, ULONG BusNumber, ULONG SlotNumber, PVOID Buffer,
                                  ULONG Offset, ULONG Length);

/* ---- Processors, debugging: any IRQL ------------------------------------------------------------------- */

ULONG NTAPI KeGetCurrentProcessorNumber(VOID);
ULONG NTAPI KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors);
#define KeNumberProcessors ((CCHAR)KeQueryActiveProcessorCount(NULL))

/* Reported under rule BUGCHECK. Without a breach callback the process aborts; with one it returns. */
VOID NTAPI KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR Parameter1, ULONG_PTR Parameter2, ULONG_PTR Parameter3,
                        ULONG_PTR Parameter4);
VOID NTAPI RtlAssert(PCSTR FailedAssertion, PCSTR FileName, ULONG LineNumber, PCSTR Message);
ULONG DbgPrint(PCSTR Format, ...) __attribute__((__format__(__printf__, 1, 2))); /* to stderr */

#define ASSERT(Condition) ((Condition) ? (void)0 : RtlAssert(#Condition, __FILE__, __LINE__, NULL))
#define ASSERTMSG(Message, Condition) \
    ((Condition) ? (void)0 : RtlAssert(#Condition, __FILE__, __LINE__, (Message)))
#define NT_ASSERT(Condition) ASSERT(Condition)

#ifdef __cplusplus
}
#endif

#endif

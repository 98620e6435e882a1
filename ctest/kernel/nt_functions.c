/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Each function that the stand-in's ntddk.h supplies, called as a driver calls it. Compiled with the stand-in and with
 * the DDK alike, so what a driver may call in one it may call in the other, and linked into an image, so that Windows
 * 7's kernel is known to have it. Never run.
 */
#include <ntddk.h>

#define TAG 0x6F726541u /* "Aero" */

typedef struct _DEVICE {
    volatile UCHAR *Bytes;
    volatile USHORT *Words;
    volatile ULONG *Longs;
    KSPIN_LOCK Lock;
    KDPC Dpc;
    KEVENT Event;
    KTIMER Timer;
    PKINTERRUPT Interrupt;
    volatile LONG Count;
} DEVICE;

static KDEFERRED_ROUTINE DeviceDpc;
static KSERVICE_ROUTINE DeviceIsr;
static KSYNCHRONIZE_ROUTINE DeviceSynchronized;
ULONG DeviceTryAll(DEVICE *Device, PUCHAR Buffer);

static VOID NTAPI DeviceDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    DEVICE *Device = (DEVICE *)Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeAcquireSpinLockAtDpcLevel(&Device->Lock);
    KeReleaseSpinLockFromDpcLevel(&Device->Lock);
    (VOID) KeSetEvent(&Device->Event, IO_NO_INCREMENT, FALSE);
}

static BOOLEAN NTAPI DeviceIsr(PKINTERRUPT Interrupt, PVOID Context)
{
    DEVICE *Device = (DEVICE *)Context;

    UNREFERENCED_PARAMETER(Interrupt);
    return KeInsertQueueDpc(&Device->Dpc, NULL, NULL);
}

static BOOLEAN NTAPI DeviceSynchronized(PVOID Context)
{
    return (BOOLEAN)(Context != NULL);
}

static ULONG TryRegisters(DEVICE *Device, PUCHAR Buffer)
{
    ULONG Sum;

    Sum = READ_REGISTER_UCHAR(Device->Bytes);
    Sum += READ_REGISTER_USHORT(Device->Words);
    Sum += READ_REGISTER_ULONG(Device->Longs);
    WRITE_REGISTER_UCHAR(Device->Bytes, 1);
    WRITE_REGISTER_USHORT(Device->Words, 1);
    WRITE_REGISTER_ULONG(Device->Longs, 1);
    READ_REGISTER_BUFFER_UCHAR(Device->Bytes, Buffer, 3);
    WRITE_REGISTER_BUFFER_UCHAR(Device->Bytes, Buffer, 3);
    KeMemoryBarrier();
    Sum += (ULONG)InterlockedIncrement(&Device->Count) + (ULONG)InterlockedDecrement(&Device->Count);
    Sum += (ULONG)InterlockedExchange(&Device->Count, 1) + (ULONG)InterlockedExchangeAdd(&Device->Count, 1);
    Sum += (ULONG)InterlockedCompareExchange(&Device->Count, 1, 2);
    Sum += (ULONG)InterlockedOr(&Device->Count, 1) + (ULONG)InterlockedAnd(&Device->Count, 1);
    return Sum;
}

static VOID TryIrql(DEVICE *Device)
{
    KIRQL Old = KeGetCurrentIrql();

    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeLowerIrql(Old);
    Old = KfRaiseIrql(HIGH_LEVEL);
    KeLowerIrql(Old);
    KeInitializeSpinLock(&Device->Lock);
    KeAcquireSpinLock(&Device->Lock, &Old);
    KeReleaseSpinLock(&Device->Lock, Old);
}

static ULONG TryWaits(DEVICE *Device)
{
    LARGE_INTEGER Time, Frequency;
    ULONG Sum = 0;

    KeInitializeEvent(&Device->Event, NotificationEvent, FALSE);
    KeClearEvent(&Device->Event);
    Sum += (ULONG)KeResetEvent(&Device->Event) + (ULONG)KeReadStateEvent(&Device->Event);
    Time.QuadPart = -10000;
    Sum += (ULONG)KeWaitForSingleObject(&Device->Event, Executive, KernelMode, FALSE, &Time);
    Sum += (ULONG)KeDelayExecutionThread(KernelMode, FALSE, &Time);
    KeStallExecutionProcessor(50);
    Time = KeQueryPerformanceCounter(&Frequency);
    Sum += Time.LowPart + (ULONG)KeQueryInterruptTime() + KeQueryTimeIncrement();
    KeQuerySystemTime(&Time);
    return Sum + Time.LowPart;
}

static ULONG TryTimers(DEVICE *Device)
{
    LARGE_INTEGER Due;
    ULONG Sum = 0;

    Due.QuadPart = -10000;
    KeInitializeTimer(&Device->Timer);
    KeInitializeTimerEx(&Device->Timer, SynchronizationTimer);
    Sum += KeSetTimer(&Device->Timer, Due, &Device->Dpc);
    Sum += KeSetTimerEx(&Device->Timer, Due, 100, &Device->Dpc);
    Sum += (ULONG)KeWaitForSingleObject(&Device->Timer, Executive, KernelMode, FALSE, NULL);
    return Sum + KeReadStateTimer(&Device->Timer) + KeCancelTimer(&Device->Timer);
}

static ULONG TryLists(VOID)
{
    LIST_ENTRY Head, Entry;

    InitializeListHead(&Head);
    InsertTailList(&Head, &Entry);
    return (ULONG)RemoveEntryList(&Entry) + (ULONG)IsListEmpty(&Head);
}

static ULONG TryInterrupts(DEVICE *Device)
{
    KIRQL Old;
    ULONG Sum = 0;

    KeInitializeDpc(&Device->Dpc, DeviceDpc, Device);
    if (!NT_SUCCESS(IoConnectInterrupt(&Device->Interrupt, DeviceIsr, Device, NULL, 16, 5, 5, LevelSensitive,
                                       TRUE, 1, FALSE)))
        return 0;
    Sum += KeSynchronizeExecution(Device->Interrupt, DeviceSynchronized, Device);
    Old = KeAcquireInterruptSpinLock(Device->Interrupt);
    KeReleaseInterruptSpinLock(Device->Interrupt, Old);
    IoDisconnectInterrupt(Device->Interrupt);
    Sum += KeRemoveQueueDpc(&Device->Dpc);
    KeFlushQueuedDpcs();
    return Sum;
}

static ULONG TryMemory(PUCHAR Buffer)
{
    PHYSICAL_ADDRESS Lowest, Highest, Boundary;
    PUCHAR Memory;
    ULONG Sum = 0;

    Lowest.QuadPart = 0;
    Highest.QuadPart = -1;
    Boundary.QuadPart = 0;
    MmFreeContiguousMemory(MmAllocateContiguousMemory(PAGE_SIZE, Highest));
    Memory = (PUCHAR)MmAllocateContiguousMemorySpecifyCache(PAGE_SIZE, Lowest, Highest, Boundary, MmCached);
    Lowest = MmGetPhysicalAddress(Memory);
    MmFreeContiguousMemorySpecifyCache(Memory, PAGE_SIZE, MmCached);
    Memory = (PUCHAR)MmMapIoSpace(Lowest, PAGE_SIZE, MmNonCached);
    MmUnmapIoSpace(Memory, PAGE_SIZE);
    Memory = (PUCHAR)ExAllocatePoolWithTag(NonPagedPool, PAGE_SIZE, TAG);
    RtlZeroMemory(Memory, PAGE_SIZE);
    RtlFillMemory(Memory, PAGE_SIZE, 0xAA);
    RtlCopyMemory(Memory, Buffer, 64);
    RtlMoveMemory(Memory, Memory + 1, 64);
    Sum += (ULONG)RtlCompareMemory(Memory, Buffer, 64);
    ExFreePoolWithTag(Memory, TAG);
    return Sum;
}

static ULONG TryMachine(PUCHAR Buffer)
{
    PCI_SLOT_NUMBER Slot;
    KAFFINITY Active;
    ULONG Sum;

    Slot.u.AsULONG = 0;
    Slot.u.bits.DeviceNumber = 3;
    Sum = HalGetBusDataByOffset(PCIConfiguration, 0, Slot.u.AsULONG, Buffer, 0, 4);
    Sum += HalSetBusDataByOffset(PCIConfiguration, 0, Slot.u.AsULONG, Buffer, 4, 2);
    Sum += KeGetCurrentProcessorNumber() + KeQueryActiveProcessorCount(&Active) + (ULONG)KeNumberProcessors;
    ASSERT(Sum != 0);
    ASSERTMSG("sum", Sum != 0);
    NT_ASSERT(Sum != 0);
    if (Sum == 0)
        RtlAssert((PVOID) "Sum", (PVOID) "nt_functions.c", 1, NULL); /* the real one takes no const */
    DbgPrint("sum %u\n", (unsigned)Sum);
    if (Sum == 1)
        KeBugCheckEx(0xE2, 0, 0, 0, 0);
    return Sum;
}

ULONG DeviceTryAll(DEVICE *Device, PUCHAR Buffer)
{
    TryIrql(Device);
    return TryRegisters(Device, Buffer) + TryWaits(Device) + TryTimers(Device) + TryInterrupts(Device) +
           TryMemory(Buffer) + TryMachine(Buffer) + TryLists();
}

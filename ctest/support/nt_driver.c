/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The driver of the end-to-end tests: see nt_driver.h. Written as for the Windows 7 kernel. */
#include "nt_driver.h"

#define DRIVER_TAG         0x74736554u /* 'Test' */
#define REAP_AT_ONCE       16u
#define UNITS_100NS_PER_MS 10000

static NTSTATUS Failed(NT_DRIVER *Driver, PCSTR Function, NTSTATUS Status)
{
    Driver->FailedIn = Function;
    return Status;
}

/* ---- Reaping: the queue's lock is held ---- */

static VOID QueueGiveBack(NT_DRIVER *Driver, ULONG Index, PVOID Cookie, ULONG Length, NTSTATUS Status)
{
    if (Driver->Config.Complete != NULL)
        Driver->Config.Complete(Driver->Config.Context, Index, Cookie, Length, Status);
}

static VOID QueueSettled(NT_DRIVER *Driver, ULONG Index)
{
    if (Driver->Config.Settled != NULL)
        Driver->Config.Settled(Driver->Config.Context, Index, &Driver->Queues[Index].Ring);
}

static ULONG QueueReap(NT_DRIVER *Driver, NT_DRIVER_QUEUE *Queue, AERO_VIRTIO_COMPLETION *Completions,
                       ULONG Max, NTSTATUS *StatusOut)
{
    if (!Driver->Config.ReapOneByOne)
        return AeroVirtioSplitRingReapMany(&Queue->Ring, Completions, Max, StatusOut);
    *StatusOut = AeroVirtioSplitRingReap(&Queue->Ring, &Completions->Cookie, &Completions->Length);
    return *StatusOut == STATUS_SUCCESS ? 1 : 0;
}

/* At most what was in flight when it began: a drain ends, whatever the device does (quirk 48). */
static ULONG QueueDrain(NT_DRIVER *Driver, ULONG Index)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];
    AERO_VIRTIO_COMPLETION Completions[REAP_AT_ONCE];
    ULONG Left = AeroVirtioSplitRingInFlightCount(&Queue->Ring);
    ULONG Total = 0;
    NTSTATUS Status;

    do {
        ULONG Max = Left == 0 ? 1 : Left < REAP_AT_ONCE ? Left : REAP_AT_ONCE;
        ULONG Count = QueueReap(Driver, Queue, Completions, Max, &Status);
        ULONG At;

        for (At = 0; At < Count; At++)
            QueueGiveBack(Driver, Index, Completions[At].Cookie, Completions[At].Length, STATUS_SUCCESS);
        Total += Count;
        Left -= Count;
    } while (Status == STATUS_SUCCESS && Left != 0);
    Queue->Completed += Total;
    Queue->CompletedHere += Total;
    if (Status == STATUS_DEVICE_PROTOCOL_ERROR) {
        Queue->ReapStatus = Status;
        Queue->Open = FALSE;
        InterlockedExchange(&Driver->NeedsReset, 1);
    }
    QueueSettled(Driver, Index);
    return Total;
}

/* What the mode asks for: Suppress, reap, Rearm, and once more where that found something (quirk 10). */
static ULONG QueueServe(NT_DRIVER *Driver, ULONG Index)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];
    ULONG Total = 0;

    if (Queue->Mode != NtDriverModerate)
        return QueueDrain(Driver, Index);
    AeroVirtioSplitRingSuppressInterrupts(&Queue->Ring);
    do {
        Total += QueueDrain(Driver, Index);
    } while (AeroVirtioSplitRingRearmInterrupts(&Queue->Ring));
    return Total;
}

/* ---- Interrupts ---- */

/* DIRQL. The read acknowledges and lowers the line; a 0 says that the line is another device's (INT-9). */
static BOOLEAN NTAPI DriverIsr(PKINTERRUPT Interrupt, PVOID ServiceContext)
{
    NT_DRIVER *Driver = ServiceContext;
    UCHAR Isr = AeroVirtioReadIsr(&Driver->Transport) & (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG);

    if (Isr == 0) {
        InterlockedIncrement(&Driver->Refused);
        return FALSE;
    }
    InterlockedIncrement(&Driver->Claimed);
    InterlockedOr(&Driver->Causes, Isr);
    KeInsertQueueDpc(&Driver->Dpc, NULL, NULL);
    return TRUE;
}

/* DISPATCH_LEVEL. A queue cause names no queue: it looks at all of them. */
static VOID NTAPI DriverDpc(PKDPC Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    NT_DRIVER *Driver = DeferredContext;
    LONG Causes = InterlockedExchange(&Driver->Causes, 0);
    ULONG Index;

    InterlockedIncrement(&Driver->Dpcs);
    if ((Causes & VIRTIO_PCI_ISR_CONFIG) != 0) {
        UCHAR Status = AeroVirtioGetStatus(&Driver->Transport);

        if (Status != 0xFF && (Status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0)
            InterlockedExchange(&Driver->NeedsReset, 1);
        InterlockedIncrement(&Driver->ConfigCauses);
    }
    if ((Causes & VIRTIO_PCI_ISR_QUEUE) != 0) {
        InterlockedIncrement(&Driver->QueueCauses);
        for (Index = 0; Index < Driver->Config.QueueCount; Index++) {
            KeAcquireSpinLockAtDpcLevel(&Driver->Queues[Index].Lock);
            QueueServe(Driver, Index);
            KeReleaseSpinLockFromDpcLevel(&Driver->Queues[Index].Lock);
        }
    }
    KeSetEvent(&Driver->Event, IO_NO_INCREMENT, FALSE);
}

/* ---- Bring-up ---- */

static NTSTATUS QueueAllocate(NT_DRIVER *Driver, NT_DRIVER_QUEUE *Queue)
{
    PHYSICAL_ADDRESS Lowest, Highest, Boundary;
    NTSTATUS Status;

    Queue->IndirectEntries =
        Driver->Config.IndirectEntries < Queue->Size ? Driver->Config.IndirectEntries : Queue->Size;
    Status = AeroVirtioSplitRingGetLayout(Queue->Size, Queue->IndirectEntries, &Queue->Layout);
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioSplitRingGetLayout", Status);
    Lowest.QuadPart = (LONGLONG)Driver->Config.LowestPa;
    Highest.QuadPart = -1;
    Boundary.QuadPart = 0;
    Queue->Shared = Driver->Config.LowestPa == 0
                        ? MmAllocateContiguousMemory(Queue->Layout.SharedBytes, Highest)
                        : MmAllocateContiguousMemorySpecifyCache(Queue->Layout.SharedBytes, Lowest, Highest,
                                                                 Boundary, MmCached);
    if (Queue->Shared == NULL)
        return Failed(Driver, "MmAllocateContiguousMemory", STATUS_INSUFFICIENT_RESOURCES);
    Queue->SharedPa = MmGetPhysicalAddress(Queue->Shared);
    Queue->Private = ExAllocatePoolWithTag(NonPagedPool, Queue->Layout.PrivateBytes, DRIVER_TAG);
    if (Queue->Private == NULL)
        return Failed(Driver, "ExAllocatePoolWithTag", STATUS_INSUFFICIENT_RESOURCES);
    return STATUS_SUCCESS;
}

/* Asks the queue's size; its memory is allocated the first time, and must fit ever after. */
static NTSTATUS QueuePrepare(NT_DRIVER *Driver, ULONG Index)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];
    USHORT Size;
    NTSTATUS Status = AeroVirtioQueryQueue(&Driver->Transport, (USHORT)Index, &Size, &Queue->NotifyOff);

    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioQueryQueue", Status);
    if (Queue->Private != NULL)
        return Size == Queue->Size ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;
    Queue->Size = Size;
    return QueueAllocate(Driver, Queue);
}

/* Makes the ring anew and gives it to the device, which owns nothing of it yet. */
static NTSTATUS QueueSetUp(NT_DRIVER *Driver, ULONG Index)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];
    AERO_VIRTIO_SPLIT_RING *Ring = &Queue->Ring;
    KIRQL OldIrql;
    NTSTATUS Status;

    KeAcquireSpinLock(&Queue->Lock, &OldIrql); /* a DPC that is late may look at the ring */
    Status = AeroVirtioSplitRingInit(Ring, Queue->Size, Queue->IndirectEntries, Queue->Shared,
                                     (ULONGLONG)Queue->SharedPa.QuadPart, Queue->Private);
    Queue->ReapStatus = STATUS_SUCCESS;
    Queue->CompletedHere = 0;
    if (Queue->Mode == NtDriverQuiet)
        AeroVirtioSplitRingSuppressInterrupts(Ring);
    KeReleaseSpinLock(&Queue->Lock, OldIrql);
    if (NT_SUCCESS(Status))
        Status = AeroVirtioSetupQueue(&Driver->Transport, (USHORT)Index, Ring->DescPa, Ring->AvailPa,
                                      Ring->UsedPa);
    return NT_SUCCESS(Status) ? Status : Failed(Driver, "AeroVirtioSetupQueue", Status);
}

static VOID DriverGate(NT_DRIVER *Driver, BOOLEAN Open)
{
    KIRQL OldIrql;
    ULONG Index;

    for (Index = 0; Index < Driver->Config.QueueCount; Index++) {
        KeAcquireSpinLock(&Driver->Queues[Index].Lock, &OldIrql);
        Driver->Queues[Index].Open = Open;
        KeReleaseSpinLock(&Driver->Queues[Index].Lock, OldIrql);
    }
}

static NTSTATUS DriverNegotiate(NT_DRIVER *Driver)
{
    ULONGLONG Required = Driver->Config.IndirectEntries != 0 ? VIRTIO_F_RING_INDIRECT_DESC : 0;
    NTSTATUS Status =
        AeroVirtioNegotiateFeatures(&Driver->Transport, Required, 0x00FFFFFF, &Driver->Features);
    ULONG Index;

    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioNegotiateFeatures", Status);
    for (Index = 0; NT_SUCCESS(Status) && Index < Driver->Config.QueueCount; Index++)
        Status = QueuePrepare(Driver, Index);
    return Status;
}

/* From FEATURES_OK to DRIVER_OK, and whether that stuck. */
static NTSTATUS DriverGo(NT_DRIVER *Driver)
{
    NTSTATUS Status = STATUS_SUCCESS;
    UCHAR Register;
    ULONG Index;

    for (Index = 0; NT_SUCCESS(Status) && Index < Driver->Config.QueueCount; Index++)
        Status = QueueSetUp(Driver, Index);
    if (!NT_SUCCESS(Status))
        return Status;
    AeroVirtioReadIsr(&Driver->Transport); /* what is left over from before means nothing now (quirk 26) */
    InterlockedExchange(&Driver->NeedsReset, 0);
    AeroVirtioAddStatus(&Driver->Transport, VIRTIO_STATUS_DRIVER_OK);
    Register = AeroVirtioGetStatus(&Driver->Transport);
    if (Register == 0xFF)
        Status = STATUS_DEVICE_NOT_CONNECTED;
    else if ((Register & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0)
        Status = STATUS_DEVICE_NOT_READY;
    else if ((Register & VIRTIO_STATUS_DRIVER_OK) == 0)
        Status = STATUS_IO_DEVICE_ERROR;
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "DRIVER_OK", Status);
    DriverGate(Driver, TRUE);
    return STATUS_SUCCESS;
}

static NTSTATUS DriverMap(NT_DRIVER *Driver)
{
    Driver->Bar0 = MmMapIoSpace(Driver->Resources.Bar0, Driver->Resources.Bar0Length, MmNonCached);
    if (Driver->Bar0 == NULL)
        return Failed(Driver, "MmMapIoSpace", STATUS_INSUFFICIENT_RESOURCES);
    return AeroVirtioPciModernInitFromBar0(&Driver->Transport, Driver->Bar0, Driver->Resources.Bar0Length);
}

/* Last before DRIVER_OK: all that the service routine touches exists (quirk 25). */
static NTSTATUS DriverConnect(NT_DRIVER *Driver)
{
    const NT_DRIVER_RESOURCES *At = &Driver->Resources;
    NTSTATUS Status = IoConnectInterrupt(&Driver->Interrupt, DriverIsr, Driver, NULL, At->Vector, At->Irql,
                                         At->Irql, LevelSensitive, TRUE, At->Affinity, FALSE);

    return NT_SUCCESS(Status) ? Status : Failed(Driver, "IoConnectInterrupt", Status);
}

NTSTATUS NtDriverStart(NT_DRIVER *Driver, const NT_DRIVER_RESOURCES *Resources,
                       const NT_DRIVER_CONFIG *Config)
{
    NTSTATUS Status;
    ULONG Index;

    RtlZeroMemory(Driver, sizeof(*Driver));
    Driver->Resources = *Resources;
    Driver->Config = *Config;
    KeInitializeEvent(&Driver->Event, SynchronizationEvent, FALSE);
    KeInitializeDpc(&Driver->Dpc, DriverDpc, Driver);
    for (Index = 0; Index < NT_DRIVER_QUEUES_MAX; Index++)
        KeInitializeSpinLock(&Driver->Queues[Index].Lock);
    Status = DriverMap(Driver);
    if (NT_SUCCESS(Status))
        Status = DriverNegotiate(Driver);
    if (NT_SUCCESS(Status))
        Status = DriverConnect(Driver);
    return NT_SUCCESS(Status) ? DriverGo(Driver) : Status;
}

/* ---- Running ---- */

static NTSTATUS QueueAdd(NT_DRIVER *Driver, ULONG Index, const AERO_VIRTIO_SEGMENT *Segments,
                         USHORT ReadableCount, USHORT WritableCount, PVOID Cookie)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];
    NTSTATUS Status;

    if (!Queue->Open)
        return STATUS_DEVICE_NOT_READY;
    Status = AeroVirtioSplitRingAdd(&Queue->Ring, Segments, ReadableCount, WritableCount, Cookie);
    if (!NT_SUCCESS(Status))
        return Status;
    Queue->Added++;
    if (Driver->Config.Added != NULL)
        Driver->Config.Added(Driver->Config.Context, Index, Cookie);
    QueueSettled(Driver, Index);
    return STATUS_SUCCESS;
}

/* The lock is held, so that no doorbell follows the reset which shut the gate. */
static VOID QueueKick(NT_DRIVER *Driver, ULONG Index)
{
    NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];

    if (!Queue->Open)
        return;
    AeroVirtioSplitRingPublish(&Queue->Ring);
    if (AeroVirtioSplitRingNeedsKick(&Queue->Ring)) {
        Queue->Doorbells++;
        AeroVirtioNotifyQueue(&Driver->Transport, (USHORT)Index, Queue->NotifyOff);
    }
}

/* Segments NULL: adds nothing. */
static NTSTATUS DriverSubmit(NT_DRIVER *Driver, ULONG Queue, const AERO_VIRTIO_SEGMENT *Segments,
                             USHORT ReadableCount, USHORT WritableCount, PVOID Cookie, BOOLEAN Kick)
{
    NTSTATUS Status = STATUS_SUCCESS;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Driver->Queues[Queue].Lock, &OldIrql);
    if (Segments != NULL)
        Status = QueueAdd(Driver, Queue, Segments, ReadableCount, WritableCount, Cookie);
    if (Kick)
        QueueKick(Driver, Queue);
    KeReleaseSpinLock(&Driver->Queues[Queue].Lock, OldIrql);
    return Status;
}

NTSTATUS NtDriverAdd(NT_DRIVER *Driver, ULONG Queue, const AERO_VIRTIO_SEGMENT *Segments,
                     USHORT ReadableCount, USHORT WritableCount, PVOID Cookie)
{
    return DriverSubmit(Driver, Queue, Segments, ReadableCount, WritableCount, Cookie, FALSE);
}

NTSTATUS NtDriverSubmit(NT_DRIVER *Driver, ULONG Queue, const AERO_VIRTIO_SEGMENT *Segments,
                        USHORT ReadableCount, USHORT WritableCount, PVOID Cookie)
{
    return DriverSubmit(Driver, Queue, Segments, ReadableCount, WritableCount, Cookie, TRUE);
}

VOID NtDriverKick(NT_DRIVER *Driver, ULONG Queue)
{
    DriverSubmit(Driver, Queue, NULL, 0, 0, NULL, TRUE);
}

ULONG NtDriverDrain(NT_DRIVER *Driver, ULONG Queue)
{
    KIRQL OldIrql;
    ULONG Count;

    KeAcquireSpinLock(&Driver->Queues[Queue].Lock, &OldIrql);
    Count = QueueServe(Driver, Queue);
    KeReleaseSpinLock(&Driver->Queues[Queue].Lock, OldIrql);
    return Count;
}

VOID NtDriverSetMode(NT_DRIVER *Driver, ULONG Queue, NT_DRIVER_MODE Mode)
{
    NT_DRIVER_QUEUE *At = &Driver->Queues[Queue];
    KIRQL OldIrql;

    KeAcquireSpinLock(&At->Lock, &OldIrql);
    At->Mode = Mode;
    if (Mode == NtDriverQuiet) {
        AeroVirtioSplitRingSuppressInterrupts(&At->Ring);
    } else {
        while (AeroVirtioSplitRingRearmInterrupts(&At->Ring))
            QueueDrain(Driver, Queue);
    }
    KeReleaseSpinLock(&At->Lock, OldIrql);
}

NTSTATUS NtDriverWait(NT_DRIVER *Driver, ULONG Milliseconds)
{
    LARGE_INTEGER Timeout;

    Timeout.QuadPart = -(LONGLONG)Milliseconds * UNITS_100NS_PER_MS;
    return KeWaitForSingleObject(&Driver->Event, Executive, KernelMode, FALSE, &Timeout);
}

ULONG NtDriverInFlight(NT_DRIVER *Driver, ULONG Queue)
{
    KIRQL OldIrql;
    ULONG Count;

    KeAcquireSpinLock(&Driver->Queues[Queue].Lock, &OldIrql);
    Count = AeroVirtioSplitRingInFlightCount(&Driver->Queues[Queue].Ring);
    KeReleaseSpinLock(&Driver->Queues[Queue].Lock, OldIrql);
    return Count;
}

/* ---- Reset and stop ---- */

/* The device owns nothing any more. What it completed before counts as completed; the rest is handed back. */
static VOID DriverTakeBack(NT_DRIVER *Driver)
{
    KIRQL OldIrql;
    PVOID Cookie;
    ULONG Index;

    for (Index = 0; Index < Driver->Config.QueueCount; Index++) {
        NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];

        KeAcquireSpinLock(&Queue->Lock, &OldIrql);
        if (Queue->ReapStatus == STATUS_SUCCESS)
            QueueDrain(Driver, Index);
        while (AeroVirtioSplitRingTakeBack(&Queue->Ring, &Cookie)) {
            Queue->TakenBack++;
            QueueGiveBack(Driver, Index, Cookie, 0, STATUS_CANCELLED);
        }
        QueueSettled(Driver, Index);
        KeReleaseSpinLock(&Queue->Lock, OldIrql);
    }
}

/* Busy is ours. */
static NTSTATUS DriverReset(NT_DRIVER *Driver)
{
    NTSTATUS Status;

    DriverGate(Driver, FALSE);
    Status = AeroVirtioResetDevice(&Driver->Transport);
    if (NT_SUCCESS(Status) || Status == STATUS_DEVICE_NOT_CONNECTED)
        DriverTakeBack(Driver);
    return NT_SUCCESS(Status) ? Status : Failed(Driver, "AeroVirtioResetDevice", Status);
}

static NTSTATUS DriverResetAlone(NT_DRIVER *Driver, BOOLEAN Restart)
{
    NTSTATUS Status;

    if (InterlockedCompareExchange(&Driver->Busy, 1, 0) != 0)
        return STATUS_DEVICE_BUSY;
    Status = DriverReset(Driver);
    if (NT_SUCCESS(Status) && Restart)
        Status = DriverNegotiate(Driver);
    if (NT_SUCCESS(Status) && Restart)
        Status = DriverGo(Driver);
    InterlockedExchange(&Driver->Busy, 0);
    KeSetEvent(&Driver->Event, IO_NO_INCREMENT, FALSE);
    return Status;
}

NTSTATUS NtDriverReset(NT_DRIVER *Driver)
{
    return DriverResetAlone(Driver, FALSE);
}

NTSTATUS NtDriverRecover(NT_DRIVER *Driver)
{
    return DriverResetAlone(Driver, TRUE);
}

static VOID DriverFree(NT_DRIVER *Driver)
{
    ULONG Index;

    for (Index = 0; Index < Driver->Config.QueueCount; Index++) {
        NT_DRIVER_QUEUE *Queue = &Driver->Queues[Index];

        if (Queue->Private != NULL)
            ExFreePoolWithTag(Queue->Private, DRIVER_TAG);
        if (Queue->Shared != NULL && Driver->Config.LowestPa == 0)
            MmFreeContiguousMemory(Queue->Shared);
        else if (Queue->Shared != NULL)
            MmFreeContiguousMemorySpecifyCache(Queue->Shared, Queue->Layout.SharedBytes, MmCached);
        Queue->Private = Queue->Shared = NULL;
    }
    if (Driver->Bar0 != NULL)
        MmUnmapIoSpace(Driver->Bar0, Driver->Resources.Bar0Length);
    Driver->Bar0 = NULL;
}

NTSTATUS NtDriverStop(NT_DRIVER *Driver)
{
    NTSTATUS Status;

    if (Driver->Bar0 == NULL)
        return STATUS_SUCCESS;
    Status = NtDriverReset(Driver);
    if (Status == STATUS_DEVICE_BUSY)
        return Status;
    if (Driver->Interrupt != NULL) {
        IoDisconnectInterrupt(Driver->Interrupt);
        Driver->Interrupt = NULL;
        KeRemoveQueueDpc(&Driver->Dpc);
        KeFlushQueuedDpcs();
    }
    if (Status == STATUS_IO_TIMEOUT)
        return Status; /* better lose memory than have it corrupted (COM-18) */
    DriverFree(Driver);
    return Status;
}

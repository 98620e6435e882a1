/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's driver: see driver.h. Written as for the Windows 7 kernel; user mode shows nowhere.
 */
#include "driver.h"

#define SECOND_100NS 10000000
#define REAP_AT_ONCE 32

static NTSTATUS Failed(BENCH_DRIVER *Driver, const char *Function, NTSTATUS Status)
{
    Driver->FailedIn = Function;
    return Status;
}

/* ---- Interrupts ---- */

/* DIRQL. The read acknowledges and lowers the line; a 0 says that the line is another device's (INT-9). */
static BOOLEAN NTAPI BenchInterrupt(struct _KINTERRUPT *Interrupt, PVOID ServiceContext)
{
    BENCH_DRIVER *Driver = ServiceContext;
    UCHAR Isr = AeroVirtioReadIsr(&Driver->Transport);

    UNREFERENCED_PARAMETER(Interrupt);
    if ((Isr & (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG)) == 0)
        return FALSE;
    KeInsertQueueDpc(&Driver->Dpc, NULL, NULL);
    return TRUE;
}

/* DISPATCH_LEVEL, RingLock held. Reaps all there is. */
static VOID Drain(BENCH_DRIVER *Driver)
{
    AERO_VIRTIO_COMPLETION Completions[REAP_AT_ONCE];
    NTSTATUS Status;
    ULONG Count, Index;

    do {
        Count = AeroVirtioSplitRingReapMany(&Driver->Ring, Completions, REAP_AT_ONCE, &Status);
        if (Driver->Complete != NULL) {
            for (Index = 0; Index < Count; Index++)
                Driver->Complete(Driver->CompleteContext, Completions[Index].Cookie,
                                 Completions[Index].Length);
        }
        Driver->Completed += Count;
    } while (Status == STATUS_SUCCESS);
    if (Status != STATUS_NO_MORE_ENTRIES)
        Driver->ReapStatus = Status;
}

/* DISPATCH_LEVEL */
static VOID NTAPI BenchDpc(struct _KDPC *Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    BENCH_DRIVER *Driver = DeferredContext;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);

    KeAcquireSpinLockAtDpcLevel(&Driver->RingLock);
    if (Driver->Moderate) {
        AeroVirtioSplitRingSuppressInterrupts(&Driver->Ring);
        do {
            Drain(Driver);
        } while (AeroVirtioSplitRingRearmInterrupts(&Driver->Ring));
    } else {
        Drain(Driver);
    }
    KeReleaseSpinLockFromDpcLevel(&Driver->RingLock);
    KeSetEvent(&Driver->Done, IO_NO_INCREMENT, FALSE);
}

/* ---- Start ---- */

NTSTATUS BenchDriverMap(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources)
{
    NTSTATUS Status;

    RtlZeroMemory(Driver, sizeof(*Driver));
    Driver->PatienceSeconds = BENCH_PATIENCE_SECONDS;
    KeInitializeSpinLock(&Driver->RingLock);
    KeInitializeEvent(&Driver->Done, SynchronizationEvent, FALSE);
    KeInitializeDpc(&Driver->Dpc, BenchDpc, Driver);

    Driver->Bar0 = MmMapIoSpace(Resources->Bar0, Resources->Bar0Length, MmNonCached);
    if (Driver->Bar0 == NULL)
        return Failed(Driver, "MmMapIoSpace", STATUS_INSUFFICIENT_RESOURCES);
    Driver->Bar0Length = Resources->Bar0Length;
    Status = AeroVirtioPciModernInitFromBar0(&Driver->Transport, Driver->Bar0, Driver->Bar0Length);
    if (!NT_SUCCESS(Status)) {
        MmUnmapIoSpace(Driver->Bar0, Driver->Bar0Length);
        Driver->Bar0 = NULL;
        return Failed(Driver, "AeroVirtioPciModernInitFromBar0", Status);
    }
    return STATUS_SUCCESS;
}

NTSTATUS BenchDriverNegotiate(BENCH_DRIVER *Driver, ULONGLONG Wanted)
{
    NTSTATUS Status =
        AeroVirtioNegotiateFeatures(&Driver->Transport, VIRTIO_F_VERSION_1, Wanted, &Driver->Features);

    return NT_SUCCESS(Status) ? Status : Failed(Driver, "AeroVirtioNegotiateFeatures", Status);
}

NTSTATUS BenchDriverAllocateRing(BENCH_DRIVER *Driver, USHORT IndirectEntries)
{
    PHYSICAL_ADDRESS Highest;
    NTSTATUS Status;

    Status = AeroVirtioQueryQueue(&Driver->Transport, 0, &Driver->QueueSize, &Driver->NotifyOff);
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioQueryQueue", Status);
    if (IndirectEntries > Driver->QueueSize)
        IndirectEntries = Driver->QueueSize;
    Driver->IndirectEntries = IndirectEntries;
    Status = AeroVirtioSplitRingGetLayout(Driver->QueueSize, IndirectEntries, &Driver->Layout);
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioSplitRingGetLayout", Status);

    Highest.QuadPart = -1;
    Driver->Shared = MmAllocateContiguousMemory(Driver->Layout.SharedBytes, Highest);
    if (Driver->Shared == NULL)
        return Failed(Driver, "MmAllocateContiguousMemory", STATUS_INSUFFICIENT_RESOURCES);
    Driver->SharedPa = MmGetPhysicalAddress(Driver->Shared);
    Driver->Private = ExAllocatePoolWithTag(NonPagedPool, Driver->Layout.PrivateBytes, BENCH_TAG);
    if (Driver->Private == NULL)
        return Failed(Driver, "ExAllocatePoolWithTag", STATUS_INSUFFICIENT_RESOURCES);
    return STATUS_SUCCESS;
}

NTSTATUS BenchDriverConnect(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources)
{
    NTSTATUS Status;

    Status = IoConnectInterrupt(&Driver->Interrupt, BenchInterrupt, Driver, NULL, Resources->Vector,
                                Resources->Irql, Resources->Irql, LevelSensitive, TRUE, Resources->Affinity,
                                FALSE);
    if (!NT_SUCCESS(Status)) {
        Driver->Interrupt = NULL;
        return Failed(Driver, "IoConnectInterrupt", Status);
    }
    return STATUS_SUCCESS;
}

NTSTATUS BenchDriverGo(BENCH_DRIVER *Driver)
{
    AERO_VIRTIO_SPLIT_RING *Ring = &Driver->Ring;
    USHORT QueueSize;
    NTSTATUS Status;

    Status = AeroVirtioQueryQueue(&Driver->Transport, 0, &QueueSize, &Driver->NotifyOff);
    if (NT_SUCCESS(Status) && QueueSize != Driver->QueueSize)
        Status = STATUS_IO_DEVICE_ERROR;
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioQueryQueue", Status);
    Status = AeroVirtioSplitRingInit(Ring, QueueSize, Driver->IndirectEntries, Driver->Shared,
                                     (ULONGLONG)Driver->SharedPa.QuadPart, Driver->Private);
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioSplitRingInit", Status);
    Driver->Completed = 0;
    Driver->ReapStatus = STATUS_SUCCESS;
    Status = AeroVirtioSetupQueue(&Driver->Transport, 0, Ring->DescPa, Ring->AvailPa, Ring->UsedPa);
    if (!NT_SUCCESS(Status))
        return Failed(Driver, "AeroVirtioSetupQueue", Status);
    AeroVirtioAddStatus(&Driver->Transport, VIRTIO_STATUS_DRIVER_OK);
    return STATUS_SUCCESS;
}

NTSTATUS BenchDriverStart(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources, ULONGLONG Wanted,
                          USHORT IndirectEntries, BOOLEAN Connect)
{
    NTSTATUS Status;

    Status = BenchDriverMap(Driver, Resources);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = BenchDriverNegotiate(Driver, Wanted | VIRTIO_F_RING_INDIRECT_DESC);
    if (!NT_SUCCESS(Status))
        return Status;
    if ((Driver->Features & VIRTIO_F_RING_INDIRECT_DESC) == 0)
        IndirectEntries = 0;
    Status = BenchDriverAllocateRing(Driver, IndirectEntries);
    if (!NT_SUCCESS(Status))
        return Status;
    if (Connect) {
        Status = BenchDriverConnect(Driver, Resources);
        if (!NT_SUCCESS(Status))
            return Status;
    }
    return BenchDriverGo(Driver);
}

/* ---- Running ---- */

NTSTATUS BenchDriverKick(BENCH_DRIVER *Driver)
{
    NTSTATUS Status;

    AeroVirtioSplitRingPublish(&Driver->Ring);
    if (!AeroVirtioSplitRingNeedsKick(&Driver->Ring))
        return STATUS_SUCCESS;
    Status = AeroVirtioNotifyQueue(&Driver->Transport, 0, Driver->NotifyOff);
    return NT_SUCCESS(Status) ? Status : Failed(Driver, "AeroVirtioNotifyQueue", Status);
}

NTSTATUS BenchDriverSubmit(BENCH_DRIVER *Driver, const AERO_VIRTIO_SEGMENT *Segments, USHORT ReadableCount,
                           USHORT WritableCount, PVOID Cookie)
{
    NTSTATUS Status;
    KIRQL Irql;

    KeAcquireSpinLock(&Driver->RingLock, &Irql);
    Status = AeroVirtioSplitRingAdd(&Driver->Ring, Segments, ReadableCount, WritableCount, Cookie);
    if (NT_SUCCESS(Status))
        Status = BenchDriverKick(Driver);
    else
        Driver->FailedIn = "AeroVirtioSplitRingAdd";
    KeReleaseSpinLock(&Driver->RingLock, Irql);
    return Status;
}

NTSTATUS BenchDriverWait(BENCH_DRIVER *Driver, ULONGLONG Target)
{
    LARGE_INTEGER Timeout;
    NTSTATUS Status;

    Timeout.QuadPart = -(LONGLONG)SECOND_100NS * Driver->PatienceSeconds;
    while (Driver->Completed < Target) {
        if (!NT_SUCCESS(Driver->ReapStatus))
            return Failed(Driver, "AeroVirtioSplitRingReapMany", Driver->ReapStatus);
        Status = KeWaitForSingleObject(&Driver->Done, Executive, KernelMode, FALSE, &Timeout);
        if (Status == STATUS_TIMEOUT)
            return Failed(Driver, "KeWaitForSingleObject (no interrupt came)", STATUS_IO_TIMEOUT);
    }
    return STATUS_SUCCESS;
}

/* ---- Stop ---- */

NTSTATUS BenchDriverStop(BENCH_DRIVER *Driver)
{
    NTSTATUS Status;

    if (Driver->Bar0 == NULL)
        return STATUS_SUCCESS;
    Status = AeroVirtioResetDevice(&Driver->Transport);
    return NT_SUCCESS(Status) ? Status : Failed(Driver, "AeroVirtioResetDevice", Status);
}

VOID BenchDriverFree(BENCH_DRIVER *Driver)
{
    PVOID Cookie;

    if (Driver->Bar0 == NULL)
        return;
    if (Driver->Interrupt != NULL)
        IoDisconnectInterrupt(Driver->Interrupt);
    KeRemoveQueueDpc(&Driver->Dpc);
    while (AeroVirtioSplitRingTakeBack(&Driver->Ring, &Cookie))
        ;
    if (Driver->Private != NULL)
        ExFreePoolWithTag(Driver->Private, BENCH_TAG);
    if (Driver->Shared != NULL)
        MmFreeContiguousMemory(Driver->Shared);
    MmUnmapIoSpace(Driver->Bar0, Driver->Bar0Length);
    RtlZeroMemory(Driver, sizeof(*Driver));
}

PCSTR BenchStatusName(NTSTATUS Status)
{
    static const struct {
        NTSTATUS Status;
        PCSTR Name;
    } Names[] = {
        {STATUS_SUCCESS, "STATUS_SUCCESS"},
        {STATUS_NO_MORE_ENTRIES, "STATUS_NO_MORE_ENTRIES"},
        {STATUS_INVALID_PARAMETER, "STATUS_INVALID_PARAMETER"},
        {STATUS_INSUFFICIENT_RESOURCES, "STATUS_INSUFFICIENT_RESOURCES"},
        {STATUS_DEVICE_NOT_CONNECTED, "STATUS_DEVICE_NOT_CONNECTED"},
        {STATUS_DEVICE_NOT_READY, "STATUS_DEVICE_NOT_READY"},
        {STATUS_IO_TIMEOUT, "STATUS_IO_TIMEOUT"},
        {STATUS_NOT_SUPPORTED, "STATUS_NOT_SUPPORTED"},
        {STATUS_IO_DEVICE_ERROR, "STATUS_IO_DEVICE_ERROR"},
        {STATUS_DEVICE_PROTOCOL_ERROR, "STATUS_DEVICE_PROTOCOL_ERROR"},
        {STATUS_NOT_FOUND, "STATUS_NOT_FOUND"},
        {STATUS_DATA_ERROR, "STATUS_DATA_ERROR"},
    };
    ULONG Index;

    for (Index = 0; Index < RTL_NUMBER_OF(Names); Index++) {
        if (Names[Index].Status == Status)
            return Names[Index].Name;
    }
    return "an unknown status";
}

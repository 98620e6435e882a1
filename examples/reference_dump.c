/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Bring-up and transfer with the system gone: see reference_dump.h. The transport takes no lock above
 * DISPATCH_LEVEL, and stalls instead of sleeping.
 */
#include "reference_dump.h"
#include "reference_internal.h"

#define POLL_US      10u
#define POLLS_PER_MS (1000u / POLL_US)

/* ---- Before: PASSIVE_LEVEL ----------------------------------------------------------------------------- */

static NTSTATUS Allocate(REFERENCE_DUMP *Dump, const REFERENCE_RESOURCES *Resources)
{
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    PHYSICAL_ADDRESS Highest;
    NTSTATUS Status;

    Status = AeroVirtioSplitRingGetLayout(Dump->Size, 0, &Layout);
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    Highest.QuadPart = -1;
    Dump->Bar0Length = Resources->Bar0Length;
    Dump->Bar0 = MmMapIoSpace(Resources->Bar0, Resources->Bar0Length, MmNonCached);
    Dump->Shared = MmAllocateContiguousMemory(Layout.SharedBytes, Highest);
    Dump->Private = ExAllocatePoolWithTag(NonPagedPool, Layout.PrivateBytes, REFERENCE_TAG);
    if (Dump->Bar0 == NULL || Dump->Shared == NULL || Dump->Private == NULL)
    {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Dump->SharedPa = MmGetPhysicalAddress(Dump->Shared);
    return AeroVirtioPciModernInitFromBar0(&Dump->Transport, Dump->Bar0, Dump->Bar0Length);
}

NTSTATUS ReferenceDumpPrepare(REFERENCE_DUMP *Dump, const REFERENCE_RESOURCES *Resources, USHORT QueueIndex,
                              USHORT QueueSize)
{
    NTSTATUS Status;

    RtlZeroMemory(Dump, sizeof(*Dump));
    Dump->QueueIndex = QueueIndex;
    Dump->Size = QueueSize;
    Status = Allocate(Dump, Resources);
    if (!NT_SUCCESS(Status))
    {
        (VOID) ReferenceDumpFree(Dump);
    }
    return Status;
}

NTSTATUS ReferenceDumpFree(REFERENCE_DUMP *Dump)
{
    if (Dump->DeviceOwnsRing)
    {
        return STATUS_IO_TIMEOUT;
    }
    if (Dump->Private != NULL)
    {
        ExFreePoolWithTag(Dump->Private, REFERENCE_TAG);
    }
    if (Dump->Shared != NULL)
    {
        MmFreeContiguousMemory(Dump->Shared);
    }
    if (Dump->Bar0 != NULL)
    {
        MmUnmapIoSpace(Dump->Bar0, Dump->Bar0Length);
    }
    RtlZeroMemory(Dump, sizeof(*Dump));
    return STATUS_SUCCESS;
}

/* ---- After: HIGH_LEVEL --------------------------------------------------------------------------------- */

/* A new ring, in memory that this device, just reset, doesn't own. */
static NTSTATUS SetUp(REFERENCE_DUMP *Dump)
{
    USHORT Size;
    NTSTATUS Status;

    Status = AeroVirtioQueryQueue(&Dump->Transport, Dump->QueueIndex, &Size, &Dump->NotifyOff);
    if (NT_SUCCESS(Status) && Size > Dump->Size)
    {
        Status = STATUS_NOT_SUPPORTED;
    }
    if (NT_SUCCESS(Status))
    {
        Status = AeroVirtioSplitRingInit(&Dump->Ring, Size, 0, Dump->Shared,
                                         (ULONGLONG)Dump->SharedPa.QuadPart, Dump->Private);
    }
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    AeroVirtioSplitRingSuppressInterrupts(&Dump->Ring); /* nobody would take them */
    Dump->DeviceOwnsRing = TRUE;
    return AeroVirtioSetupQueue(&Dump->Transport, Dump->QueueIndex, Dump->Ring.DescPa, Dump->Ring.AvailPa,
                                Dump->Ring.UsedPa);
}

NTSTATUS ReferenceDumpStart(REFERENCE_DUMP *Dump)
{
    ULONGLONG Features;
    NTSTATUS Status;

    Dump->Running = FALSE;
    Status =
        AeroVirtioNegotiateFeatures(&Dump->Transport, VIRTIO_F_VERSION_1, 0, &Features); /* resets first */
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    Dump->DeviceOwnsRing = FALSE;
    Status = SetUp(Dump);
    if (NT_SUCCESS(Status))
    {
        Status = ReferenceSetDriverOk(&Dump->Transport);
    }
    if (!NT_SUCCESS(Status))
    {
        (VOID) ReferenceDumpStop(Dump);
        return Status;
    }
    Dump->Running = TRUE;
    return STATUS_SUCCESS;
}

/* For a millisecond. NO_MORE_ENTRIES: not yet. */
static NTSTATUS PollShortly(REFERENCE_DUMP *Dump, ULONG *LengthOut)
{
    ULONG Left;
    PVOID Cookie;
    UCHAR Register;
    NTSTATUS Status;

    for (Left = POLLS_PER_MS; Left != 0; Left--)
    {
        Status = AeroVirtioSplitRingReap(&Dump->Ring, &Cookie, LengthOut);
        if (Status != STATUS_NO_MORE_ENTRIES)
        {
            return Status;
        }
        KeStallExecutionProcessor(POLL_US);
    }
    Register = AeroVirtioGetStatus(&Dump->Transport);
    if (Register == 0xFF)
    {
        return STATUS_DEVICE_NOT_CONNECTED;
    }
    return (Register & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0 ? STATUS_DEVICE_NOT_READY
                                                              : STATUS_NO_MORE_ENTRIES;
}

static NTSTATUS Poll(REFERENCE_DUMP *Dump, ULONG PatienceMs, ULONG *LengthOut)
{
    NTSTATUS Status = STATUS_NO_MORE_ENTRIES;

    while (Status == STATUS_NO_MORE_ENTRIES && PatienceMs-- != 0)
    {
        Status = PollShortly(Dump, LengthOut);
    }
    return Status == STATUS_NO_MORE_ENTRIES ? STATUS_IO_TIMEOUT : Status;
}

NTSTATUS ReferenceDumpTransfer(REFERENCE_DUMP *Dump, const AERO_VIRTIO_SEGMENT *Segments,
                               USHORT ReadableCount, USHORT WritableCount, ULONG PatienceMs, ULONG *LengthOut)
{
    NTSTATUS Status;

    *LengthOut = 0;
    if (!Dump->Running)
    {
        return STATUS_DEVICE_NOT_READY;
    }
    Status = AeroVirtioSplitRingAdd(&Dump->Ring, Segments, ReadableCount, WritableCount, Dump);
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    AeroVirtioSplitRingPublish(&Dump->Ring);
    if (AeroVirtioSplitRingNeedsKick(&Dump->Ring))
    {
        (VOID) AeroVirtioNotifyQueue(&Dump->Transport, Dump->QueueIndex, Dump->NotifyOff);
    }
    Status = Poll(Dump, PatienceMs, LengthOut);
    if (!NT_SUCCESS(Status))
    {
        Dump->Running = FALSE; /* the chain may be in flight: nothing more until a reset */
    }
    return Status;
}

NTSTATUS ReferenceDumpStop(REFERENCE_DUMP *Dump)
{
    NTSTATUS Status;

    Dump->Running = FALSE;
    Status = AeroVirtioResetDevice(&Dump->Transport);
    if (Status != STATUS_IO_TIMEOUT)
    {
        Dump->DeviceOwnsRing = FALSE;
    }
    return Status == STATUS_DEVICE_NOT_CONNECTED ? STATUS_SUCCESS : Status;
}

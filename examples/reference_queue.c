/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver's queues: memory, requests, the service routine, DPCs and the watchdog. Completions
 * are taken out of a ring under the queue's lock and handed out without it.
 */
#include "reference_internal.h"

#define AT_ONCE   32u         /* completions, on the stack of a DPC */
#define LIMIT_MAX 0x40000000u /* periods: with it each difference of ticks is a LONG still */

/* ---- Memory -------------------------------------------------------------------------------------------- */

NTSTATUS ReferenceQueueAllocate(REFERENCE_QUEUE *Queue)
{
    REFERENCE_DEVICE *Device = Queue->Device;
    PHYSICAL_ADDRESS Highest;
    NTSTATUS Status;

    Status = AeroVirtioQueryQueue(&Device->Transport, Queue->Index, &Queue->Size, &Queue->NotifyOff);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioQueryQueue", Status);
    }
    if ((Device->Features & VIRTIO_F_RING_INDIRECT_DESC) != 0)
    {
        Queue->IndirectEntries =
            Device->Config.IndirectEntries < Queue->Size ? Device->Config.IndirectEntries : Queue->Size;
    }
    Status = AeroVirtioSplitRingGetLayout(Queue->Size, Queue->IndirectEntries, &Queue->Layout);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioSplitRingGetLayout", Status);
    }
    Highest.QuadPart = -1; /* rings may lie anywhere (DMA-1) */
    Queue->Shared = MmAllocateContiguousMemory(Queue->Layout.SharedBytes, Highest);
    if (Queue->Shared == NULL)
    {
        return ReferenceFailedIn(Device, "MmAllocateContiguousMemory", STATUS_INSUFFICIENT_RESOURCES);
    }
    Queue->SharedPa = MmGetPhysicalAddress(Queue->Shared);
    Queue->Private = ExAllocatePoolWithTag(NonPagedPool, Queue->Layout.PrivateBytes, REFERENCE_TAG);
    if (Queue->Private == NULL)
    {
        return ReferenceFailedIn(Device, "ExAllocatePoolWithTag", STATUS_INSUFFICIENT_RESOURCES);
    }
    return STATUS_SUCCESS;
}

VOID ReferenceQueueFree(REFERENCE_QUEUE *Queue)
{
    if (Queue->Private != NULL)
    {
        ExFreePoolWithTag(Queue->Private, REFERENCE_TAG);
        Queue->Private = NULL;
    }
    if (Queue->Shared != NULL)
    {
        MmFreeContiguousMemory(Queue->Shared);
        Queue->Shared = NULL;
    }
}

NTSTATUS ReferenceQueueSetUp(REFERENCE_QUEUE *Queue)
{
    REFERENCE_DEVICE *Device = Queue->Device;
    USHORT Size;
    KIRQL OldIrql;
    NTSTATUS Status;

    Status = AeroVirtioQueryQueue(&Device->Transport, Queue->Index, &Size, &Queue->NotifyOff);
    if (NT_SUCCESS(Status) && Size != Queue->Size)
    {
        Status = STATUS_IO_DEVICE_ERROR; /* the memory was made for another */
    }
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioQueryQueue", Status);
    }
    KeAcquireSpinLock(&Queue->Lock, &OldIrql); /* a DPC that is late may look at the ring */
    Status = AeroVirtioSplitRingInit(&Queue->Ring, Queue->Size, Queue->IndirectEntries, Queue->Shared,
                                     (ULONGLONG)Queue->SharedPa.QuadPart, Queue->Private);
    Queue->Rung = FALSE;
    KeReleaseSpinLock(&Queue->Lock, OldIrql);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioSplitRingInit", Status);
    }
    Device->DeviceOwnsRings = TRUE; /* before the set-up: one that fails may have been taken in part */
    Status = AeroVirtioSetupQueue(&Device->Transport, Queue->Index, Queue->Ring.DescPa, Queue->Ring.AvailPa,
                                  Queue->Ring.UsedPa);
    return NT_SUCCESS(Status) ? Status : ReferenceFailedIn(Device, "AeroVirtioSetupQueue", Status);
}

/* ---- Submission ---------------------------------------------------------------------------------------- */

static ULONG DueOf(const REFERENCE_QUEUE *Queue, const REFERENCE_REQUEST *Request)
{
    ULONG Limit = Request->Limit != 0 ? Request->Limit : Queue->Device->Config.Limit;

    return Queue->Tick + 1 + (Limit < LIMIT_MAX ? Limit : LIMIT_MAX);
}

NTSTATUS ReferenceAdd(REFERENCE_QUEUE *Queue, REFERENCE_REQUEST *Request, const AERO_VIRTIO_SEGMENT *Segments,
                      USHORT ReadableCount, USHORT WritableCount)
{
    NTSTATUS Status = Queue->Gate;

    if (Status == STATUS_SUCCESS)
    {
        Status = AeroVirtioSplitRingAdd(&Queue->Ring, Segments, ReadableCount, WritableCount, Request);
    }
    if (Status == STATUS_SUCCESS)
    {
        Request->Due = DueOf(Queue, Request);
        InsertTailList(&Queue->InFlight, &Request->Link);
    }
    return Status;
}

VOID ReferenceKick(REFERENCE_QUEUE *Queue)
{
    AeroVirtioSplitRingPublish(&Queue->Ring);
    if (AeroVirtioSplitRingNeedsKick(&Queue->Ring))
    {
        /* It fails for a doorbell outside the window alone, and QueryQueue has seen to that. */
        (VOID) AeroVirtioNotifyQueue(&Queue->Device->Transport, Queue->Index, Queue->NotifyOff);
    }
}

NTSTATUS ReferenceSubmit(REFERENCE_DEVICE *Device, ULONG QueueIndex, REFERENCE_REQUEST *Request,
                         const AERO_VIRTIO_SEGMENT *Segments, USHORT ReadableCount, USHORT WritableCount)
{
    REFERENCE_QUEUE *Queue;
    KIRQL OldIrql;
    NTSTATUS Status;

    if (QueueIndex >= Device->QueueCount)
    {
        return Device->QueueCount == 0 ? STATUS_INVALID_DEVICE_STATE : STATUS_INVALID_PARAMETER;
    }
    Queue = &Device->Queues[QueueIndex];
    KeAcquireSpinLock(&Queue->Lock, &OldIrql);
    Status = ReferenceAdd(Queue, Request, Segments, ReadableCount, WritableCount);
    if (NT_SUCCESS(Status))
    {
        ReferenceKick(Queue);
    }
    KeReleaseSpinLock(&Queue->Lock, OldIrql);
    return Status;
}

ULONG ReferenceInFlight(REFERENCE_DEVICE *Device)
{
    ULONG Count = 0;
    ULONG Index;
    KIRQL OldIrql;

    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        KeAcquireSpinLock(&Device->Queues[Index].Lock, &OldIrql);
        Count += AeroVirtioSplitRingInFlightCount(&Device->Queues[Index].Ring);
        KeReleaseSpinLock(&Device->Queues[Index].Lock, OldIrql);
    }
    return Count;
}

/* ---- Asking for recovery: DISPATCH_LEVEL -------------------------------------------------------------- */

/* StateLock is held. Until recovery nothing more is taken. */
static VOID WantRecovery(REFERENCE_DEVICE *Device)
{
    ULONG Index;

    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        KeAcquireSpinLockAtDpcLevel(&Device->Queues[Index].Lock);
        Device->Queues[Index].Gate = STATUS_DEVICE_NOT_READY;
        KeReleaseSpinLockFromDpcLevel(&Device->Queues[Index].Lock);
    }
    KeSetEvent(&Device->RecoveryWanted, IO_NO_INCREMENT, FALSE);
    KeSetEvent(&Device->Progress, IO_NO_INCREMENT, FALSE);
}

/* No lock is held. Of a generation that is past there is nothing to recover. */
static VOID AskForRecovery(REFERENCE_DEVICE *Device, ULONG Generation)
{
    KeAcquireSpinLockAtDpcLevel(&Device->StateLock);
    if (Device->State == ReferenceRunning && Device->Generation == Generation)
    {
        WantRecovery(Device);
    }
    KeReleaseSpinLockFromDpcLevel(&Device->StateLock);
}

/* ---- Completion: DISPATCH_LEVEL ------------------------------------------------------------------------ */

/* No lock is held. */
static VOID HandOut(REFERENCE_DEVICE *Device, const AERO_VIRTIO_COMPLETION *Completions, ULONG Count,
                    NTSTATUS Status)
{
    ULONG Index;

    for (Index = 0; Index < Count; Index++)
    {
        Device->Config.Complete(Device->Config.Context, (REFERENCE_REQUEST *)Completions[Index].Cookie,
                                Completions[Index].Length, Status);
    }
}

/* The queue's lock is held: their owner may do with them what he likes from now on. */
static VOID Unlink(const AERO_VIRTIO_COMPLETION *Completions, ULONG Count)
{
    ULONG Index;

    for (Index = 0; Index < Count; Index++)
    {
        RemoveEntryList(&((REFERENCE_REQUEST *)Completions[Index].Cookie)->Link);
    }
}

/*
 * Takes out what the device has completed, up to about what was in flight at first, so that it ends whatever
 * the device does meanwhile (quirk 48). TRUE: there may be more, for which no interrupt need come.
 */
static BOOLEAN Drain(REFERENCE_QUEUE *Queue, ULONG *CountOut)
{
    AERO_VIRTIO_COMPLETION Completions[AT_ONCE];
    REFERENCE_DEVICE *Device = Queue->Device;
    ULONG Budget = 0;
    ULONG Generation;
    ULONG Count;
    BOOLEAN More;
    NTSTATUS Status;

    *CountOut = 0;
    do
    {
        KeAcquireSpinLockAtDpcLevel(&Queue->Lock);
        if (*CountOut == 0)
        {
            Budget = AeroVirtioSplitRingInFlightCount(&Queue->Ring);
        }
        if (Device->Config.Moderate)
        {
            AeroVirtioSplitRingSuppressInterrupts(&Queue->Ring);
        }
        Count = AeroVirtioSplitRingReapMany(&Queue->Ring, Completions, AT_ONCE, &Status);
        Unlink(Completions, Count);
        Queue->Completed += Count;
        More = (BOOLEAN)(Status == STATUS_SUCCESS);
        if (!More && Device->Config.Moderate)
        {
            More = AeroVirtioSplitRingRearmInterrupts(&Queue->Ring); /* what came meanwhile (quirk 10) */
        }
        Generation = Queue->Generation;
        KeReleaseSpinLockFromDpcLevel(&Queue->Lock);
        HandOut(Device, Completions, Count, STATUS_SUCCESS);
        *CountOut += Count;
    }
    while (More && *CountOut < Budget);
    if (Status == STATUS_DEVICE_PROTOCOL_ERROR)
    {
        AskForRecovery(Device, Generation); /* the ring is poisoned, and takes nothing any more (RNG-11) */
    }
    return More;
}

/* All queues: INTx says of none which it was. */
static ULONG DrainAll(REFERENCE_DEVICE *Device)
{
    BOOLEAN More = FALSE;
    ULONG Total = 0;
    ULONG Index;
    ULONG Count;

    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        More = (BOOLEAN)(Drain(&Device->Queues[Index], &Count) | More);
        Total += Count;
    }
    if (More)
    {
        KeInsertQueueDpc(&Device->QueueDpc, NULL, NULL); /* after others had their turn */
    }
    if (Total != 0)
    {
        KeSetEvent(&Device->Progress, IO_NO_INCREMENT, FALSE);
    }
    return Total;
}

ULONG ReferencePoll(REFERENCE_DEVICE *Device)
{
    KIRQL OldIrql;
    ULONG Count;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    Count = DrainAll(Device);
    KeLowerIrql(OldIrql);
    return Count;
}

/* Up to AT_ONCE of those that the device will never complete. */
static ULONG TakeBack(REFERENCE_QUEUE *Queue, AERO_VIRTIO_COMPLETION *Completions)
{
    ULONG Count = 0;

    KeAcquireSpinLockAtDpcLevel(&Queue->Lock);
    while (Count < AT_ONCE && AeroVirtioSplitRingTakeBack(&Queue->Ring, &Completions[Count].Cookie))
    {
        Completions[Count++].Length = 0;
    }
    Unlink(Completions, Count);
    KeReleaseSpinLockFromDpcLevel(&Queue->Lock);
    return Count;
}

VOID ReferenceQueueReclaim(REFERENCE_QUEUE *Queue, NTSTATUS Reason)
{
    AERO_VIRTIO_COMPLETION Completions[AT_ONCE];
    ULONG Count;
    KIRQL OldIrql;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    while (Drain(Queue, &Count))
    {
        continue; /* the device adds nothing any more: this ends */
    }
    do
    {
        Count = TakeBack(Queue, Completions);
        HandOut(Queue->Device, Completions, Count, Reason);
    }
    while (Count != 0);
    KeLowerIrql(OldIrql);
}

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

/*
 * DIRQL. The DPC will read each queue's used.idx first, and the device has just written it: asked for here,
 * the line is on its way while the DPC is. A prefetch reads nothing and can't fault, so it needs no lock.
 */
static VOID PrefetchUsedIndices(const REFERENCE_DEVICE *Device)
{
    const REFERENCE_QUEUE *Queue;
    ULONG Index;

    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        Queue = &Device->Queues[Index];
        PreFetchCacheLine(PF_TEMPORAL_LEVEL_1, (PUCHAR)Queue->Shared + Queue->Layout.UsedOffset);
    }
}

/*
 * DIRQL. Reading the byte acknowledges and lowers the line, in every state but without power (INT-2, quirk
 * 14). Neither bit: another device's interrupt (INT-9), or ours is gone.
 */
BOOLEAN NTAPI ReferenceIsr(PKINTERRUPT Interrupt, PVOID ServiceContext)
{
    REFERENCE_DEVICE *Device = (REFERENCE_DEVICE *)ServiceContext;
    UCHAR Isr;

    UNREFERENCED_PARAMETER(Interrupt);
    if (!Device->Powered)
    {
        return FALSE;
    }
    Isr = AeroVirtioReadIsr(&Device->Transport);
    if ((Isr & VIRTIO_PCI_ISR_QUEUE) != 0)
    {
        PrefetchUsedIndices(Device);
        KeInsertQueueDpc(&Device->QueueDpc, NULL, NULL);
    }
    if ((Isr & VIRTIO_PCI_ISR_CONFIG) != 0)
    {
        KeInsertQueueDpc(&Device->ConfigDpc, NULL, NULL);
    }
    return (BOOLEAN)((Isr & (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG)) != 0);
}

/* DISPATCH_LEVEL */
VOID NTAPI ReferenceQueueDpc(PKDPC Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    (VOID) DrainAll((REFERENCE_DEVICE *)DeferredContext);
}

/*
 * DISPATCH_LEVEL. Does the device say that it can't go on (COM-20), or is it gone? Under StateLock, for a
 * reset that is under way, or a lack of power, would look like either.
 */
static VOID CheckDevice(REFERENCE_DEVICE *Device)
{
    UCHAR Register;

    KeAcquireSpinLockAtDpcLevel(&Device->StateLock);
    if (Device->State == ReferenceRunning)
    {
        Register = AeroVirtioGetStatus(&Device->Transport);
        if ((Register & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0) /* all ones hold it too */
        {
            WantRecovery(Device);
        }
    }
    KeReleaseSpinLockFromDpcLevel(&Device->StateLock);
}

/* DISPATCH_LEVEL. Several changes may come as one interrupt: what counts is how things are now (quirk 50). */
VOID NTAPI ReferenceConfigDpc(PKDPC Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    REFERENCE_DEVICE *Device = (REFERENCE_DEVICE *)DeferredContext;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    InterlockedIncrement(&Device->ConfigChanges);
    CheckDevice(Device);
}

/* ---- The watchdog: DISPATCH_LEVEL ---------------------------------------------------------------------- */

/* The queue's lock is held. Has one in flight been overdue at that tick? Ticks wrap: it's the difference. */
static BOOLEAN IsOverdueAt(const REFERENCE_QUEUE *Queue, ULONG Tick)
{
    const LIST_ENTRY *Entry;

    for (Entry = Queue->InFlight.Flink; Entry != &Queue->InFlight; Entry = Entry->Flink)
    {
        if ((LONG)(Tick - CONTAINING_RECORD(Entry, REFERENCE_REQUEST, Link)->Due) >= 0)
        {
            return TRUE;
        }
    }
    return FALSE;
}

static BOOLEAN TickAndLook(REFERENCE_QUEUE *Queue)
{
    BOOLEAN Overdue;

    KeAcquireSpinLockAtDpcLevel(&Queue->Lock);
    Queue->Tick++;
    Overdue = IsOverdueAt(Queue, Queue->Tick);
    Queue->Rung = (BOOLEAN)(Queue->Rung && Overdue);
    KeReleaseSpinLockFromDpcLevel(&Queue->Lock);
    return Overdue;
}

/*
 * Something is overdue and not in the used ring. A doorbell may have been lost (quirk 8): it gets another,
 * once. What has become overdue since then gets one of its own.
 */
static VOID RingAgainOrGiveUp(REFERENCE_QUEUE *Queue)
{
    BOOLEAN GiveUp = FALSE;
    ULONG Generation;

    KeAcquireSpinLockAtDpcLevel(&Queue->Lock);
    Generation = Queue->Generation;
    if (Queue->Gate == STATUS_SUCCESS && IsOverdueAt(Queue, Queue->Tick))
    {
        GiveUp = (BOOLEAN)(Queue->Rung && IsOverdueAt(Queue, Queue->RungTick));
        if (!GiveUp)
        {
            Queue->Rung = TRUE;
            Queue->RungTick = Queue->Tick;
            (VOID) AeroVirtioNotifyQueue(&Queue->Device->Transport, Queue->Index, Queue->NotifyOff);
        }
    }
    KeReleaseSpinLockFromDpcLevel(&Queue->Lock);
    if (GiveUp)
    {
        AskForRecovery(Queue->Device, Generation);
    }
}

VOID NTAPI ReferenceWatchdogDpc(PKDPC Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    REFERENCE_DEVICE *Device = (REFERENCE_DEVICE *)DeferredContext;
    BOOLEAN Overdue = FALSE;
    ULONG Index;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    CheckDevice(Device); /* it may have failed without an interrupt (quirk 16), or gone */
    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        Overdue = (BOOLEAN)(TickAndLook(&Device->Queues[Index]) | Overdue);
    }
    if (!Overdue)
    {
        return;
    }
    /* A lost interrupt, or a DPC that is late, is no failure of the device (quirk 9): first it is drained. */
    if (DrainAll(Device) != 0)
    {
        InterlockedIncrement(&Device->LostInterrupts);
    }
    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        RingAgainOrGiveUp(&Device->Queues[Index]);
    }
}

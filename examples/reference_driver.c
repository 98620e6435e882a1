/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver's states, start and stop: see reference_driver.h. PASSIVE_LEVEL.
 */
#include "reference_internal.h"

#define UNITS_100NS_PER_MS 10000
#define DRAIN_PORTION_MS   10u /* how often who waits for a drain looks for himself: interrupts get lost */

NTSTATUS ReferenceFailedIn(REFERENCE_DEVICE *Device, PCSTR Function, NTSTATUS Status)
{
    Device->FailedIn = Function;
    return Status;
}

/* ---- States -------------------------------------------------------------------------------------------- */

/* What may come after each state, as a mask; and what a request is told in it. */
#define MAY(State) (1u << (State))

static const struct
{
    ULONG Next;
    NTSTATUS Gate;
} States[] = {
    /* Absent     */ {MAY(ReferenceStopped), STATUS_INVALID_DEVICE_STATE},
    /* Stopped    */
    {MAY(ReferenceRunning) | MAY(ReferenceAbsent) | MAY(ReferenceFailed) | MAY(ReferenceRemoved),
     STATUS_DEVICE_NOT_READY},
    /* Running    */
    {MAY(ReferenceStopped) | MAY(ReferenceDraining) | MAY(ReferenceRecovering) | MAY(ReferenceRemoved),
     STATUS_SUCCESS},
    /* Draining   */
    {MAY(ReferenceSuspended) | MAY(ReferenceAbsent) | MAY(ReferenceFailed), STATUS_DEVICE_NOT_READY},
    /* Recovering */
    {MAY(ReferenceRunning) | MAY(ReferenceFailed) | MAY(ReferenceRemoved), STATUS_DEVICE_NOT_READY},
    /* Suspended  */
    {MAY(ReferenceRecovering) | MAY(ReferenceAbsent) | MAY(ReferenceFailed) | MAY(ReferenceRemoved),
     STATUS_DEVICE_NOT_READY},
    /* Failed     */
    {MAY(ReferenceRecovering) | MAY(ReferenceDraining) | MAY(ReferenceAbsent) | MAY(ReferenceFailed) |
         MAY(ReferenceRemoved),
     STATUS_IO_DEVICE_ERROR},
    /* Removed    */
    {MAY(ReferenceAbsent) | MAY(ReferenceRemoved) | MAY(ReferenceFailed), STATUS_DEVICE_NOT_CONNECTED},
};

C_ASSERT(RTL_NUMBER_OF(States) == ReferenceRemoved + 1);

BOOLEAN ReferenceLockLife(REFERENCE_DEVICE *Device)
{
    if (Device->Config.Complete == NULL)
    {
        return FALSE; /* it never began: there isn't even a lock */
    }
    /* Without a time-out, since whoever holds it waits for nothing without one. */
    (VOID) KeWaitForSingleObject(&Device->Life, Executive, KernelMode, FALSE, NULL);
    if (Device->State == ReferenceAbsent)
    {
        ReferenceUnlockLife(Device);
        return FALSE;
    }
    return TRUE;
}

VOID ReferenceUnlockLife(REFERENCE_DEVICE *Device)
{
    KeSetEvent(&Device->Life, IO_NO_INCREMENT, FALSE);
}

VOID ReferenceMove(REFERENCE_DEVICE *Device, REFERENCE_STATE State)
{
    REFERENCE_QUEUE *Queue;
    ULONG Index;
    KIRQL OldIrql;

    ASSERT((States[Device->State].Next & MAY(State)) != 0);
    KeAcquireSpinLock(&Device->StateLock, &OldIrql);
    Device->State = State;
    Device->Generation++;
    KeClearEvent(&Device->RecoveryWanted); /* asked for in a state that is past */
    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        Queue = &Device->Queues[Index];
        KeAcquireSpinLockAtDpcLevel(&Queue->Lock);
        Queue->Gate = States[State].Gate;
        Queue->Generation = Device->Generation;
        KeReleaseSpinLockFromDpcLevel(&Queue->Lock);
    }
    KeReleaseSpinLock(&Device->StateLock, OldIrql);
}

/* ---- Steps --------------------------------------------------------------------------------------------- */

static BOOLEAN ConfigIsLegal(const REFERENCE_CONFIG *Config)
{
    return (BOOLEAN)(Config->Complete != NULL && Config->QueueCount != 0 &&
                     (Config->Poll || (LONG)Config->PeriodMs > 0));
}

/* All that a service routine or a DPC might touch exists before there is either (quirk 25). */
static VOID Initialise(REFERENCE_DEVICE *Device, const REFERENCE_LOCATION *Location,
                       const REFERENCE_RESOURCES *Resources, const REFERENCE_CONFIG *Config)
{
    RtlZeroMemory(Device, sizeof(*Device));
    Device->Location = *Location;
    Device->Resources = *Resources;
    Device->Config = *Config;
    KeInitializeEvent(&Device->Life, SynchronizationEvent, TRUE);
    KeInitializeEvent(&Device->RecoveryWanted, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Device->Progress, SynchronizationEvent, FALSE);
    KeInitializeSpinLock(&Device->StateLock);
    KeInitializeDpc(&Device->QueueDpc, ReferenceQueueDpc, Device);
    KeInitializeDpc(&Device->ConfigDpc, ReferenceConfigDpc, Device);
    KeInitializeDpc(&Device->WatchdogDpc, ReferenceWatchdogDpc, Device);
    KeInitializeTimer(&Device->Watchdog);
}

NTSTATUS ReferenceMap(REFERENCE_DEVICE *Device, const REFERENCE_LOCATION *Location,
                      const REFERENCE_RESOURCES *Resources, const REFERENCE_CONFIG *Config)
{
    NTSTATUS Status;

    Initialise(Device, Location, Resources, Config);
    if (!ConfigIsLegal(Config))
    {
        return ReferenceFailedIn(Device, "ReferenceMap", STATUS_INVALID_PARAMETER);
    }
    Status = ReferenceCheck(Location);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "ReferenceCheck", Status);
    }
    Device->Bar0 = MmMapIoSpace(Resources->Bar0, Resources->Bar0Length, MmNonCached);
    if (Device->Bar0 == NULL)
    {
        return ReferenceFailedIn(Device, "MmMapIoSpace", STATUS_INSUFFICIENT_RESOURCES);
    }
    ReferenceMove(Device, ReferenceStopped);
    Status = AeroVirtioPciModernInitFromBar0(&Device->Transport, Device->Bar0, Resources->Bar0Length);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioPciModernInitFromBar0", Status);
    }
    Device->Powered = TRUE;
    return STATUS_SUCCESS;
}

NTSTATUS ReferenceNegotiate(REFERENCE_DEVICE *Device)
{
    ULONGLONG Required = Device->Config.Required | VIRTIO_F_VERSION_1;
    ULONGLONG Wanted = Device->Config.Wanted | VIRTIO_F_RING_INDIRECT_DESC;
    NTSTATUS Status;

    if (Device->State == ReferenceRunning)
    {
        ReferenceMove(Device, ReferenceStopped);
    }
    if (Device->Features != 0)
    {
        /* Memory and owner count on what was agreed on at first: that, or nothing. */
        Required = Device->Features;
        Wanted = 0;
    }
    Status = AeroVirtioNegotiateFeatures(&Device->Transport, Required, Wanted, &Required);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "AeroVirtioNegotiateFeatures", Status);
    }
    Device->Features = Required;
    Device->DeviceOwnsRings = FALSE; /* it has been reset on the way */
    return STATUS_SUCCESS;
}

NTSTATUS ReferenceAllocate(REFERENCE_DEVICE *Device)
{
    ULONG Count = AeroVirtioGetNumQueues(&Device->Transport);
    NTSTATUS Status = STATUS_SUCCESS;
    REFERENCE_QUEUE *Queue;

    Count = Count < Device->Config.QueueCount ? Count : Device->Config.QueueCount;
    Count = Count < AERO_VIRTIO_PCI_MODERN_QUEUES_MAX ? Count : AERO_VIRTIO_PCI_MODERN_QUEUES_MAX;
    Count = Count != 0 ? Count : 1; /* why it has none, or is gone, the query of the first will say */
    Device->Queues = (REFERENCE_QUEUE *)ExAllocatePoolWithTag(NonPagedPool, Count * sizeof(*Device->Queues),
                                                              REFERENCE_TAG);
    if (Device->Queues == NULL)
    {
        return ReferenceFailedIn(Device, "ExAllocatePoolWithTag", STATUS_INSUFFICIENT_RESOURCES);
    }
    RtlZeroMemory(Device->Queues, Count * sizeof(*Device->Queues));
    while (Device->QueueCount < Count && NT_SUCCESS(Status))
    {
        Queue = &Device->Queues[Device->QueueCount];
        Queue->Device = Device;
        Queue->Index = (USHORT)Device->QueueCount;
        Queue->Gate = STATUS_DEVICE_NOT_READY;
        KeInitializeSpinLock(&Queue->Lock);
        InitializeListHead(&Queue->InFlight);
        Device->QueueCount++;
        Status = ReferenceQueueAllocate(Queue);
    }
    return Status;
}

NTSTATUS ReferenceConnect(REFERENCE_DEVICE *Device)
{
    const REFERENCE_RESOURCES *Resources = &Device->Resources;
    NTSTATUS Status;

    Status =
        IoConnectInterrupt(&Device->Interrupt, ReferenceIsr, Device, NULL, Resources->Vector, Resources->Irql,
                           Resources->Irql, LevelSensitive, TRUE, Resources->Affinity, FALSE);
    if (!NT_SUCCESS(Status))
    {
        Device->Interrupt = NULL;
        return ReferenceFailedIn(Device, "IoConnectInterrupt", Status);
    }
    return STATUS_SUCCESS;
}

NTSTATUS ReferenceSetDriverOk(AERO_VIRTIO_PCI_MODERN_DEVICE *Transport)
{
    UCHAR Register;

    AeroVirtioAddStatus(Transport, VIRTIO_STATUS_DRIVER_OK);
    Register = AeroVirtioGetStatus(Transport);
    if (Register == 0xFF)
    {
        return STATUS_DEVICE_NOT_CONNECTED;
    }
    if ((Register & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0)
    {
        return STATUS_DEVICE_NOT_READY;
    }
    return (Register & VIRTIO_STATUS_DRIVER_OK) != 0 ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;
}

NTSTATUS ReferenceGo(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Index;

    for (Index = 0; Index < Device->QueueCount && NT_SUCCESS(Status); Index++)
    {
        Status = ReferenceQueueSetUp(&Device->Queues[Index]);
    }
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    /* What the byte still says is of no use any more (quirk 26), and would keep the line up. */
    (VOID) AeroVirtioReadIsr(&Device->Transport);
    Status = ReferenceSetDriverOk(&Device->Transport);
    if (!NT_SUCCESS(Status))
    {
        return ReferenceFailedIn(Device, "ReferenceSetDriverOk", Status);
    }
    Device->Begun = TRUE;
    ReferenceMove(Device, ReferenceRunning);
    return STATUS_SUCCESS;
}

/* ---- The watchdog and the service routine -------------------------------------------------------------- */

VOID ReferenceStartWatchdog(REFERENCE_DEVICE *Device)
{
    LARGE_INTEGER Due;

    if (!Device->Config.Poll && !Device->WatchdogIsSet)
    {
        Due.QuadPart = -(LONGLONG)Device->Config.PeriodMs * UNITS_100NS_PER_MS;
        KeSetTimerEx(&Device->Watchdog, Due, (LONG)Device->Config.PeriodMs, &Device->WatchdogDpc);
        Device->WatchdogIsSet = TRUE;
    }
}

VOID ReferenceStopWatchdog(REFERENCE_DEVICE *Device)
{
    if (Device->WatchdogIsSet)
    {
        KeCancelTimer(&Device->Watchdog);
        Device->WatchdogIsSet = FALSE;
    }
    KeFlushQueuedDpcs();
}

VOID ReferenceSetPowered(REFERENCE_DEVICE *Device, BOOLEAN Powered)
{
    KIRQL OldIrql;

    if (Device->Interrupt == NULL)
    {
        Device->Powered = Powered;
        return;
    }
    /* Its holder isn't inside the service routine, on no CPU. */
    OldIrql = KeAcquireInterruptSpinLock(Device->Interrupt);
    Device->Powered = Powered;
    KeReleaseInterruptSpinLock(Device->Interrupt, OldIrql);
}

static VOID Disconnect(REFERENCE_DEVICE *Device)
{
    if (Device->Interrupt != NULL)
    {
        IoDisconnectInterrupt(Device->Interrupt);
        Device->Interrupt = NULL;
    }
}

/* ---- Start and stop ------------------------------------------------------------------------------------ */

static NTSTATUS StartSteps(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status;

    Status = ReferenceNegotiate(Device);
    if (NT_SUCCESS(Status))
    {
        Status = ReferenceAllocate(Device);
    }
    if (NT_SUCCESS(Status) && !Device->Config.Poll)
    {
        Status = ReferenceConnect(Device);
    }
    if (NT_SUCCESS(Status))
    {
        Status = ReferenceGo(Device);
    }
    if (NT_SUCCESS(Status))
    {
        ReferenceStartWatchdog(Device);
    }
    return Status;
}

NTSTATUS ReferenceStart(REFERENCE_DEVICE *Device, const REFERENCE_LOCATION *Location,
                        const REFERENCE_RESOURCES *Resources, const REFERENCE_CONFIG *Config)
{
    PCSTR FailedIn;
    NTSTATUS Status;

    Status = ReferenceMap(Device, Location, Resources, Config);
    if (NT_SUCCESS(Status))
    {
        (VOID) ReferenceLockLife(Device); /* from DRIVER_OK on others may come */
        Status = StartSteps(Device);
        ReferenceUnlockLife(Device);
    }
    if (!NT_SUCCESS(Status))
    {
        FailedIn = Device->FailedIn;
        (VOID) ReferenceStop(Device);
        return ReferenceFailedIn(Device, FailedIn, Status); /* what came first is what counts */
    }
    return STATUS_SUCCESS;
}

NTSTATUS ReferenceLetGo(REFERENCE_DEVICE *Device, NTSTATUS Reason)
{
    NTSTATUS Status;
    ULONG Index;

    Status = AeroVirtioResetDevice(&Device->Transport);
    if (Status == STATUS_IO_TIMEOUT)
    {
        return ReferenceFailedIn(Device, "AeroVirtioResetDevice", Status);
    }
    Device->DeviceOwnsRings = FALSE;
    Reason = NT_SUCCESS(Status) ? Reason : STATUS_DEVICE_NOT_CONNECTED;
    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        ReferenceQueueReclaim(&Device->Queues[Index], Reason);
    }
    return Status;
}

VOID ReferenceAwaitDrain(REFERENCE_DEVICE *Device)
{
    const ULONGLONG Allowed = (ULONGLONG)Device->Config.DrainMs * UNITS_100NS_PER_MS;
    const ULONGLONG Began = KeQueryInterruptTime();
    LARGE_INTEGER Portion;

    Portion.QuadPart = -(LONGLONG)DRAIN_PORTION_MS * UNITS_100NS_PER_MS;
    (VOID) ReferencePoll(Device);
    /*
     * By the clock, since each completion ends a wait. The bit is set in all ones too: whether it's gone or
     * can't go on, there is nothing to wait for.
     */
    while (KeQueryInterruptTime() - Began < Allowed && ReferenceInFlight(Device) != 0 &&
           (AeroVirtioGetStatus(&Device->Transport) & VIRTIO_STATUS_DEVICE_NEEDS_RESET) == 0)
    {
        (VOID) KeWaitForSingleObject(&Device->Progress, Executive, KernelMode, FALSE, &Portion);
        (VOID) ReferencePoll(Device);
    }
}

/* In reverse order. The device owns nothing of it. */
static VOID FreeAll(REFERENCE_DEVICE *Device)
{
    while (Device->QueueCount != 0)
    {
        ReferenceQueueFree(&Device->Queues[--Device->QueueCount]);
    }
    if (Device->Queues != NULL)
    {
        ExFreePoolWithTag(Device->Queues, REFERENCE_TAG);
        Device->Queues = NULL;
    }
    if (Device->Bar0 != NULL)
    {
        MmUnmapIoSpace(Device->Bar0, Device->Resources.Bar0Length);
        Device->Bar0 = NULL;
    }
    Device->Features = 0;
}

/* Life is held. What a state leaves to do before all can be freed. */
static NTSTATUS Quiesce(REFERENCE_DEVICE *Device)
{
    if (Device->State == ReferenceRunning)
    {
        ReferenceMove(Device, ReferenceDraining);
        ReferenceAwaitDrain(Device);
    }
    if (!Device->DeviceOwnsRings)
    {
        return STATUS_SUCCESS; /* it's reset, removed or unpowered, and nothing in flight */
    }
    return Device->Powered ? ReferenceLetGo(Device, STATUS_CANCELLED) : STATUS_IO_TIMEOUT;
}

NTSTATUS ReferenceStop(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status;

    if (!ReferenceLockLife(Device))
    {
        return STATUS_SUCCESS;
    }
    Device->Begun = FALSE;
    Status = Quiesce(Device);
    Disconnect(Device);
    ReferenceStopWatchdog(Device);
    if (Status == STATUS_IO_TIMEOUT)
    {
        ReferenceMove(Device, ReferenceFailed);
    }
    else
    {
        Status = STATUS_SUCCESS;
        FreeAll(Device);
        ReferenceMove(Device, ReferenceAbsent);
    }
    ReferenceUnlockLife(Device);
    return Status;
}

NTSTATUS ReferenceSurpriseRemove(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status = STATUS_SUCCESS;

    if (!ReferenceLockLife(Device))
    {
        return STATUS_SUCCESS;
    }
    Device->Begun = FALSE;
    ReferenceMove(Device, ReferenceRemoved);
    if (Device->DeviceOwnsRings)
    {
        Status = Device->Powered ? ReferenceLetGo(Device, STATUS_DEVICE_NOT_CONNECTED) : STATUS_IO_TIMEOUT;
    }
    Disconnect(Device);
    ReferenceStopWatchdog(Device);
    ReferenceUnlockLife(Device);
    return Status == STATUS_IO_TIMEOUT ? Status : STATUS_SUCCESS;
}

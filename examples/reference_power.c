/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the reference driver does when a device has failed, or lost its power: see reference_driver.h. Both
 * end in the same bring-up, on memory that was there before. PASSIVE_LEVEL.
 */
#include "reference_internal.h"

/*
 * Life is held, and the state Recovering. From a reset up to DRIVER_OK. On failure the device is given up: it
 * owns nothing, unless it doesn't even reset.
 */
static NTSTATUS BringUp(REFERENCE_DEVICE *Device)
{
    PCSTR FailedIn;
    NTSTATUS Status;

    Status = ReferenceNegotiate(Device);
    if (NT_SUCCESS(Status))
    {
        Status = ReferenceGo(Device);
    }
    if (!NT_SUCCESS(Status) && Device->DeviceOwnsRings)
    {
        FailedIn = Device->FailedIn;
        (VOID) ReferenceLetGo(Device, STATUS_IO_DEVICE_ERROR);
        ReferenceFailedIn(Device, FailedIn, Status); /* what came first is what counts */
    }
    return Status;
}

/* Life is held, and the state Recovering: nothing may be in flight once the device is brought up. */
static NTSTATUS ResetAndBringUp(REFERENCE_DEVICE *Device, NTSTATUS Reason)
{
    NTSTATUS Status = STATUS_SUCCESS;

    if (Device->DeviceOwnsRings)
    {
        Status = ReferenceLetGo(Device, Reason);
    }
    if (NT_SUCCESS(Status))
    {
        Status = BringUp(Device);
    }
    if (!NT_SUCCESS(Status))
    {
        ReferenceMove(Device, Status == STATUS_DEVICE_NOT_CONNECTED ? ReferenceRemoved : ReferenceFailed);
        return Status;
    }
    ReferenceStartWatchdog(Device);
    return STATUS_SUCCESS;
}

/* Life is held. Is there something to recover, or to suspend? */
static BOOLEAN IsUp(const REFERENCE_DEVICE *Device)
{
    return (BOOLEAN)((Device->State == ReferenceRunning || Device->State == ReferenceFailed) &&
                     Device->Powered && Device->Begun);
}

NTSTATUS ReferenceRecover(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status = STATUS_INVALID_DEVICE_STATE;

    if (!ReferenceLockLife(Device))
    {
        return Status;
    }
    if (IsUp(Device))
    {
        ReferenceMove(Device, ReferenceRecovering);
        Status = ResetAndBringUp(Device, STATUS_IO_DEVICE_ERROR);
    }
    if (NT_SUCCESS(Status))
    {
        InterlockedIncrement(&Device->Recoveries);
    }
    ReferenceUnlockLife(Device);
    return Status;
}

NTSTATUS ReferenceSuspend(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status = STATUS_INVALID_DEVICE_STATE;

    if (!ReferenceLockLife(Device))
    {
        return Status;
    }
    if (IsUp(Device))
    {
        ReferenceMove(Device, ReferenceDraining);
        ReferenceAwaitDrain(Device);
        Status = ReferenceLetGo(Device, STATUS_CANCELLED);
        ReferenceSetPowered(Device, FALSE); /* then no DPC is queued any more, */
        ReferenceStopWatchdog(Device);      /* and then none runs */
        ReferenceMove(Device, ReferenceSuspended);
    }
    ReferenceUnlockLife(Device);
    return Status;
}

/*
 * Life is held. Another device stands in its place, or none: the one that this driver knew is gone, and
 * writes nowhere any more.
 */
static VOID Forget(REFERENCE_DEVICE *Device)
{
    ULONG Index;

    Device->DeviceOwnsRings = FALSE;
    ReferenceMove(Device, ReferenceRemoved);
    for (Index = 0; Index < Device->QueueCount; Index++)
    {
        ReferenceQueueReclaim(&Device->Queues[Index], STATUS_DEVICE_NOT_CONNECTED);
    }
}

static NTSTATUS Resume(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status;

    Status = ReferenceCheck(&Device->Location);
    if (!NT_SUCCESS(Status))
    {
        Forget(Device);
        return ReferenceFailedIn(Device, "ReferenceCheck", Status);
    }
    ReferenceSetPowered(Device, TRUE);
    ReferenceMove(Device, ReferenceRecovering);
    return ResetAndBringUp(Device, STATUS_CANCELLED);
}

NTSTATUS ReferenceResume(REFERENCE_DEVICE *Device)
{
    NTSTATUS Status = STATUS_INVALID_DEVICE_STATE;

    if (!ReferenceLockLife(Device))
    {
        return Status;
    }
    if (Device->State == ReferenceSuspended)
    {
        Status = Resume(Device);
    }
    ReferenceUnlockLife(Device);
    return Status;
}

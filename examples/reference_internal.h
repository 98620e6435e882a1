/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the reference driver's files have of each other: reference_driver.c (states, start, stop),
 * reference_queue.c (requests, interrupts, watchdog), reference_power.c (recovery, removal, power).
 */
#ifndef REFERENCE_INTERNAL_H
#define REFERENCE_INTERNAL_H

#include "reference_driver.h"

/* PASSIVE_LEVEL. Notes where a failure comes from, for who reads FailedIn; answers Status. */
NTSTATUS ReferenceFailedIn(REFERENCE_DEVICE *Device, PCSTR Function, NTSTATUS Status);

/*
 * Any IRQL. Sets DRIVER_OK, and looks whether the device took it back (IO_DEVICE_ERROR), found at once that
 * it can't go on (COM-20: DEVICE_NOT_READY), or is gone (DEVICE_NOT_CONNECTED).
 */
NTSTATUS ReferenceSetDriverOk(AERO_VIRTIO_PCI_MODERN_DEVICE *Transport);

/* ---- States: PASSIVE_LEVEL ----------------------------------------------------------------------------- */

/*
 * Life: one change of state at a time, from its first step to its last. FALSE: the device is Absent, or has
 * become so while this waited; the lock isn't held.
 */
BOOLEAN ReferenceLockLife(REFERENCE_DEVICE *Device);
VOID ReferenceUnlockLife(REFERENCE_DEVICE *Device);

/* With Life held. Changes the state, and with it what every queue answers to who submits. */
VOID ReferenceMove(REFERENCE_DEVICE *Device, REFERENCE_STATE State);

/*
 * With Life held and the gates shut. Resets the device. Once it owns nothing any more every request is
 * completed: with what the device said, or with Reason, which is STATUS_DEVICE_NOT_CONNECTED where it's gone.
 * IO_TIMEOUT: it may still own all, so nothing is completed. DEVICE_NOT_CONNECTED.
 */
NTSTATUS ReferenceLetGo(REFERENCE_DEVICE *Device, NTSTATUS Reason);

/* With Life held and the gates shut: waits until nothing is in flight, for DrainMs, or for no good at all. */
VOID ReferenceAwaitDrain(REFERENCE_DEVICE *Device);

/* With Life held. May the service routine touch registers? */
VOID ReferenceSetPowered(REFERENCE_DEVICE *Device, BOOLEAN Powered);

/* With Life held. On return no watchdog runs, and no DPC that was queued before. */
VOID ReferenceStartWatchdog(REFERENCE_DEVICE *Device);
VOID ReferenceStopWatchdog(REFERENCE_DEVICE *Device);

/* ---- Queues -------------------------------------------------------------------------------------------- */

/* PASSIVE_LEVEL. The memory for one queue; on failure QueueFree is due all the same. */
NTSTATUS ReferenceQueueAllocate(REFERENCE_QUEUE *Queue);
VOID ReferenceQueueFree(REFERENCE_QUEUE *Queue);

/* PASSIVE_LEVEL, with Life held. An empty ring on memory that the device doesn't own; then it owns it. */
NTSTATUS ReferenceQueueSetUp(REFERENCE_QUEUE *Queue);

/*
 * PASSIVE_LEVEL, with Life held; the device doesn't own the ring. Completes all that is in flight: what the
 * device had completed before, and the rest with Reason.
 */
VOID ReferenceQueueReclaim(REFERENCE_QUEUE *Queue, NTSTATUS Reason);

/* Interrupts and DPCs. */
KSERVICE_ROUTINE ReferenceIsr;
KDEFERRED_ROUTINE ReferenceQueueDpc;
KDEFERRED_ROUTINE ReferenceConfigDpc;
KDEFERRED_ROUTINE ReferenceWatchdogDpc;

#endif

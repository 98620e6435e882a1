/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The reference driver's second self: what brings the device up when the system has crashed, or hibernates,
 * and moves data by polling. Apart from ReferenceDumpPrepare and ReferenceDumpFree everything runs at
 * HIGH_LEVEL, on the one CPU that is left: no lock, no interrupt, no allocation, no wait but stalls of at
 * most 50 us, each loop bounded. It shares nothing with the REFERENCE_DEVICE of the system that crashed,
 * whose locks may be held and whose notes may be broken: it has memory of its own, allocated while all was
 * well.
 *
 *     the dump port's initialisation         ReferenceDumpPrepare, at PASSIVE_LEVEL, long before
 *     HwInitialize                           ReferenceDumpStart
 *     each write                             ReferenceDumpTransfer
 *     the end, before power goes             ReferenceDumpStop
 */
#ifndef REFERENCE_DUMP_H
#define REFERENCE_DUMP_H

#include <ntddk.h>

#include "reference_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _REFERENCE_DUMP
{
    AERO_VIRTIO_PCI_MODERN_DEVICE Transport;
    AERO_VIRTIO_SPLIT_RING Ring;
    PVOID Bar0;
    ULONG Bar0Length;
    PVOID Shared;
    PHYSICAL_ADDRESS SharedPa;
    PVOID Private;
    USHORT QueueIndex;
    USHORT Size; /* the largest queue that the memory is good for */
    USHORT NotifyOff;
    BOOLEAN DeviceOwnsRing; /* from the set-up to a reset that was confirmed (COM-18) */
    BOOLEAN Running;
} REFERENCE_DUMP;

/*
 * PASSIVE_LEVEL. Maps BAR0 a second time and allocates a ring of up to QueueSize descriptors, for one queue.
 * Touches no register: the device is another's still. On failure nothing is held. INSUFFICIENT_RESOURCES;
 * INVALID_PARAMETER: QueueSize is no power of two up to 32768, or BAR0 is too short.
 */
NTSTATUS ReferenceDumpPrepare(REFERENCE_DUMP *Dump, const REFERENCE_RESOURCES *Resources, USHORT QueueIndex,
                              USHORT QueueSize);

/*
 * HIGH_LEVEL. The system that crashed may have left the device running, and everything may be written to
 * until its reset is confirmed: that comes first. Then one queue, no feature but VERSION_1, no interrupts.
 *
 * IO_TIMEOUT: the reset wasn't confirmed, within 10 ms. NOT_SUPPORTED: the queue is larger than what was
 * prepared for. Else as AeroVirtioNegotiateFeatures, AeroVirtioQueryQueue, AeroVirtioSetupQueue.
 */
NTSTATUS ReferenceDumpStart(REFERENCE_DUMP *Dump);

/*
 * HIGH_LEVEL, after ReferenceDumpStart. Sends one chain and polls until it's back, for at most PatienceMs.
 * *LengthOut is what the device says it wrote; cleared on failure.
 *
 * IO_TIMEOUT: it didn't come back, so its memory is the device's still. DEVICE_PROTOCOL_ERROR: what came back
 * can't be true. DEVICE_NOT_CONNECTED: it's gone. After each of these: ReferenceDumpStop, and perhaps
 * ReferenceDumpStart again. DEVICE_NOT_READY: it needs a reset (COM-20), or ReferenceDumpStart wasn't called
 * since the last of these. INVALID_PARAMETER: as AeroVirtioSplitRingAdd.
 */
NTSTATUS ReferenceDumpTransfer(REFERENCE_DUMP *Dump, const AERO_VIRTIO_SEGMENT *Segments,
                               USHORT ReadableCount, USHORT WritableCount, ULONG PatienceMs,
                               ULONG *LengthOut);

/* HIGH_LEVEL. Resets the device, so that it writes nothing any more. IO_TIMEOUT: it may. Any state. */
NTSTATUS ReferenceDumpStop(REFERENCE_DUMP *Dump);

/*
 * PASSIVE_LEVEL: for a driver that is unloaded without having crashed, or is back from hibernation.
 * IO_TIMEOUT: the device owns the ring, so it's kept: ReferenceDumpStop first.
 */
NTSTATUS ReferenceDumpFree(REFERENCE_DUMP *Dump);

#ifdef __cplusplus
}
#endif

#endif

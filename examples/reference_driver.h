/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A driver for a contract-v1 device, to read and to copy from: how the transport is used by one that gets
 * everything right. WDM shape, on <ntddk.h> and the transport alone. It has no IRPs: its functions are what
 * the dispatch routines of a driver call, and each says which. What the requests mean (disk, network) is the
 * owner's: it gives segments and gets them back. reference_dump.h is the same for a crash dump.
 *
 *     AddDevice                  allocate and zero a REFERENCE_DEVICE in nonpaged memory
 *     IRP_MN_START_DEVICE        ReferenceFind, ReferenceStart
 *     IRP_MJ_READ and so on      ReferenceSubmit; Config.Complete gives each request back, once
 *     a worker                   waits for RecoveryWanted, calls ReferenceRecover
 *     IRP_MN_SET_POWER           to D1-D3: ReferenceSuspend; back to D0: ReferenceResume
 *     IRP_MN_SURPRISE_REMOVAL    ReferenceSurpriseRemove
 *     IRP_MN_STOP_DEVICE, IRP_MN_REMOVE_DEVICE       ReferenceStop
 *
 * IRQL: PASSIVE_LEVEL, where a function's text says nothing else. These wait for each other, so they may come
 * from several threads; system threads, that is, which nobody suspends. Power IRPs come at PASSIVE_LEVEL with
 * DO_POWER_PAGABLE alone, and a completion routine may run at DISPATCH_LEVEL: what follows is a work item's.
 * A driver has its remove lock, or the like, see to it that nothing is submitted once ReferenceStop has begun
 * for good.
 *
 * Locks, outermost first: Life, StateLock, a queue's Lock, the transport's own. Completions are handed out
 * with none of them held.
 */
#ifndef REFERENCE_DRIVER_H
#define REFERENCE_DRIVER_H

#include <ntddk.h>

#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define REFERENCE_VENDOR_ID 0x1AF4u
#define REFERENCE_REVISION  0x01u       /* contract v1: no other is driven (PCI-4) */
#define REFERENCE_TAG       0x52766741u /* "AgvR" */

/* ---- What the owner tells ------------------------------------------------------------------------------ */

/* Where a device is on the bus, and what it said there. From ReferenceFind. */
typedef struct _REFERENCE_LOCATION
{
    ULONG BusNumber;
    ULONG SlotNumber; /* PCI_SLOT_NUMBER.u.AsULONG */
    USHORT DeviceId;
    PHYSICAL_ADDRESS Bar0;
} REFERENCE_LOCATION;

/* Translated resources, from IRP_MN_START_DEVICE. */
typedef struct _REFERENCE_RESOURCES
{
    PHYSICAL_ADDRESS Bar0;
    ULONG Bar0Length;
    ULONG Vector;
    KIRQL Irql;
    KAFFINITY Affinity;
} REFERENCE_RESOURCES;

/* A request of the owner's, in nonpaged memory. From Submit to Complete it is the driver's. */
typedef struct _REFERENCE_REQUEST
{
    ULONG Limit;     /* in periods of the watchdog, up to 2^30; 0: Config.Limit */
    ULONG Due;       /* the driver's, as the next: the watchdog's tick at which it is overdue */
    LIST_ENTRY Link; /* the queue's InFlight */
} REFERENCE_REQUEST;

/*
 * A request is back, with what became of it:
 *     STATUS_SUCCESS               the device has completed it, Length bytes written, as it says (BLK-7)
 *     STATUS_CANCELLED             stop, or suspension: it took longer than Config.DrainMs
 *     STATUS_IO_DEVICE_ERROR       recovery: the device may have carried it out, or not
 *     STATUS_DEVICE_NOT_CONNECTED  removal
 * DISPATCH_LEVEL, no lock held. It may submit. For one queue it may run on two CPUs at a time.
 */
typedef VOID REFERENCE_COMPLETE(PVOID Context, REFERENCE_REQUEST *Request, ULONG Length, NTSTATUS Status);

typedef struct _REFERENCE_CONFIG
{
    ULONG QueueCount;       /* queues 0, 1, ... of the device; fewer where it has fewer */
    USHORT IndirectEntries; /* of each indirect table, at most the queue's size; 0: none */
    ULONGLONG Required;     /* features, beyond VERSION_1 */
    ULONGLONG Wanted;
    BOOLEAN Poll;     /* no interrupt and no watchdog: the owner calls ReferencePoll */
    BOOLEAN Moderate; /* interrupts are off while the DPC reaps */
    ULONG PeriodMs;   /* of the watchdog, below 2^31 */
    ULONG Limit;      /* of a request, in such periods, after which it is overdue */
    ULONG DrainMs;    /* how long stop and suspension wait for what is in flight */
    REFERENCE_COMPLETE *Complete;
    PVOID Context;
} REFERENCE_CONFIG;

/* ---- States -------------------------------------------------------------------------------------------- */

/*
 * In any state but Running a request is refused, with the status beside it. Where the driver has asked for
 * recovery it is so in Running too: STATUS_DEVICE_NOT_READY.
 */
typedef enum _REFERENCE_STATE
{
    ReferenceAbsent = 0, /* INVALID_DEVICE_STATE  zeroed, or stopped: it holds nothing */
    ReferenceStopped,    /* DEVICE_NOT_READY      between the steps of ReferenceStart */
    ReferenceRunning,    /* SUCCESS */
    ReferenceDraining,   /* DEVICE_NOT_READY      on the way to Suspended or Absent */
    ReferenceRecovering, /* DEVICE_NOT_READY */
    ReferenceSuspended,  /* DEVICE_NOT_READY      registers aren't touched: the device may have no power */
    ReferenceFailed,     /* IO_DEVICE_ERROR       it didn't come up again; what next is the owner's to say */
    ReferenceRemoved     /* DEVICE_NOT_CONNECTED  all requests are back; ReferenceStop is all that is left */
} REFERENCE_STATE;

struct _REFERENCE_DEVICE;

typedef struct _REFERENCE_QUEUE
{
    KSPIN_LOCK Lock; /* over what follows, down to Completed */
    NTSTATUS Gate;   /* STATUS_SUCCESS: requests are taken; else what they are refused with */
    AERO_VIRTIO_SPLIT_RING Ring;
    LIST_ENTRY InFlight; /* REFERENCE_REQUEST.Link, oldest first */
    ULONG Tick;          /* of the watchdog */
    ULONG Generation;    /* the device's, when this gate was last set */
    BOOLEAN Rung;        /* the watchdog has rung the doorbell once more, */
    ULONG RungTick;      /* and at this tick */
    ULONGLONG Completed; /* by the device, ever */

    struct _REFERENCE_DEVICE *Device; /* the rest is constant while the device runs */
    USHORT Index;
    USHORT Size;
    USHORT NotifyOff;
    USHORT IndirectEntries;
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    PVOID Shared; /* contiguous: the ring as the device sees it */
    PHYSICAL_ADDRESS SharedPa;
    PVOID Private; /* nonpaged pool: the ring's own notes */
} REFERENCE_QUEUE;

typedef struct _REFERENCE_DEVICE
{
    AERO_VIRTIO_PCI_MODERN_DEVICE Transport;
    REFERENCE_LOCATION Location;
    REFERENCE_RESOURCES Resources;
    REFERENCE_CONFIG Config;
    ULONGLONG Features; /* negotiated, and never less after a recovery or a resumption */
    PCSTR FailedIn;     /* for the event log: the function whose status the last failure was */

    KEVENT Life;             /* a lock: who changes the state; held for seconds at most */
    BOOLEAN DeviceOwnsRings; /* under Life. From the first set-up to a reset that was confirmed (COM-18) */
    BOOLEAN WatchdogIsSet;   /* under Life */
    BOOLEAN Begun;           /* under Life. It ran, and nobody has stopped or removed it since */
    KSPIN_LOCK StateLock;    /* over the next two */
    REFERENCE_STATE State;   /* changed under Life too */
    ULONG Generation;        /* counts changes of State */
    KEVENT RecoveryWanted;   /* call ReferenceRecover at PASSIVE_LEVEL; a new State clears it */
    KEVENT Progress;         /* something was handed out, or recovery asked for */
    volatile LONG LostInterrupts; /* that the watchdog has made up for */
    volatile LONG ConfigChanges;  /* a driver for a real type would read configuration again */
    volatile LONG Recoveries;     /* that succeeded */

    PVOID Bar0;
    PKINTERRUPT Interrupt; /* NULL: not connected */
    BOOLEAN Powered; /* under the interrupt's lock, where there is one. FALSE: leave the registers alone */
    KDPC QueueDpc;
    KDPC ConfigDpc;
    KDPC WatchdogDpc;
    KTIMER Watchdog;
    REFERENCE_QUEUE *Queues;
    ULONG QueueCount;
} REFERENCE_DEVICE;

/* ---- Finding ------------------------------------------------------------------------------------------- */

/*
 * Looks for the Instance-th (from 0) function of that device id, on all buses, and sees to it that it decodes
 * memory, masters the bus and may interrupt. Subsystem ids play no part (PCI-6). Up to DISPATCH_LEVEL, one
 * caller at a time. A driver that PnP has loaded by its INF knows bus and slot from IoGetDeviceProperty; the
 * check of the revision is due all the same.
 *
 * NO_SUCH_DEVICE: there is none. NOT_SUPPORTED: its revision isn't 1 (PCI-4), or BAR0 isn't a 64-bit memory
 * BAR (PCI-7). DEVICE_NOT_READY: BAR0 has no address yet. IO_DEVICE_ERROR: the Command register doesn't hold
 * what was written.
 */
NTSTATUS ReferenceFind(USHORT DeviceId, ULONG Instance, REFERENCE_LOCATION *LocationOut);

/*
 * Is it still there, the same and enabled? For who comes back from where devices may have been changed. As
 * above, and NO_SUCH_DEVICE also for another device id.
 */
NTSTATUS ReferenceCheck(const REFERENCE_LOCATION *Location);

/* ---- Start and stop ------------------------------------------------------------------------------------ */

/*
 * IRP_MN_START_DEVICE, once the drivers below have completed it. Legal in Absent. All of "steps" below, and
 * the watchdog. On failure it has given back what it took, and is Absent; but where the device didn't confirm
 * its reset, Failed: ReferenceStop is due. It makes RecoveryWanted and Progress anew: nobody may be waiting
 * for them.
 *
 * INSUFFICIENT_RESOURCES: memory, a mapping, the interrupt. NO_SUCH_DEVICE, NOT_SUPPORTED, DEVICE_NOT_READY,
 * IO_DEVICE_ERROR: as ReferenceCheck. INVALID_PARAMETER: no Complete, no queue, no such period, BAR0 too
 * short, a bit of Required that the transport doesn't support. Else as AeroVirtioNegotiateFeatures,
 * AeroVirtioQueryQueue, AeroVirtioSetupQueue; IO_DEVICE_ERROR too where DRIVER_OK doesn't stick.
 */
NTSTATUS ReferenceStart(REFERENCE_DEVICE *Device, const REFERENCE_LOCATION *Location,
                        const REFERENCE_RESOURCES *Resources, const REFERENCE_CONFIG *Config);

/*
 * IRP_MN_STOP_DEVICE, IRP_MN_REMOVE_DEVICE. Legal in every state, more than once. Refuses new requests, waits
 * DrainMs for the others, resets, completes the rest as STATUS_CANCELLED, and frees all: Absent.
 *
 * IO_TIMEOUT: the device never confirmed its reset, so it may still write to the rings and to the buffers of
 * requests in flight. These aren't completed, and the memory is kept: better lost than corrupted. Failed.
 * Call it again when that has changed; if it never does, it's lost.
 */
NTSTATUS ReferenceStop(REFERENCE_DEVICE *Device);

/*
 * IRP_MN_SURPRISE_REMOVAL. Legal in every state. Waits for nothing that a device would have to do; completes
 * all with STATUS_DEVICE_NOT_CONNECTED and lets go of interrupt and watchdog: Removed. The memory stays until
 * ReferenceStop, for who submits late. A device that is there after all is reset; IO_TIMEOUT as
 * ReferenceStop: then nothing is completed.
 */
NTSTATUS ReferenceSurpriseRemove(REFERENCE_DEVICE *Device);

/* ---- Requests: up to DISPATCH_LEVEL -------------------------------------------------------------------- */

/*
 * Sends ReadableCount segments that the device reads, then WritableCount that it writes. STATUS_SUCCESS: the
 * request will come back, exactly once, and until then the segments' memory is the device's. Else it hasn't
 * been taken:
 * the status of the state; INVALID_PARAMETER: no such queue, or as AeroVirtioSplitRingAdd;
 * INSUFFICIENT_RESOURCES: the ring is full: again after a completion; DEVICE_PROTOCOL_ERROR: the ring is
 * poisoned, and recovery on its way.
 */
NTSTATUS ReferenceSubmit(REFERENCE_DEVICE *Device, ULONG QueueIndex, REFERENCE_REQUEST *Request,
                         const AERO_VIRTIO_SEGMENT *Segments, USHORT ReadableCount, USHORT WritableCount);

/*
 * The same for several at once, with one doorbell: Add..., then Kick, all while holding Queue->Lock. What was
 * added without error counts as submitted.
 */
NTSTATUS ReferenceAdd(REFERENCE_QUEUE *Queue, REFERENCE_REQUEST *Request, const AERO_VIRTIO_SEGMENT *Segments,
                      USHORT ReadableCount, USHORT WritableCount);
VOID ReferenceKick(REFERENCE_QUEUE *Queue);

/* Hands out what the device has completed, without an interrupt; answers how many. */
ULONG ReferencePoll(REFERENCE_DEVICE *Device);

/* Requests in flight, on all queues. */
ULONG ReferenceInFlight(REFERENCE_DEVICE *Device);

/* ---- Recovery and power -------------------------------------------------------------------------------- */

/*
 * From the owner's worker, when RecoveryWanted is set: a request was overdue and stayed so after a look at
 * the rings and a second doorbell, a ring is poisoned, or the device needs a reset (COM-20) or is gone. Legal
 * in Running, and in Failed where that isn't Start's or Stop's doing. Resets the device, and once that is
 * confirmed completes all that was in flight, and brings it up again on the same memory with the same
 * features.
 *
 * IO_TIMEOUT: not confirmed; nothing was completed, and its memory is the device's still. Failed.
 * DEVICE_NOT_CONNECTED: it's gone; all is completed. Removed. INVALID_DEVICE_STATE: another state: there is
 * nothing to recover from any more. Else as ReferenceStart: all is completed. Failed.
 */
NTSTATUS ReferenceRecover(REFERENCE_DEVICE *Device);

/*
 * IRP_MN_SET_POWER to D1-D3, also for S3 and S4, before it goes down the stack. Legal as ReferenceRecover.
 * Refuses new requests, waits DrainMs for the others, resets, completes the rest as STATUS_CANCELLED. From
 * then on no register is touched. Suspended in any case, since power goes in any case: IO_TIMEOUT: the reset
 * wasn't confirmed, and what is in flight stays so until ReferenceResume. DEVICE_NOT_CONNECTED: it's gone.
 * INVALID_DEVICE_STATE: another state.
 */
NTSTATUS ReferenceSuspend(REFERENCE_DEVICE *Device);

/*
 * IRP_MN_SET_POWER to D0, once the drivers below have completed it and so restored PCI configuration. Legal
 * in Suspended. The device has forgotten everything, and may be another one: its ids and revision are read
 * again, and it is brought up as before, on the same memory with the same features. Statuses as
 * ReferenceCheck, after which the device is Removed, and as ReferenceRecover. INVALID_DEVICE_STATE: another
 * state.
 */
NTSTATUS ReferenceResume(REFERENCE_DEVICE *Device);

/* ---- Steps --------------------------------------------------------------------------------------------- */
/*
 * ReferenceStart in its parts, in this order, for a driver with an order of its own, or a measurement. One
 * thread; after a failure ReferenceStop is due.
 */

/* Legal in Absent. Checks Location, maps BAR0, prepares all that the service routine will need: Stopped. */
NTSTATUS ReferenceMap(REFERENCE_DEVICE *Device, const REFERENCE_LOCATION *Location,
                      const REFERENCE_RESOURCES *Resources, const REFERENCE_CONFIG *Config);

/*
 * Resets the device and negotiates; once it has, only for those features. In Running too, with nothing in
 * flight: then Stopped.
 */
NTSTATUS ReferenceNegotiate(REFERENCE_DEVICE *Device);

/* Allocates the queues' memory. Once. */
NTSTATUS ReferenceAllocate(REFERENCE_DEVICE *Device);

/* Connects the interrupt. Once. */
NTSTATUS ReferenceConnect(REFERENCE_DEVICE *Device);

/* Makes the rings anew, gives them to the device, sets DRIVER_OK and looks whether it stuck: Running. */
NTSTATUS ReferenceGo(REFERENCE_DEVICE *Device);

#ifdef __cplusplus
}
#endif

#endif

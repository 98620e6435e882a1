/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A driver for end-to-end tests, written as one for Windows 7 would be, on ntddk.h and the transport alone:
 * up to four queues, an INTx service routine that claims or refuses, a DPC that reaps and sets an event,
 * resets that gate, confirm and hand cookies back before any memory is used again. It trusts no device and
 * counts what it does, so that a test can compare. nt_rig.h gives it a machine. Calls are made at
 * PASSIVE_LEVEL unless a text says more; on any virtual CPU.
 */
#ifndef NT_DRIVER_H
#define NT_DRIVER_H

#include <ntddk.h>

#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

#define NT_DRIVER_QUEUES_MAX 4u

/* What the bus driver would tell. */
typedef struct _NT_DRIVER_RESOURCES {
    PHYSICAL_ADDRESS Bar0;
    ULONG Bar0Length;
    ULONG Vector;
    KIRQL Irql;
    KAFFINITY Affinity;
} NT_DRIVER_RESOURCES;

/*
 * Hooks, called at DISPATCH_LEVEL with the queue's lock held, on whichever CPU does it. Complete: a cookie is
 * back, by the device (STATUS_SUCCESS) or by TakeBack (STATUS_CANCELLED, Length 0). Settled: the ring has
 * changed and is consistent.
 */
typedef VOID NT_DRIVER_COMPLETE(PVOID Context, ULONG Queue, PVOID Cookie, ULONG Length, NTSTATUS Status);
typedef VOID NT_DRIVER_ADDED(PVOID Context, ULONG Queue, PVOID Cookie);
typedef VOID NT_DRIVER_SETTLED(PVOID Context, ULONG Queue, const AERO_VIRTIO_SPLIT_RING *Ring);

typedef struct _NT_DRIVER_CONFIG {
    ULONG QueueCount;       /* 1 to NT_DRIVER_QUEUES_MAX: queues 0, 1, ... of the device */
    USHORT IndirectEntries; /* of each table, at most the queue's size; 0: INDIRECT_DESC isn't negotiated */
    ULONGLONG LowestPa;     /* ring memory lies at or above it */
    BOOLEAN ReapOneByOne;   /* by Reap instead of ReapMany */
    NT_DRIVER_COMPLETE *Complete; /* each hook may be NULL */
    NT_DRIVER_ADDED *Added;
    NT_DRIVER_SETTLED *Settled;
    PVOID Context;
} NT_DRIVER_CONFIG;

typedef enum _NT_DRIVER_MODE {
    NtDriverPlain,    /* an interrupt for each publication */
    NtDriverModerate, /* none while the DPC reaps */
    NtDriverQuiet     /* none: somebody calls NtDriverDrain */
} NT_DRIVER_MODE;

typedef struct _NT_DRIVER_QUEUE {
    KSPIN_LOCK Lock; /* over the rest, once the driver has started */
    AERO_VIRTIO_SPLIT_RING Ring;
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    BOOLEAN Open; /* FALSE: a reset is due or under way, nothing may be submitted */
    NT_DRIVER_MODE Mode;
    NTSTATUS ReapStatus; /* STATUS_SUCCESS, or why the ring is poisoned */
    USHORT Size;
    USHORT NotifyOff;
    USHORT IndirectEntries;
    PVOID Shared;
    PHYSICAL_ADDRESS SharedPa;
    PVOID Private;
    ULONGLONG Added; /* since NtDriverStart, as the rest */
    ULONGLONG Completed;
    ULONGLONG TakenBack;
    ULONGLONG Doorbells;
    ULONGLONG CompletedHere; /* since the ring was last made: what used.idx counts */
} NT_DRIVER_QUEUE;

typedef struct _NT_DRIVER {
    AERO_VIRTIO_PCI_MODERN_DEVICE Transport;
    NT_DRIVER_RESOURCES Resources;
    NT_DRIVER_CONFIG Config;
    PCSTR FailedIn; /* the function whose status the last failure was */
    ULONGLONG Features;
    PVOID Bar0;
    PKINTERRUPT Interrupt;
    KDPC Dpc;
    KEVENT Event; /* the DPC, or a reset, has changed something */
    NT_DRIVER_QUEUE Queues[NT_DRIVER_QUEUES_MAX];

    volatile LONG Busy;       /* 1: somebody resets */
    volatile LONG Causes;     /* ISR bits that the DPC hasn't seen yet */
    volatile LONG NeedsReset; /* 1: the device said so, or poisoned a ring */
    volatile LONG Claimed;    /* counters */
    volatile LONG Refused;
    volatile LONG ConfigCauses;
    volatile LONG QueueCauses;
    volatile LONG Dpcs;
} NT_DRIVER;

/*
 * Maps BAR0, negotiates, allocates and sets up the queues, connects the interrupt, sets DRIVER_OK and looks
 * whether it stuck. On failure FailedIn says where, and NtDriverStop is due all the same.
 */
NTSTATUS NtDriverStart(NT_DRIVER *Driver, const NT_DRIVER_RESOURCES *Resources,
                       const NT_DRIVER_CONFIG *Config);

/*
 * Adds a chain; publishes what was added and rings; both. Up to DISPATCH_LEVEL. Statuses of
 * AeroVirtioSplitRingAdd; DEVICE_NOT_READY too while a reset is under way. The cookie is the driver's on
 * STATUS_SUCCESS alone.
 */
NTSTATUS NtDriverAdd(NT_DRIVER *Driver, ULONG Queue, const AERO_VIRTIO_SEGMENT *Segments,
                     USHORT ReadableCount, USHORT WritableCount, PVOID Cookie);
VOID NtDriverKick(NT_DRIVER *Driver, ULONG Queue);
NTSTATUS NtDriverSubmit(NT_DRIVER *Driver, ULONG Queue, const AERO_VIRTIO_SEGMENT *Segments,
                        USHORT ReadableCount, USHORT WritableCount, PVOID Cookie);

/* Reaps what there is, as a watchdog or a poller does; answers how many. Up to DISPATCH_LEVEL. */
ULONG NtDriverDrain(NT_DRIVER *Driver, ULONG Queue);

/* Up to DISPATCH_LEVEL. Leaving NtDriverQuiet reaps what came meanwhile. */
VOID NtDriverSetMode(NT_DRIVER *Driver, ULONG Queue, NT_DRIVER_MODE Mode);

/* Waits for Event. STATUS_SUCCESS or STATUS_TIMEOUT. */
NTSTATUS NtDriverWait(NT_DRIVER *Driver, ULONG Milliseconds);

ULONG NtDriverInFlight(NT_DRIVER *Driver, ULONG Queue); /* up to DISPATCH_LEVEL */

/*
 * Gates the queues, resets the device, and once that is confirmed, or the device gone (DEVICE_NOT_CONNECTED),
 * hands every cookie back. IO_TIMEOUT: the device may own everything still, so nothing is handed back, and
 * the gate stays shut. DEVICE_BUSY: another CPU is at it.
 */
NTSTATUS NtDriverReset(NT_DRIVER *Driver);

/* The same, then everything anew on the same memory, up to DRIVER_OK. On failure the gate stays shut. */
NTSTATUS NtDriverRecover(NT_DRIVER *Driver);

/*
 * Resets, disconnects and frees. IO_TIMEOUT: the memory and the mapping are kept, for the device may use
 * them; call it again when that has changed. After any failed start too, and a second time for nothing.
 */
NTSTATUS NtDriverStop(NT_DRIVER *Driver);

#endif

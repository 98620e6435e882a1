/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bench's driver, written as one for Windows 7 would be: one device, one queue (0), an INTx service
 * routine that claims or refuses, a DPC that reaps and sets an event. It stands on ntddk.h and the transport
 * alone and knows nothing of simulators; rig.c gives it a machine. Calls are made at PASSIVE_LEVEL unless a
 * text says more.
 */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include <ntddk.h>

#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

#define BENCH_TAG 0x68636E42u /* 'Bnch' */

/* How long a device may be silent that owes an answer. */
#define BENCH_PATIENCE_SECONDS 3

/* What the bus driver would tell: where BAR0 is and how the device interrupts. */
typedef struct _BENCH_RESOURCES {
    PHYSICAL_ADDRESS Bar0;
    ULONG Bar0Length;
    ULONG Vector;
    KIRQL Irql;
    KAFFINITY Affinity;
} BENCH_RESOURCES;

/* Called by the DPC (or by who polls) for each completion, with RingLock held. */
typedef VOID BENCH_COMPLETE(PVOID Context, PVOID Cookie, ULONG Length);

typedef struct _BENCH_DRIVER {
    AERO_VIRTIO_PCI_MODERN_DEVICE Transport;
    ULONGLONG Features;   /* negotiated */
    const char *FailedIn; /* the function whose status the last failure was */

    /* Set by the owner after BenchDriverMap */
    BENCH_COMPLETE *Complete; /* NULL: completions are only counted */
    PVOID CompleteContext;
    BOOLEAN Moderate; /* the DPC keeps interrupts off while it reaps */
    ULONG PatienceSeconds;

    /* Under RingLock while interrupts are connected */
    AERO_VIRTIO_SPLIT_RING Ring;
    ULONGLONG Completed;
    NTSTATUS ReapStatus; /* why reaping stopped for good, or STATUS_SUCCESS */

    KSPIN_LOCK RingLock;
    KEVENT Done; /* the DPC has reaped something, or found the ring poisoned */
    KDPC Dpc;
    PKINTERRUPT Interrupt;
    PVOID Bar0;
    ULONG Bar0Length;
    USHORT QueueSize;
    USHORT IndirectEntries;
    USHORT NotifyOff;
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    PVOID Shared;
    PHYSICAL_ADDRESS SharedPa;
    PVOID Private;
} BENCH_DRIVER;

/* Maps BAR0 and prepares the transport; touches no register. On failure nothing is held. */
NTSTATUS BenchDriverMap(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources);

/* Resets the device and negotiates: Wanted as far as it's offered. */
NTSTATUS BenchDriverNegotiate(BENCH_DRIVER *Driver, ULONGLONG Wanted);

/*
 * Asks queue 0 for its size, and allocates memory for such a ring with indirect tables of so many descriptors
 * (0: none).
 */
NTSTATUS BenchDriverAllocateRing(BENCH_DRIVER *Driver, USHORT IndirectEntries);

/* Connects the interrupt; from here on the DPC reaps. */
NTSTATUS BenchDriverConnect(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources);

/* Makes the ring anew, gives it to the device, and sets DRIVER_OK. The device has been negotiated with. */
NTSTATUS BenchDriverGo(BENCH_DRIVER *Driver);

/*
 * All of the above in order: map, negotiate, allocate, connect where Connect, go. On failure call
 * BenchDriverStop all the same.
 */
NTSTATUS BenchDriverStart(BENCH_DRIVER *Driver, const BENCH_RESOURCES *Resources, ULONGLONG Wanted,
                          USHORT IndirectEntries, BOOLEAN Connect);

/* Waits until Completed reaches Target. STATUS_IO_TIMEOUT: no interrupt came for PatienceSeconds. */
NTSTATUS BenchDriverWait(BENCH_DRIVER *Driver, ULONGLONG Target);

/*
 * Publishes what was added and rings the doorbell where it's due. RingLock is held, or nobody else is there.
 */
NTSTATUS BenchDriverKick(BENCH_DRIVER *Driver);

/* Adds one chain as AeroVirtioSplitRingAdd does, and kicks, under RingLock. */
NTSTATUS BenchDriverSubmit(BENCH_DRIVER *Driver, const AERO_VIRTIO_SEGMENT *Segments, USHORT ReadableCount,
                           USHORT WritableCount, PVOID Cookie);

/*
 * Resets the device. Where that fails it may still own the ring: it must be unplugged before BenchDriverFree.
 */
NTSTATUS BenchDriverStop(BENCH_DRIVER *Driver);

/* Gives everything back that any of the above took. */
VOID BenchDriverFree(BENCH_DRIVER *Driver);

/* "STATUS_IO_TIMEOUT"; for one not known here "an unknown status". */
PCSTR BenchStatusName(NTSTATUS Status);

#endif

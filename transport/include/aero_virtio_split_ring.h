/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's side of a split ring (contract RNG): takes buffers, makes them available, hands completions
 * back. It trusts nothing that the device writes: what it needs to know of a chain it keeps in memory of its
 * own, and device output that can't be true poisons the ring (RNG-11). It allocates nothing, takes no lock,
 * knows no PCI and rings no doorbell: AeroVirtioNotifyQueue does, when AeroVirtioSplitRingNeedsKick says so.
 *
 * Every function runs at any IRQL; the caller serialises all calls on one ring. Memory is nonpaged.
 *
 *     AeroVirtioSplitRingGetLayout -> allocate -> Init -> AeroVirtioSetupQueue -> DRIVER_OK
 *     Add... -> Publish -> if NeedsKick: AeroVirtioNotifyQueue
 *     interrupt -> SuppressInterrupts -> Reap until NO_MORE_ENTRIES -> RearmInterrupts; TRUE: Reap again
 *     reset confirmed (or device gone) -> TakeBack until FALSE -> Init again, or free the memory
 */
#ifndef AERO_VIRTIO_SPLIT_RING_H
#define AERO_VIRTIO_SPLIT_RING_H

#include <ntddk.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AERO_VIRTIO_SPLIT_RING_SIZE_MAX 32768u

/* Descriptor flags and ring flags, as masks (RNG-1). */
#define AERO_VIRTIO_DESC_NEXT          0x0001u
#define AERO_VIRTIO_DESC_WRITE         0x0002u
#define AERO_VIRTIO_DESC_INDIRECT      0x0004u
#define AERO_VIRTIO_AVAIL_NO_INTERRUPT 0x0001u

/* A piece of a buffer as the device sees it. A segment may end at the very last address. */
typedef struct _AERO_VIRTIO_SEGMENT
{
    ULONGLONG Address; /* guest-physical */
    ULONG Length;      /* bytes; 0: the segment is left out */
    ULONG Reserved;    /* ignored */
} AERO_VIRTIO_SEGMENT;

typedef struct _AERO_VIRTIO_COMPLETION
{
    void *Cookie;
    ULONG Length; /* bytes that the device says it wrote: at most the chain's writable bytes, never more */
} AERO_VIRTIO_COMPLETION;

/*
 * How much memory a ring needs and where its parts lie, in bytes. The offsets make AvailPa and UsedPa 4 less
 * than a multiple of 64, on purpose: each index has a cache line of its own, and used elements are naturally
 * aligned.
 */
typedef struct _AERO_VIRTIO_SPLIT_RING_LAYOUT
{
    ULONG SharedBytes;  /* seen by the device: physically contiguous, aligned to 64 or better */
    ULONG PrivateBytes; /* the driver's own: nonpaged, aligned to 8, better to 64 */
    ULONG DescOffset;   /* the rest are offsets into the shared part */
    ULONG AvailOffset;
    ULONG UsedOffset;
    ULONG IndirectOffset; /* 0: there are no indirect tables */
} AERO_VIRTIO_SPLIT_RING_LAYOUT;

/* What the device did that can't be (RNG-11), and what PoisonValue then is. */
typedef enum _AERO_VIRTIO_RING_POISON
{
    AeroVirtioRingNotPoisoned = 0,
    AeroVirtioRingUsedIndexJumped,   /* used.idx moved by more than is in flight, or backwards: the index */
    AeroVirtioRingUsedIdOutOfRange,  /* used.id is at or above the queue size, as 32 bits: the id */
    AeroVirtioRingUsedIdMidChain,    /* used.id is a later descriptor of a chain: the id */
    AeroVirtioRingUsedIdNotInFlight, /* used.id was never made available, or was completed already: the id */
    AeroVirtioRingUsedLengthTooLong  /* used.len is beyond the chain's writable bytes: the length */
} AERO_VIRTIO_RING_POISON;

/* Private to aero_virtio_split_ring.c. One a descriptor; a chain's is its head's. */
typedef struct _AERO_VIRTIO_RING_SHADOW
{
    void *Cookie;
    ULONGLONG State; /* 0: not in flight */
} AERO_VIRTIO_RING_SHADOW;

/*
 * A ring. Zeroed, it refuses everything until Init. The caller may read what stands above "private", from
 * Init on.
 */
typedef struct _AERO_VIRTIO_SPLIT_RING
{
    ULONGLONG DescPa; /* for AeroVirtioSetupQueue */
    ULONGLONG AvailPa;
    ULONGLONG UsedPa;
    USHORT QueueSize;       /* descriptors: a power of two */
    USHORT IndirectEntries; /* descriptors in each indirect table; 0: there are none */
    AERO_VIRTIO_RING_POISON PoisonReason;
    ULONG PoisonValue;

    /* private */
    BOOLEAN Accepts; /* FALSE: not initialised, poisoned or taken back */
    BOOLEAN KickDue;
    USHORT AvailFlags;       /* avail.flags as last written */
    ULONG IndexMask;         /* QueueSize - 1 */
    ULONG FreeFirst;         /* where in FreeQueue the next free descriptor stands, before masking */
    USHORT NextAvail;        /* avail index of the next chain */
    USHORT PublishedAvail;   /* avail.idx as the device can see it */
    ULONG FreeLast;          /* where in FreeQueue the next one freed goes */
    ULONG NeverUsed;         /* the first descriptor that was never taken: those behind it weren't either */
    USHORT NextUsed;         /* used index of the next completion */
    USHORT SeenUsed;         /* used.idx as last read and checked */
    ULONG TakeBackNext;      /* the next descriptor that TakeBack looks at */
    ULONGLONG *Desc;         /* shared: two a descriptor */
    USHORT *Avail;           /* shared: flags, idx, ring[] */
    USHORT *Used;            /* shared: flags, idx */
    ULONGLONG *UsedElements; /* shared: what follows them, one an element */
    ULONGLONG *Indirect;     /* shared: tables, two a descriptor */
    ULONGLONG IndirectPa;
    AERO_VIRTIO_RING_SHADOW *Shadow; /* the rest is the driver's own memory, QueueSize of each */
    USHORT *FreeQueue;               /* descriptors that became free, in that order */
    USHORT *AvailHeads;              /* avail.ring as last written */
    USHORT *Links;                   /* the next descriptor of a chain */
} AERO_VIRTIO_SPLIT_RING;

/*
 * The memory that a ring of QueueSize descriptors needs. IndirectEntries 0: no indirect tables, as where
 * INDIRECT_DESC wasn't negotiated (RNG-7); else one table of that many descriptors for each head (16 *
 * QueueSize * IndirectEntries bytes).
 *
 * INVALID_PARAMETER: LayoutOut NULL; QueueSize no power of two from 1 to 32768; IndirectEntries above
 * QueueSize (no chain may be longer than the queue, RNG-8), or so many that the tables would take 1 GiB or
 * more. *LayoutOut is then zeroed.
 */
NTSTATUS AeroVirtioSplitRingGetLayout(USHORT QueueSize, USHORT IndirectEntries,
                                      AERO_VIRTIO_SPLIT_RING_LAYOUT *LayoutOut);

/*
 * Makes an empty ring and zeroes all its memory. The memory, laid out as GetLayout said for the same two
 * numbers, stays the caller's and must outlive the ring. Legal only while the device doesn't own the ring:
 * before its first set-up, or again after a reset that was confirmed (COM-18). Cookies still in flight are
 * forgotten: TakeBack comes first.
 *
 * INVALID_PARAMETER: a pointer that is NULL, numbers that GetLayout refuses, SharedVa or SharedPa not aligned
 * to 64, SharedPa 0 or too near the end of the address space, PrivateVa not aligned to 8. *Ring is then
 * zeroed.
 */
NTSTATUS AeroVirtioSplitRingInit(AERO_VIRTIO_SPLIT_RING *Ring, USHORT QueueSize, USHORT IndirectEntries,
                                 void *SharedVa, ULONGLONG SharedPa, void *PrivateVa);

/*
 * Adds one chain: ReadableCount segments that the device reads, then WritableCount that it writes. The device
 * can't see it before Publish. Segments of length 0 are left out. Two segments or more go into the head's
 * indirect table where there is one and they fit; else each takes a descriptor. Cookie is any value, and
 * comes back exactly once: from Reap or TakeBack. *Segments isn't kept; the buffers belong to the device
 * until the cookie is back.
 *
 * INVALID_PARAMETER: Ring or Segments NULL, no segment that isn't empty, more segments than the queue has
 *     descriptors, a segment that wraps around the address space, more than 2^32 bytes in all (virtio 1.2,
 *     2.7.5.2).
 * INSUFFICIENT_RESOURCES: not enough free descriptors now.
 * DEVICE_PROTOCOL_ERROR: the ring is poisoned. DEVICE_NOT_READY: it was taken back, or never initialised.
 *
 * On each of these nothing has changed, and Cookie stays with the caller.
 */
NTSTATUS AeroVirtioSplitRingAdd(AERO_VIRTIO_SPLIT_RING *Ring, const AERO_VIRTIO_SEGMENT *Segments,
                                USHORT ReadableCount, USHORT WritableCount, void *Cookie);

/* Makes all that was added visible to the device, at once (RNG-10). A ring that refuses work does nothing. */
void AeroVirtioSplitRingPublish(AERO_VIRTIO_SPLIT_RING *Ring);

/*
 * TRUE once after each Publish that moved avail.idx: ring the doorbell now. What the device's used.flags say
 * plays no part (NTF-5). FALSE for a ring that refuses work: no doorbell follows a reset.
 */
BOOLEAN AeroVirtioSplitRingNeedsKick(AERO_VIRTIO_SPLIT_RING *Ring);

/*
 * The next completion: its cookie, and how many bytes the device says it wrote. That is no more than the
 * chain's writable bytes, but may be less than the caller's protocol asks for, or 0, whatever happened
 * (BLK-7).
 *
 * NO_MORE_ENTRIES: none now (a warning: NT_SUCCESS says FALSE). INVALID_PARAMETER: a pointer is NULL.
 * DEVICE_PROTOCOL_ERROR: the device's output can't be true. The ring is poisoned: Ring->PoisonReason and
 *     PoisonValue say why, and it touches no shared memory any more. Next: reset the device, TakeBack, Init.
 * DEVICE_NOT_READY: the ring was taken back, or never initialised.
 *
 * On each of these *CookieOut is NULL and *LengthOut 0.
 */
NTSTATUS AeroVirtioSplitRingReap(AERO_VIRTIO_SPLIT_RING *Ring, void **CookieOut, ULONG *LengthOut);

/*
 * The same for up to Max completions at once; answers how many. *StatusOut is STATUS_SUCCESS when the answer
 * is Max, else why there are no more, as Reap says. Completions found before the bad one are good, and handed
 * out. What lies behind the answered count isn't touched. Max 0 is an INVALID_PARAMETER. A drain that must
 * end asks for at most InFlightCount (quirk 48).
 */
ULONG AeroVirtioSplitRingReapMany(AERO_VIRTIO_SPLIT_RING *Ring, AERO_VIRTIO_COMPLETION *Completions,
                                  ULONG Max, NTSTATUS *StatusOut);

/* Asks the device for no interrupts on this queue. It's a hint: one may still come (INT-5). */
void AeroVirtioSplitRingSuppressInterrupts(AERO_VIRTIO_SPLIT_RING *Ring);

/*
 * Asks for interrupts again, then looks once more. TRUE: there is something to reap for which no interrupt
 * may come; drain again and rearm again. FALSE: the next completion brings an interrupt (or the ring refuses
 * work).
 */
BOOLEAN AeroVirtioSplitRingRearmInterrupts(AERO_VIRTIO_SPLIT_RING *Ring);

/*
 * Hands back the cookie of one chain that is in flight, published or not; FALSE and NULL when there are none
 * left. Legal once the device no longer owns the ring: its reset was confirmed, or it's gone. From the first
 * call on the ring refuses work until Init. It works on a poisoned ring, and touches no shared memory. Order:
 * by descriptor, not by time.
 */
BOOLEAN AeroVirtioSplitRingTakeBack(AERO_VIRTIO_SPLIT_RING *Ring, void **CookieOut);

/* Descriptors that are free. A chain takes one for each segment, or one in all with an indirect table. */
USHORT AeroVirtioSplitRingFreeCount(const AERO_VIRTIO_SPLIT_RING *Ring);

/* Chains added, published or not, whose cookies aren't back yet. */
USHORT AeroVirtioSplitRingInFlightCount(const AERO_VIRTIO_SPLIT_RING *Ring);

BOOLEAN AeroVirtioSplitRingIsPoisoned(const AERO_VIRTIO_SPLIT_RING *Ring);

#ifdef __cplusplus
}
#endif

#endif

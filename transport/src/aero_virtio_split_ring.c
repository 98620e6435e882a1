/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's side of a split ring. All that decides anything is kept in the ring's private memory: of
 * what is shared the used ring is read, and checked; descriptors are read back only to leave alone those
 * that say what they should. Any IRQL; the caller serialises.
 *
 * Barriers, and their partners in the device's code (simulator/src: ring.h, P4 in service.c):
 *   P1  avail.idx is released after descriptors and slots    its load-acquire of avail.idx
 *   P2  used.idx is acquired before used elements            its store-release of used.idx
 *   P3  NO_INTERRUPT cleared, full, used.idx read            used.idx published, full, avail.flags read
 *   P4  avail.idx published, full, doorbell (NTF-4)          doorbell acquired, avail.idx read
 * P4's lies in AeroVirtioNotifyQueue.
 */
#include "aero_virtio_split_ring.h"
#include "aero_virtio_shared.h"

/*
 * Each index shares its cache line with nothing that the other side writes or, for the avail ring, hardly
 * ever writes: see AeroVirtioRingMakeAvailable.
 */
#define RING_LINE               64u
#define RING_HEADER_BYTES       4u
#define RING_DESC_BYTES         16u
#define RING_USED_ELEMENT_BYTES 8u
#define RING_INDIRECT_BYTES_MAX 0x40000000u
#define RING_CHAIN_BYTES_MAX    ((ULONGLONG)1 << 32)

/* Index of the parts that follow flags and idx, in 16-bit units. */
#define RING_FLAGS 0u
#define RING_IDX   1u
#define RING_SLOTS 2u

/*
 * AERO_VIRTIO_RING_SHADOW.State, in one word since all of it changes at once: the writable bytes (bits 0
 * to 31), the avail index that the chain was added at (32 to 47), its count of direct descriptors (48 to
 * 63).
 */
#define STATE_NOT_IN_FLIGHT ((ULONGLONG)0)
#define STATE_MID_CHAIN     ((ULONGLONG)0xFFFF << 48)
#define STATE_OF(WritableBytes, Position, Count) \
    ((ULONGLONG)(WritableBytes) | ((ULONGLONG)(Position) << 32) | ((ULONGLONG)(Count) << 48))
#define STATE_WRITABLE_BYTES(State) ((ULONG)(State))
#define STATE_POSITION(State)       ((USHORT)((State) >> 32))
#define STATE_COUNT(State)          ((ULONG)((State) >> 48))

/*
 * A head in flight: its count is neither 0, as where nothing is in flight, nor 0xFFFF, as within a chain.
 */
#define STATE_IS_HEAD(State) (((STATE_COUNT(State) + 1u) & 0xFFFEu) != 0)

typedef struct _RING_CHAIN
{
    const AERO_VIRTIO_SEGMENT *Segments;
    ULONG SegmentCount;
    ULONG ReadableCount; /* of SegmentCount, the first so many */
    ULONG Count;         /* of SegmentCount, those that aren't empty */
    ULONG WritableBytes; /* saturated: used.len has 32 bits */
} RING_CHAIN;

static ULONG RingRoundUp(ULONG Bytes)
{
    return (Bytes + RING_LINE - 1u) & ~(RING_LINE - 1u);
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

NTSTATUS AeroVirtioSplitRingGetLayout(USHORT QueueSize, USHORT IndirectEntries,
                                      AERO_VIRTIO_SPLIT_RING_LAYOUT *LayoutOut)
{
    ULONG Size;
    ULONG Tables;
    ULONG End;

    if (LayoutOut == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    RtlZeroMemory(LayoutOut, sizeof(*LayoutOut));
    Size = QueueSize;
    Tables = Size * IndirectEntries;
    if (Size == 0 || (Size & (Size - 1u)) != 0 || Size > AERO_VIRTIO_SPLIT_RING_SIZE_MAX ||
        IndirectEntries > Size || Tables >= RING_INDIRECT_BYTES_MAX / RING_DESC_BYTES)
    {
        return STATUS_INVALID_PARAMETER;
    }

    LayoutOut->DescOffset = 0;
    End = RingRoundUp(Size * RING_DESC_BYTES) + RING_LINE;
    LayoutOut->AvailOffset = End - RING_HEADER_BYTES;
    End = RingRoundUp(End + Size * (ULONG)sizeof(USHORT)) + RING_LINE;
    LayoutOut->UsedOffset = End - RING_HEADER_BYTES;
    End = RingRoundUp(End + Size * RING_USED_ELEMENT_BYTES);
    if (IndirectEntries != 0)
    {
        LayoutOut->IndirectOffset = End;
        End = RingRoundUp(End + Tables * RING_DESC_BYTES);
    }
    LayoutOut->SharedBytes = End;
    LayoutOut->PrivateBytes =
        RingRoundUp(Size * ((ULONG)sizeof(AERO_VIRTIO_RING_SHADOW) + 3u * (ULONG)sizeof(USHORT)));
    return STATUS_SUCCESS;
}

/* A device told to stop may still be writing (quirk 6): shared memory is touched only by its macros. */
static void RingZeroShared(void *SharedVa, ULONG Bytes)
{
    ULONGLONG *Words;
    ULONG Index;

    Words = (ULONGLONG *)SharedVa;
    for (Index = 0; Index < Bytes / (ULONG)sizeof(ULONGLONG); Index++)
    {
        AERO_VIRTIO_SHARED_WRITE64(&Words[Index], 0);
    }
}

NTSTATUS AeroVirtioSplitRingInit(AERO_VIRTIO_SPLIT_RING *Ring, USHORT QueueSize, USHORT IndirectEntries,
                                 void *SharedVa, ULONGLONG SharedPa, void *PrivateVa)
{
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    UCHAR *Shared;

    if (Ring == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    RtlZeroMemory(Ring, sizeof(*Ring));
    if (SharedVa == NULL || SharedPa == 0 || PrivateVa == NULL || (SharedPa & (RING_LINE - 1u)) != 0 ||
        ((ULONG_PTR)SharedVa & (RING_LINE - 1u)) != 0 || ((ULONG_PTR)PrivateVa & 7u) != 0 ||
        !NT_SUCCESS(AeroVirtioSplitRingGetLayout(QueueSize, IndirectEntries, &Layout)) ||
        SharedPa > ~(ULONGLONG)0 - (Layout.SharedBytes - 1u))
    {
        return STATUS_INVALID_PARAMETER;
    }
    RingZeroShared(SharedVa, Layout.SharedBytes);
    RtlZeroMemory(PrivateVa, Layout.PrivateBytes);

    Shared = (UCHAR *)SharedVa;
    Ring->Desc = (ULONGLONG *)(void *)(Shared + Layout.DescOffset);
    Ring->Avail = (USHORT *)(void *)(Shared + Layout.AvailOffset);
    Ring->Used = (USHORT *)(void *)(Shared + Layout.UsedOffset);
    Ring->UsedElements = (ULONGLONG *)(void *)(Shared + Layout.UsedOffset + RING_HEADER_BYTES);
    Ring->DescPa = SharedPa + Layout.DescOffset;
    Ring->AvailPa = SharedPa + Layout.AvailOffset;
    Ring->UsedPa = SharedPa + Layout.UsedOffset;
    if (IndirectEntries != 0)
    {
        Ring->Indirect = (ULONGLONG *)(void *)(Shared + Layout.IndirectOffset);
        Ring->IndirectPa = SharedPa + Layout.IndirectOffset;
    }

    Ring->Shadow = (AERO_VIRTIO_RING_SHADOW *)PrivateVa;
    Ring->FreeQueue = (USHORT *)(void *)(Ring->Shadow + QueueSize);
    Ring->AvailHeads = Ring->FreeQueue + QueueSize;
    Ring->Links = Ring->AvailHeads + QueueSize;
    Ring->QueueSize = QueueSize;
    Ring->IndexMask = QueueSize - 1u;
    Ring->IndirectEntries = IndirectEntries;
    Ring->Accepts = TRUE;
    return STATUS_SUCCESS;
}

/* ---- Descriptors: first in, first out ------------------------------------------------------------------ */
/*
 * Recycled in order, descriptors are used one after another: four of them travel to the device in one
 * cache line, and are not written again before the others have had their turn. One that was never used is
 * taken only where none is recycled, so that a long ring with little in flight touches little memory.
 */

static __inline ULONG RingFreeCount(const AERO_VIRTIO_SPLIT_RING *Ring)
{
    return Ring->FreeLast - Ring->FreeFirst + (Ring->QueueSize - Ring->NeverUsed);
}

/* Sees to it that Count descriptors, of those that are free, stand in the queue of recycled ones. */
static void RingTopUp(AERO_VIRTIO_SPLIT_RING *Ring, ULONG Count)
{
    while (Ring->FreeLast - Ring->FreeFirst < Count)
    {
        Ring->FreeQueue[Ring->FreeLast & Ring->IndexMask] = (USHORT)Ring->NeverUsed;
        Ring->FreeLast++;
        Ring->NeverUsed++;
    }
}

/* The caller has seen that a recycled one is there. */
static __inline USHORT RingTakeDescriptor(AERO_VIRTIO_SPLIT_RING *Ring)
{
    return Ring->FreeQueue[Ring->FreeFirst++ & Ring->IndexMask];
}

static __inline void RingGiveDescriptor(AERO_VIRTIO_SPLIT_RING *Ring, USHORT Descriptor)
{
    Ring->Shadow[Descriptor].State = STATE_NOT_IN_FLIGHT;
    Ring->FreeQueue[Ring->FreeLast & Ring->IndexMask] = Descriptor;
    Ring->FreeLast++;
}

/*
 * Frees what follows a chain's head by the driver's own links, whatever the device made of the
 * descriptors (quirk 32).
 */
static void RingGiveRest(AERO_VIRTIO_SPLIT_RING *Ring, USHORT Head, ULONG Count)
{
    USHORT Descriptor;

    for (Descriptor = Head; Count > 1u; Count--)
    {
        Descriptor = Ring->Links[Descriptor];
        RingGiveDescriptor(Ring, Descriptor);
    }
}

/*
 * A store takes the line out of the device's cache, and the device has to fetch it again. So what stands
 * there already is left alone: buffers that go round and round find their descriptors as they left them.
 * What is read decides this and nothing more: a device that scribbles there gains what it would by
 * scribbling later.
 */
static __inline void RingSettle(ULONGLONG *Word, ULONGLONG Value)
{
    if (AERO_VIRTIO_SHARED_READ64(Word) != Value)
    {
        AERO_VIRTIO_SHARED_WRITE64(Word, Value);
    }
}

/*
 * A buffer that isn't the one of a lap ago will be followed by others, and the device has read the lines of
 * their descriptors: the one after the next is asked for, to be written to. A prefetch changes and reads
 * nothing. Past the table's end lies avail.idx, which the driver will write as well.
 */
static __inline void RingWriteDescriptor(ULONGLONG *Table, ULONG Index, ULONGLONG Address, ULONG Length,
                                         ULONG Flags, ULONG Next)
{
    ULONGLONG *Words;

    Words = Table + 2u * (SIZE_T)Index;
    if (AERO_VIRTIO_SHARED_READ64(&Words[0]) != Address)
    {
        AERO_VIRTIO_SHARED_WRITE64(&Words[0], Address);
        PrefetchForWrite(&Words[2u * RING_LINE / sizeof(*Words)]);
    }
    RingSettle(&Words[1], Length | ((ULONGLONG)(Flags | Next << 16) << 32));
}

/* ---- Adding -------------------------------------------------------------------------------------------- */

/*
 * Heads that come in order fall on the same slots again, lap for lap. Leaving such a slot alone leaves
 * its line where it is: in the device's cache.
 */
static __inline void RingMakeAvailable(AERO_VIRTIO_SPLIT_RING *Ring, USHORT Head, ULONG Count,
                                       ULONG WritableBytes, void *Cookie)
{
    USHORT Position;
    ULONG Slot;

    Position = Ring->NextAvail;
    Ring->NextAvail = (USHORT)(Position + 1u);
    Ring->Shadow[Head].Cookie = Cookie;
    Ring->Shadow[Head].State = STATE_OF(WritableBytes, Position, Count);
    Slot = Position & Ring->IndexMask;
    if (Ring->AvailHeads[Slot] != Head)
    {
        Ring->AvailHeads[Slot] = Head;
        AERO_VIRTIO_SHARED_WRITE16(&Ring->Avail[RING_SLOTS + Slot], Head);
    }
}

static NTSTATUS RingRefusal(const AERO_VIRTIO_SPLIT_RING *Ring)
{
    return Ring->PoisonReason != AeroVirtioRingNotPoisoned ? STATUS_DEVICE_PROTOCOL_ERROR
                                                           : STATUS_DEVICE_NOT_READY;
}

/* A segment may end at the last address, not beyond it. Length isn't 0. */
static __inline BOOLEAN RingSegmentWraps(const AERO_VIRTIO_SEGMENT *Segment)
{
    return (BOOLEAN)(Segment->Address > ~(ULONGLONG)0 - (Segment->Length - 1u));
}

/* Counts what isn't empty of Count segments, and adds up its bytes; FALSE where a segment wraps. */
static __inline BOOLEAN RingMeasureSegments(const AERO_VIRTIO_SEGMENT *Segments, ULONG Count, ULONG *CountOut,
                                            ULONGLONG *BytesOut)
{
    ULONG NotEmpty;
    ULONGLONG Bytes;

    NotEmpty = 0;
    Bytes = 0;
    for (; Count != 0; Count--, Segments++)
    {
        if (Segments->Length != 0)
        {
            if (RingSegmentWraps(Segments))
            {
                return FALSE;
            }
            Bytes += Segments->Length;
            NotEmpty++;
        }
    }
    *CountOut = NotEmpty;
    *BytesOut = Bytes;
    return TRUE;
}

/* Checks all of a chain before anything is changed. */
static __inline NTSTATUS RingMeasureChain(const AERO_VIRTIO_SPLIT_RING *Ring, RING_CHAIN *Chain)
{
    ULONGLONG Readable;
    ULONGLONG Writable;
    ULONG ReadableCount;
    ULONG WritableCount;

    if (!RingMeasureSegments(Chain->Segments, Chain->ReadableCount, &ReadableCount, &Readable) ||
        !RingMeasureSegments(Chain->Segments + Chain->ReadableCount,
                             Chain->SegmentCount - Chain->ReadableCount, &WritableCount, &Writable))
    {
        return STATUS_INVALID_PARAMETER;
    }
    Chain->Count = ReadableCount + WritableCount;
    if (Chain->Count == 0 || Chain->Count > Ring->QueueSize || Readable + Writable > RING_CHAIN_BYTES_MAX)
    {
        return STATUS_INVALID_PARAMETER;
    }
    Chain->WritableBytes = Writable > 0xFFFFFFFFu ? 0xFFFFFFFFu : (ULONG)Writable;
    return STATUS_SUCCESS;
}

/* The first segment from Segment on that isn't empty; there is one. */
static __inline const AERO_VIRTIO_SEGMENT *RingSkipEmpty(const AERO_VIRTIO_SEGMENT *Segment)
{
    while (Segment->Length == 0)
    {
        Segment++;
    }
    return Segment;
}

static __inline ULONG RingSegmentFlags(const AERO_VIRTIO_SEGMENT *Segment,
                                       const AERO_VIRTIO_SEGMENT *FirstWritable)
{
    return Segment < FirstWritable ? 0u : AERO_VIRTIO_DESC_WRITE;
}

/* The head's own table, untouched until the head is completed (quirk 33). No NEXT, no nesting (RNG-7). */
static void RingAddIndirect(AERO_VIRTIO_SPLIT_RING *Ring, const RING_CHAIN *Chain, void *Cookie)
{
    const AERO_VIRTIO_SEGMENT *Segment;
    const AERO_VIRTIO_SEGMENT *FirstWritable;
    ULONGLONG *Table;
    ULONG First;
    ULONG Index;
    USHORT Head;

    Head = RingTakeDescriptor(Ring);
    First = (ULONG)Head * Ring->IndirectEntries;
    Table = Ring->Indirect + 2u * (SIZE_T)First;
    FirstWritable = Chain->Segments + Chain->ReadableCount;
    Segment = RingSkipEmpty(Chain->Segments);
    for (Index = 0; Index + 1u < Chain->Count; Index++)
    {
        RingWriteDescriptor(Table, Index, Segment->Address, Segment->Length,
                            AERO_VIRTIO_DESC_NEXT | RingSegmentFlags(Segment, FirstWritable), Index + 1u);
        Segment = RingSkipEmpty(Segment + 1);
    }
    RingWriteDescriptor(Table, Index, Segment->Address, Segment->Length,
                        RingSegmentFlags(Segment, FirstWritable), 0);
    RingWriteDescriptor(Ring->Desc, Head, Ring->IndirectPa + (ULONGLONG)First * RING_DESC_BYTES,
                        Chain->Count * RING_DESC_BYTES, AERO_VIRTIO_DESC_INDIRECT, 0);
    RingMakeAvailable(Ring, Head, 1, Chain->WritableBytes, Cookie);
}

static void RingAddDirect(AERO_VIRTIO_SPLIT_RING *Ring, const RING_CHAIN *Chain, void *Cookie)
{
    const AERO_VIRTIO_SEGMENT *Segment;
    const AERO_VIRTIO_SEGMENT *FirstWritable;
    const USHORT *FreeQueue;
    AERO_VIRTIO_RING_SHADOW *Shadow;
    ULONGLONG *Table;
    USHORT *Links;
    ULONG FreeFirst;
    ULONG FreeEnd;
    ULONG Mask;
    USHORT Head;
    USHORT Descriptor;
    USHORT Next;

    Table = Ring->Desc;
    Shadow = Ring->Shadow;
    Links = Ring->Links;
    FreeQueue = Ring->FreeQueue;
    Mask = Ring->IndexMask;
    FirstWritable = Chain->Segments + Chain->ReadableCount;
    FreeFirst = Ring->FreeFirst;
    FreeEnd = FreeFirst + Chain->Count;
    Ring->FreeFirst = FreeEnd;
    Head = FreeQueue[FreeFirst & Mask];
    Descriptor = Head;
    Segment = RingSkipEmpty(Chain->Segments);
    for (FreeFirst++; FreeFirst != FreeEnd; FreeFirst++)
    {
        Next = FreeQueue[FreeFirst & Mask];
        Shadow[Next].State = STATE_MID_CHAIN;
        Links[Descriptor] = Next;
        RingWriteDescriptor(Table, Descriptor, Segment->Address, Segment->Length,
                            AERO_VIRTIO_DESC_NEXT | RingSegmentFlags(Segment, FirstWritable), Next);
        Descriptor = Next;
        Segment = RingSkipEmpty(Segment + 1);
    }
    RingWriteDescriptor(Table, Descriptor, Segment->Address, Segment->Length,
                        RingSegmentFlags(Segment, FirstWritable), 0);
    RingMakeAvailable(Ring, Head, Chain->Count, Chain->WritableBytes, Cookie);
}

/* Out of line, like RingDoubt, so that the common case saves no registers for it. */
static DECLSPEC_NOINLINE NTSTATUS RingAddChain(AERO_VIRTIO_SPLIT_RING *Ring,
                                               const AERO_VIRTIO_SEGMENT *Segments, USHORT ReadableCount,
                                               USHORT WritableCount, void *Cookie)
{
    RING_CHAIN Chain;
    ULONG Needed;
    NTSTATUS Status;
    BOOLEAN IsIndirect;

    Chain.Segments = Segments;
    Chain.SegmentCount = (ULONG)ReadableCount + WritableCount;
    Chain.ReadableCount = ReadableCount;
    Chain.Count = 0;
    Chain.WritableBytes = 0;
    Status = RingMeasureChain(Ring, &Chain);
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    IsIndirect = (BOOLEAN)(Chain.Count >= 2u && Chain.Count <= Ring->IndirectEntries);
    Needed = IsIndirect ? 1u : Chain.Count;
    if (Ring->FreeLast - Ring->FreeFirst < Needed)
    {
        if (RingFreeCount(Ring) < Needed)
        {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        RingTopUp(Ring, Needed);
    }
    if (IsIndirect)
    {
        RingAddIndirect(Ring, &Chain, Cookie);
    }
    else
    {
        RingAddDirect(Ring, &Chain, Cookie);
    }
    return STATUS_SUCCESS;
}

NTSTATUS AeroVirtioSplitRingAdd(AERO_VIRTIO_SPLIT_RING *Ring, const AERO_VIRTIO_SEGMENT *Segments,
                                USHORT ReadableCount, USHORT WritableCount, void *Cookie)
{
    ULONG Length;
    USHORT Head;

    if (Ring == NULL || Segments == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    if (!Ring->Accepts)
    {
        return RingRefusal(Ring);
    }
    /*
     * One segment and a recycled descriptor, the common case: the same in short. What can't be added is refused
     * by the long way.
     */
    if ((ULONG)ReadableCount + WritableCount == 1u && Ring->FreeFirst != Ring->FreeLast)
    {
        Length = Segments->Length;
        if (Length != 0 && !RingSegmentWraps(Segments))
        {
            Head = RingTakeDescriptor(Ring);
            RingWriteDescriptor(Ring->Desc, Head, Segments->Address, Length,
                                AERO_VIRTIO_DESC_WRITE * WritableCount, 0);
            RingMakeAvailable(Ring, Head, 1, Length * WritableCount, Cookie);
            return STATUS_SUCCESS;
        }
    }
    return RingAddChain(Ring, Segments, ReadableCount, WritableCount, Cookie);
}

void AeroVirtioSplitRingPublish(AERO_VIRTIO_SPLIT_RING *Ring)
{
    if (Ring == NULL || !Ring->Accepts || Ring->NextAvail == Ring->PublishedAvail)
    {
        return;
    }
    Ring->PublishedAvail = Ring->NextAvail;
    Ring->KickDue = TRUE;
    /* RNG-10. Pairs with P1 in ring.h. */
    AERO_VIRTIO_SHARED_WRITE16_RELEASE(&Ring->Avail[RING_IDX], Ring->NextAvail);
}

BOOLEAN AeroVirtioSplitRingNeedsKick(AERO_VIRTIO_SPLIT_RING *Ring)
{
    if (Ring == NULL || !Ring->KickDue)
    {
        return FALSE;
    }
    Ring->KickDue = FALSE;
    return TRUE;
}

/* ---- Completions --------------------------------------------------------------------------------------- */

static NTSTATUS RingPoison(AERO_VIRTIO_SPLIT_RING *Ring, AERO_VIRTIO_RING_POISON Reason, ULONG Value)
{
    Ring->Accepts = FALSE;
    Ring->KickDue = FALSE;
    Ring->PoisonReason = Reason;
    Ring->PoisonValue = Value;
    return STATUS_DEVICE_PROTOCOL_ERROR;
}

/*
 * Published chains that aren't completed, which is how far used.idx may run ahead, are PublishedAvail -
 * NextUsed: each moves by one a chain. At most 32768 chains are in flight, so 16 bits are enough.
 */
static NTSTATUS RingSeeUsed(AERO_VIRTIO_SPLIT_RING *Ring)
{
    USHORT UsedIndex;

    /* RNG-10. Pairs with P2 in ring.h. */
    UsedIndex = AERO_VIRTIO_SHARED_READ16_ACQUIRE(&Ring->Used[RING_IDX]);
    if ((USHORT)(UsedIndex - Ring->NextUsed) > (USHORT)(Ring->PublishedAvail - Ring->NextUsed))
    {
        return RingPoison(Ring, AeroVirtioRingUsedIndexJumped, UsedIndex);
    }
    Ring->SeenUsed = UsedIndex;
    return UsedIndex == Ring->NextUsed ? STATUS_NO_MORE_ENTRIES : STATUS_SUCCESS;
}

/*
 * A head that was added but not published can't be completed. Its position tells; but positions repeat
 * after 65536 chains, and an old chain may still be in flight, so the slot has to agree.
 */
static BOOLEAN RingIsUnpublished(const AERO_VIRTIO_SPLIT_RING *Ring, ULONG Head, USHORT Position)
{
    USHORT Unpublished;

    Unpublished = (USHORT)(Ring->NextAvail - Ring->PublishedAvail);
    return (BOOLEAN)((USHORT)(Position - Ring->PublishedAvail) < Unpublished &&
                     Ring->AvailHeads[Position & Ring->IndexMask] == Head);
}

/* Why a used element can't be true, or AeroVirtioRingNotPoisoned. Id is in range, and State is its. */
static AERO_VIRTIO_RING_POISON RingJudge(const AERO_VIRTIO_SPLIT_RING *Ring, ULONG Id, ULONGLONG State,
                                         ULONG Length)
{
    if (State == STATE_MID_CHAIN)
    {
        return AeroVirtioRingUsedIdMidChain;
    }
    if (State == STATE_NOT_IN_FLIGHT || RingIsUnpublished(Ring, Id, STATE_POSITION(State)))
    {
        return AeroVirtioRingUsedIdNotInFlight;
    }
    return Length > STATE_WRITABLE_BYTES(State) ? AeroVirtioRingUsedLengthTooLong : AeroVirtioRingNotPoisoned;
}

/*
 * The element can't be true, and the ring is poisoned; or it can after all, and STATUS_SUCCESS says so.
 */
static DECLSPEC_NOINLINE NTSTATUS RingDoubt(AERO_VIRTIO_SPLIT_RING *Ring, ULONGLONG Element)
{
    AERO_VIRTIO_RING_POISON Reason;
    ULONG Id;
    ULONG Length;

    Id = (ULONG)Element;
    Length = (ULONG)(Element >> 32);
    if (Id > Ring->IndexMask)
    {
        return RingPoison(Ring, AeroVirtioRingUsedIdOutOfRange, Id);
    }
    Reason = RingJudge(Ring, Id, Ring->Shadow[Id].State, Length);
    if (Reason == AeroVirtioRingNotPoisoned)
    {
        return STATUS_SUCCESS;
    }
    return RingPoison(Ring, Reason, Reason == AeroVirtioRingUsedLengthTooLong ? Length : Id);
}

/*
 * Hands out Max completions at most, of those that used.idx already told of (RNG-11). Each value is read
 * once, checked, then used from the local. An element in doubt is looked at more closely, out of the way;
 * all are while something is added and not published.
 */
static ULONG RingReapSeen(AERO_VIRTIO_SPLIT_RING *Ring, AERO_VIRTIO_COMPLETION *Completions, ULONG Max,
                          NTSTATUS *StatusOut)
{
    const ULONGLONG *Elements;
    AERO_VIRTIO_RING_SHADOW *Shadow;
    AERO_VIRTIO_RING_SHADOW *Head;
    USHORT *FreeQueue;
    ULONGLONG Element;
    ULONGLONG State;
    ULONG Mask;
    ULONG NextUsed;
    ULONG FreeLast;
    ULONG Count;
    ULONG Id;
    BOOLEAN AllPublished;

    Elements = Ring->UsedElements;
    Shadow = Ring->Shadow;
    FreeQueue = Ring->FreeQueue;
    Mask = Ring->IndexMask;
    NextUsed = Ring->NextUsed;
    FreeLast = Ring->FreeLast;
    AllPublished = (BOOLEAN)(Ring->NextAvail == Ring->PublishedAvail);
    for (Count = 0; Count < Max; Count++)
    {
        Element = AERO_VIRTIO_SHARED_READ64(&Elements[(NextUsed + Count) & Mask]);
        Id = (ULONG)Element;
        Head = &Shadow[Id & Mask];
        State = Head->State;
        if (Id > Mask || !STATE_IS_HEAD(State) || (Element >> 32) > STATE_WRITABLE_BYTES(State) ||
            !AllPublished)
        {
            *StatusOut = RingDoubt(Ring, Element);
            if (*StatusOut != STATUS_SUCCESS)
            {
                break;
            }
        }
        Completions[Count].Cookie = Head->Cookie;
        Completions[Count].Length = (ULONG)(Element >> 32);
        Head->State = STATE_NOT_IN_FLIGHT;
        FreeQueue[FreeLast & Mask] = (USHORT)Id;
        FreeLast++;
        if (STATE_COUNT(State) > 1u)
        {
            Ring->FreeLast = FreeLast;
            RingGiveRest(Ring, (USHORT)Id, STATE_COUNT(State));
            FreeLast = Ring->FreeLast;
        }
    }
    Ring->FreeLast = FreeLast;
    Ring->NextUsed = (USHORT)(NextUsed + Count);
    return Count;
}

static ULONG RingReap(AERO_VIRTIO_SPLIT_RING *Ring, AERO_VIRTIO_COMPLETION *Completions, ULONG Max,
                      NTSTATUS *StatusOut)
{
    ULONG Count;
    ULONG Seen;

    Count = 0;
    *StatusOut = Ring->Accepts ? STATUS_SUCCESS : RingRefusal(Ring);
    while (*StatusOut == STATUS_SUCCESS && Count < Max)
    {
        Seen = (USHORT)(Ring->SeenUsed - Ring->NextUsed);
        if (Seen == 0)
        {
            *StatusOut = RingSeeUsed(Ring);
            continue;
        }
        Count += RingReapSeen(Ring, Completions + Count, Seen < Max - Count ? Seen : Max - Count, StatusOut);
    }
    return Count;
}

NTSTATUS AeroVirtioSplitRingReap(AERO_VIRTIO_SPLIT_RING *Ring, void **CookieOut, ULONG *LengthOut)
{
    AERO_VIRTIO_COMPLETION Completion;
    NTSTATUS Status;

    if (CookieOut != NULL)
    {
        *CookieOut = NULL;
    }
    if (LengthOut != NULL)
    {
        *LengthOut = 0;
    }
    if (Ring == NULL || CookieOut == NULL || LengthOut == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    if (RingReap(Ring, &Completion, 1, &Status) != 0)
    {
        *CookieOut = Completion.Cookie;
        *LengthOut = Completion.Length;
    }
    return Status;
}

ULONG AeroVirtioSplitRingReapMany(AERO_VIRTIO_SPLIT_RING *Ring, AERO_VIRTIO_COMPLETION *Completions,
                                  ULONG Max, NTSTATUS *StatusOut)
{
    ULONG Count;
    NTSTATUS Status;

    Count = 0;
    Status = STATUS_INVALID_PARAMETER;
    if (Ring != NULL && Completions != NULL && Max != 0 && StatusOut != NULL)
    {
        Count = RingReap(Ring, Completions, Max, &Status);
    }
    if (StatusOut != NULL)
    {
        *StatusOut = Status;
    }
    return Count;
}

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

static void RingWriteAvailFlags(AERO_VIRTIO_SPLIT_RING *Ring, USHORT Flags)
{
    if (Ring->AvailFlags != Flags)
    {
        Ring->AvailFlags = Flags;
        AERO_VIRTIO_SHARED_WRITE16(&Ring->Avail[RING_FLAGS], Flags);
    }
}

void AeroVirtioSplitRingSuppressInterrupts(AERO_VIRTIO_SPLIT_RING *Ring)
{
    if (Ring != NULL && Ring->Accepts)
    {
        RingWriteAvailFlags(Ring, AERO_VIRTIO_AVAIL_NO_INTERRUPT);
    }
}

BOOLEAN AeroVirtioSplitRingRearmInterrupts(AERO_VIRTIO_SPLIT_RING *Ring)
{
    if (Ring == NULL || !Ring->Accepts)
    {
        return FALSE;
    }
    RingWriteAvailFlags(Ring, 0);
    /*
     * Quirk 10: either the device sees the flag down, or its index is seen here. Pairs with P3 in ring.h.
     */
    AERO_VIRTIO_SHARED_BARRIER();
    /* Any difference counts: an index that jumped is for Reap to judge. */
    return (BOOLEAN)(AERO_VIRTIO_SHARED_READ16_ACQUIRE(&Ring->Used[RING_IDX]) != Ring->NextUsed);
}

/* ---- The end ------------------------------------------------------------------------------------------- */

BOOLEAN AeroVirtioSplitRingTakeBack(AERO_VIRTIO_SPLIT_RING *Ring, void **CookieOut)
{
    ULONGLONG State;
    ULONG Head;

    if (CookieOut != NULL)
    {
        *CookieOut = NULL;
    }
    if (Ring == NULL || CookieOut == NULL)
    {
        return FALSE;
    }
    Ring->Accepts = FALSE;
    Ring->KickDue = FALSE;
    while (Ring->TakeBackNext < Ring->QueueSize)
    {
        Head = Ring->TakeBackNext;
        Ring->TakeBackNext++;
        State = Ring->Shadow[Head].State;
        if (State != STATE_NOT_IN_FLIGHT && State != STATE_MID_CHAIN)
        {
            *CookieOut = Ring->Shadow[Head].Cookie;
            RingGiveDescriptor(Ring, (USHORT)Head);
            RingGiveRest(Ring, (USHORT)Head, STATE_COUNT(State));
            Ring->NextUsed++; /* keeps the count of what is in flight; the index itself has had its day */
            return TRUE;
        }
    }
    return FALSE;
}

USHORT AeroVirtioSplitRingFreeCount(const AERO_VIRTIO_SPLIT_RING *Ring)
{
    return Ring == NULL ? 0 : (USHORT)RingFreeCount(Ring);
}

USHORT AeroVirtioSplitRingInFlightCount(const AERO_VIRTIO_SPLIT_RING *Ring)
{
    return Ring == NULL ? 0 : (USHORT)(Ring->NextAvail - Ring->NextUsed);
}

BOOLEAN AeroVirtioSplitRingIsPoisoned(const AERO_VIRTIO_SPLIT_RING *Ring)
{
    return (BOOLEAN)(Ring != NULL && Ring->PoisonReason != AeroVirtioRingNotPoisoned);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the members of the transport's structures lie, and what its constants are, as a table in the object file.
 * Compiled with the DDK and with the stand-in: ctest/kernel/check compares the two tables. Never run.
 */
#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

typedef struct _LAYOUT {
    char Name[60];
    ULONG Value;
} LAYOUT;

#define AT(Type, Member)                                     \
    {                                                        \
#Type "." #Member, (ULONG)FIELD_OFFSET(Type, Member) \
    }
#define SIZE(Type)                           \
    {                                        \
        "sizeof " #Type, (ULONG)sizeof(Type) \
    }
#define VALUE(Constant)              \
    {                                \
#Constant, (ULONG)(Constant) \
    }

#define DEVICE_AT(Member)      AT(AERO_VIRTIO_PCI_MODERN_DEVICE, Member)
#define RING_AT(Member)        AT(AERO_VIRTIO_SPLIT_RING, Member)
#define RING_LAYOUT_AT(Member) AT(AERO_VIRTIO_SPLIT_RING_LAYOUT, Member)

extern const LAYOUT AeroLayout[];

const LAYOUT AeroLayout[] __attribute__((section("layout"))) = {
    SIZE(virtio_pci_common_cfg),
    AT(virtio_pci_common_cfg, queue_used_hi),

    SIZE(AERO_VIRTIO_PCI_MODERN_DEVICE),
    DEVICE_AT(CommonCfg),
    DEVICE_AT(NotifyBase),
    DEVICE_AT(IsrStatus),
    DEVICE_AT(DeviceCfg),
    DEVICE_AT(NotifyOffMultiplier),
    DEVICE_AT(CommonCfgLock),
    DEVICE_AT(QueriedQueueSize),

    SIZE(AERO_VIRTIO_SEGMENT),
    AT(AERO_VIRTIO_SEGMENT, Address),
    AT(AERO_VIRTIO_SEGMENT, Length),
    AT(AERO_VIRTIO_SEGMENT, Reserved),
    SIZE(AERO_VIRTIO_COMPLETION),
    AT(AERO_VIRTIO_COMPLETION, Cookie),
    AT(AERO_VIRTIO_COMPLETION, Length),
    SIZE(AERO_VIRTIO_SPLIT_RING_LAYOUT),
    RING_LAYOUT_AT(SharedBytes),
    RING_LAYOUT_AT(PrivateBytes),
    RING_LAYOUT_AT(DescOffset),
    RING_LAYOUT_AT(AvailOffset),
    RING_LAYOUT_AT(UsedOffset),
    RING_LAYOUT_AT(IndirectOffset),
    SIZE(AERO_VIRTIO_RING_POISON),
    SIZE(AERO_VIRTIO_RING_SHADOW),
    AT(AERO_VIRTIO_RING_SHADOW, Cookie),
    AT(AERO_VIRTIO_RING_SHADOW, State),

    SIZE(AERO_VIRTIO_SPLIT_RING),
    RING_AT(DescPa),
    RING_AT(AvailPa),
    RING_AT(UsedPa),
    RING_AT(QueueSize),
    RING_AT(IndirectEntries),
    RING_AT(PoisonReason),
    RING_AT(PoisonValue),
    RING_AT(Accepts),
    RING_AT(KickDue),
    RING_AT(AvailFlags),
    RING_AT(IndexMask),
    RING_AT(FreeFirst),
    RING_AT(NextAvail),
    RING_AT(PublishedAvail),
    RING_AT(FreeLast),
    RING_AT(NextUsed),
    RING_AT(SeenUsed),
    RING_AT(TakeBackNext),
    RING_AT(Desc),
    RING_AT(Avail),
    RING_AT(Used),
    RING_AT(UsedElements),
    RING_AT(Indirect),
    RING_AT(IndirectPa),
    RING_AT(Shadow),
    RING_AT(FreeQueue),
    RING_AT(AvailHeads),
    RING_AT(Links),
    VALUE(AeroVirtioRingUsedLengthTooLong),

    /* What both headers must agree on. */
    SIZE(KSPIN_LOCK),
    SIZE(KIRQL),
    SIZE(LARGE_INTEGER),
    SIZE(PHYSICAL_ADDRESS),
    AT(LARGE_INTEGER, HighPart),
    SIZE(KAFFINITY),
    SIZE(SIZE_T),
    SIZE(ULONG_PTR),
    SIZE(BOOLEAN),
    SIZE(ULONG),
    SIZE(ULONGLONG),
    SIZE(NTSTATUS),
    SIZE(WCHAR),
    SIZE(LIST_ENTRY),
    SIZE(PCI_SLOT_NUMBER),
    VALUE(STATUS_SUCCESS),
    VALUE(STATUS_TIMEOUT),
    VALUE(STATUS_PENDING),
    VALUE(STATUS_NO_MORE_ENTRIES),
    VALUE(STATUS_DEVICE_BUSY),
    VALUE(STATUS_UNSUCCESSFUL),
    VALUE(STATUS_NOT_IMPLEMENTED),
    VALUE(STATUS_INVALID_PARAMETER),
    VALUE(STATUS_NO_SUCH_DEVICE),
    VALUE(STATUS_INVALID_DEVICE_REQUEST),
    VALUE(STATUS_BUFFER_TOO_SMALL),
    VALUE(STATUS_REVISION_MISMATCH),
    VALUE(STATUS_DATA_ERROR),
    VALUE(STATUS_INSUFFICIENT_RESOURCES),
    VALUE(STATUS_DEVICE_NOT_CONNECTED),
    VALUE(STATUS_DEVICE_NOT_READY),
    VALUE(STATUS_IO_TIMEOUT),
    VALUE(STATUS_NOT_SUPPORTED),
    VALUE(STATUS_CANCELLED),
    VALUE(STATUS_INVALID_DEVICE_STATE),
    VALUE(STATUS_IO_DEVICE_ERROR),
    VALUE(STATUS_DEVICE_PROTOCOL_ERROR),
    VALUE(STATUS_BUFFER_OVERFLOW),
    VALUE(STATUS_NOT_FOUND),
    VALUE(STATUS_DEVICE_REMOVED),
    VALUE(PASSIVE_LEVEL),
    VALUE(APC_LEVEL),
    VALUE(DISPATCH_LEVEL),
    VALUE(CLOCK_LEVEL),
    VALUE(IPI_LEVEL),
    VALUE(POWER_LEVEL),
    VALUE(HIGH_LEVEL),
    VALUE(NotificationEvent),
    VALUE(SynchronizationEvent),
    VALUE(Executive),
    VALUE(KernelMode),
    VALUE(UserMode),
    VALUE(LevelSensitive),
    VALUE(Latched),
    VALUE(MmNonCached),
    VALUE(MmCached),
    VALUE(MmWriteCombined),
    VALUE(NonPagedPool),
    VALUE(PagedPool),
    VALUE(PCIConfiguration),
    VALUE(IO_NO_INCREMENT),
    VALUE(PAGE_SIZE),
    VALUE(PAGE_SHIFT),
    VALUE(MAXUCHAR),
    VALUE(MAXUSHORT),
    VALUE(MAXULONG),
    VALUE(TRUE),
    VALUE(FALSE),
};

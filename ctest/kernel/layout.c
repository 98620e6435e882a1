/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the transport and its callers take from ntddk.h: sizes and constants, as a table in the object file. The
 * transport's own structures need none: ctest/kernel/check knows them from its headers, and their members from the
 * debug information. Compiled with the DDK and with the stand-in, which must agree. Never run.
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

extern const LAYOUT AeroLayout[];

const LAYOUT AeroLayout[] __attribute__((section("layout"))) = {
    SIZE(AERO_VIRTIO_RING_POISON),
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
    SIZE(KTIMER),
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
    VALUE(LOW_LEVEL),
    VALUE(PASSIVE_LEVEL),
    VALUE(APC_LEVEL),
    VALUE(DISPATCH_LEVEL),
    VALUE(CLOCK_LEVEL),
    VALUE(IPI_LEVEL),
    VALUE(POWER_LEVEL),
    VALUE(HIGH_LEVEL),
    VALUE(NotificationEvent),
    VALUE(SynchronizationEvent),
    VALUE(NotificationTimer),
    VALUE(SynchronizationTimer),
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

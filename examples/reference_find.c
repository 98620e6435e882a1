/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Finds a device by its PCI ids and judges whether it is one that this driver knows. Up to DISPATCH_LEVEL. In
 * a PnP driver the ids are the INF's and the reads are those of BUS_INTERFACE_STANDARD; the checks are the
 * same.
 */
#include "reference_driver.h"

#define PCI_IDS       0x00u /* vendor in the low half, device in the high one */
#define PCI_COMMAND   0x04u
#define PCI_REVISION  0x08u
#define PCI_BAR0      0x10u
#define PCI_BAR0_HIGH 0x14u

#define PCI_COMMAND_MEMORY       0x0002u
#define PCI_COMMAND_MASTER       0x0004u
#define PCI_COMMAND_INTX_DISABLE 0x0400u

#define PCI_BAR_KIND        0x00000007u /* memory or not, and how wide */
#define PCI_BAR_KIND_64_BIT 0x00000004u
#define PCI_BAR_FLAGS       0x0000000Fu

#define PCI_BUSES     256u
#define PCI_DEVICES   32u
#define PCI_FUNCTIONS 8u
#define PCI_NOBODY    0xFFFFFFFFu

/* All ones where nobody answers. FALSE: there is no such bus. */
static BOOLEAN PciRead(ULONG BusNumber, ULONG SlotNumber, ULONG Offset, ULONG *ValueOut)
{
    *ValueOut = PCI_NOBODY;
    return (BOOLEAN)(HalGetBusDataByOffset(PCIConfiguration, BusNumber, SlotNumber, ValueOut, Offset,
                                           sizeof(*ValueOut)) != 0);
}

static ULONG PciRead32(const REFERENCE_LOCATION *Location, ULONG Offset)
{
    ULONG Value;

    PciRead(Location->BusNumber, Location->SlotNumber, Offset, &Value);
    return Value;
}

static ULONG IdsOf(USHORT DeviceId)
{
    return REFERENCE_VENDOR_ID | (ULONG)DeviceId << 16;
}

/*
 * Memory decode, bus master, interrupts not disabled: the PCI driver has seen to it when a driver is started,
 * firmware may not have. The other bits stay as they are; Status, the word's other half, isn't written.
 */
static NTSTATUS Enable(const REFERENCE_LOCATION *Location)
{
    USHORT Command;
    USHORT Wanted;

    Command = (USHORT)PciRead32(Location, PCI_COMMAND);
    Wanted = (USHORT)((Command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER) & ~PCI_COMMAND_INTX_DISABLE);
    if (Wanted == Command)
    {
        return STATUS_SUCCESS;
    }
    HalSetBusDataByOffset(PCIConfiguration, Location->BusNumber, Location->SlotNumber, &Wanted, PCI_COMMAND,
                          sizeof(Wanted));
    Command = (USHORT)PciRead32(Location, PCI_COMMAND);
    return Wanted == Command ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;
}

/* A 64-bit memory BAR with an address: that is what contract v1 has (PCI-7). */
static NTSTATUS ReadBar0(const REFERENCE_LOCATION *Location, PHYSICAL_ADDRESS *Bar0Out)
{
    ULONG Low;
    ULONG High;

    Low = PciRead32(Location, PCI_BAR0);
    High = PciRead32(Location, PCI_BAR0_HIGH);
    if ((Low & PCI_BAR_KIND) != PCI_BAR_KIND_64_BIT)
    {
        return STATUS_NOT_SUPPORTED;
    }
    Bar0Out->QuadPart = (LONGLONG)((ULONGLONG)High << 32 | (Low & ~PCI_BAR_FLAGS));
    return Bar0Out->QuadPart != 0 ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY;
}

static NTSTATUS Judge(const REFERENCE_LOCATION *Location, PHYSICAL_ADDRESS *Bar0Out)
{
    NTSTATUS Status;

    if (PciRead32(Location, PCI_IDS) != IdsOf(Location->DeviceId))
    {
        return STATUS_NO_SUCH_DEVICE;
    }
    if ((UCHAR)PciRead32(Location, PCI_REVISION) != REFERENCE_REVISION)
    {
        return STATUS_NOT_SUPPORTED;
    }
    Status = ReadBar0(Location, Bar0Out);
    return NT_SUCCESS(Status) ? Enable(Location) : Status;
}

/* The Instance-th function with those ids, in the order of bus, device and function. */
static NTSTATUS Scan(ULONG Ids, ULONG Instance, REFERENCE_LOCATION *LocationOut)
{
    PCI_SLOT_NUMBER Slot;
    ULONG Bus;
    ULONG Index;
    ULONG Found;

    Slot.u.AsULONG = 0;
    for (Bus = 0; Bus < PCI_BUSES; Bus++)
    {
        for (Index = 0; Index < PCI_DEVICES * PCI_FUNCTIONS; Index++)
        {
            Slot.u.bits.DeviceNumber = Index / PCI_FUNCTIONS;
            Slot.u.bits.FunctionNumber = Index % PCI_FUNCTIONS;
            if (!PciRead(Bus, Slot.u.AsULONG, PCI_IDS, &Found))
            {
                return STATUS_NO_SUCH_DEVICE;
            }
            if (Found == Ids && Instance-- == 0)
            {
                LocationOut->BusNumber = Bus;
                LocationOut->SlotNumber = Slot.u.AsULONG;
                return STATUS_SUCCESS;
            }
        }
    }
    return STATUS_NO_SUCH_DEVICE;
}

NTSTATUS ReferenceFind(USHORT DeviceId, ULONG Instance, REFERENCE_LOCATION *LocationOut)
{
    NTSTATUS Status;

    RtlZeroMemory(LocationOut, sizeof(*LocationOut));
    LocationOut->DeviceId = DeviceId;
    Status = Scan(IdsOf(DeviceId), Instance, LocationOut);
    if (NT_SUCCESS(Status))
    {
        Status = Judge(LocationOut, &LocationOut->Bar0);
    }
    return Status;
}

NTSTATUS ReferenceCheck(const REFERENCE_LOCATION *Location)
{
    PHYSICAL_ADDRESS Bar0;

    return Judge(Location, &Bar0);
}

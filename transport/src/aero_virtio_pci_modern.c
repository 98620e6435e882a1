/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The virtio-pci modern transport over the fixed BAR0. Every register is accessed by its own width, at any
 * IRQL; values that a removed device would also give are doubted, since all ones hold every bit that one
 * could wish for (quirk 1).
 */
#include "aero_virtio_pci_modern.h"
#include "aero_virtio_registers.h"
#include "aero_virtio_shared.h"

/* Reset: how long it is waited for, in microseconds. */
#define RESET_DELAY_FIRST_US   1000u
#define RESET_DELAY_LONGEST_US 64000u
#define RESET_DELAY_TOTAL_US   1000000u
#define RESET_STALL_FIRST_US   1u
#define RESET_STALL_LONGEST_US 50u
#define RESET_STALL_TOTAL_US   10000u
#define UNITS_100NS_PER_US     10

#define CONFIG_READ_TRIES 10u

#define RING_DESC_BYTES         16u
#define RING_AVAIL_HEADER_BYTES 4u
#define RING_USED_HEADER_BYTES  4u
#define QUEUE_SIZE_MAX          32768u

static BOOLEAN DeviceIsReady(const AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    return (BOOLEAN)(Device != NULL && Device->CommonCfg != NULL);
}

/*
 * Called after a value that should not be: tells a device that is gone from one that is broken. A removed
 * device stays removed, so whatever read as all ones because of that reads so now. Two registers, since
 * status alone may be stuck.
 */
static BOOLEAN DeviceIsGone(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    return (BOOLEAN)(RegisterRead8(&Device->CommonCfg->device_status) == ALL_ONES_8 &&
                     RegisterRead16(&Device->CommonCfg->num_queues) == ALL_ONES_16);
}

static NTSTATUS GoneOr(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, NTSTATUS Status)
{
    return DeviceIsGone(Device) ? STATUS_DEVICE_NOT_CONNECTED : Status;
}

/* ---- Life ---------------------------------------------------------------------------------------------- */

NTSTATUS AeroVirtioPciModernInitFromBar0(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, volatile void *Bar0Va,
                                         ULONG Bar0Len)
{
    volatile UCHAR *Base;

    if (Device == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    RtlZeroMemory(Device, sizeof(*Device));
    if (Bar0Va == NULL || Bar0Len < AERO_VIRTIO_PCI_MODERN_BAR0_REQUIRED_SIZE)
    {
        return STATUS_INVALID_PARAMETER;
    }
    Base = (volatile UCHAR *)Bar0Va;
    Device->CommonCfg =
        (volatile virtio_pci_common_cfg *)(volatile void *)(Base + AERO_VIRTIO_PCI_MODERN_COMMON_CFG_OFFSET);
    Device->NotifyBase = Base + AERO_VIRTIO_PCI_MODERN_NOTIFY_OFFSET;
    Device->IsrStatus = Base + AERO_VIRTIO_PCI_MODERN_ISR_OFFSET;
    Device->DeviceCfg = Base + AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_OFFSET;
    Device->NotifyOffMultiplier = AERO_VIRTIO_PCI_MODERN_NOTIFY_OFF_MULTIPLIER;
    KeInitializeSpinLock(&Device->CommonCfgLock);
    return STATUS_SUCCESS;
}

KIRQL AeroVirtioCommonCfgLock(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    KIRQL OldIrql;

    OldIrql = KeGetCurrentIrql();
    if (DeviceIsReady(Device) && OldIrql <= DISPATCH_LEVEL)
    {
        KeAcquireSpinLock(&Device->CommonCfgLock, &OldIrql);
    }
    return OldIrql;
}

/* OldIrql tells whether Lock took it: it does so exactly at up to DISPATCH_LEVEL. */
void AeroVirtioCommonCfgUnlock(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, KIRQL OldIrql)
{
    if (DeviceIsReady(Device) && OldIrql <= DISPATCH_LEVEL)
    {
        KeReleaseSpinLock(&Device->CommonCfgLock, OldIrql);
    }
}

/*
 * Waits once between two looks at device_status: shortly at first, then longer. Answers how long, or 0 where
 * Waited has used up all the time there is. Microseconds.
 */
static ULONG ResetWait(ULONG Waited, ULONG Previous)
{
    LARGE_INTEGER Interval;
    ULONG Wait;
    ULONG Longest;
    ULONG Left;
    BOOLEAN MayBlock;

    MayBlock = (BOOLEAN)(KeGetCurrentIrql() <= APC_LEVEL);
    Longest = MayBlock ? RESET_DELAY_LONGEST_US : RESET_STALL_LONGEST_US;
    Left = (MayBlock ? RESET_DELAY_TOTAL_US : RESET_STALL_TOTAL_US) - Waited;
    Wait = Previous * 2u;
    if (Wait == 0)
    {
        Wait = MayBlock ? RESET_DELAY_FIRST_US : RESET_STALL_FIRST_US;
    }
    Wait = Wait < Longest ? Wait : Longest;
    Wait = Wait < Left ? Wait : Left;
    if (Wait != 0 && MayBlock)
    {
        Interval.QuadPart = -(LONGLONG)Wait * UNITS_100NS_PER_US;
        (void)KeDelayExecutionThread(KernelMode, FALSE, &Interval);
    }
    else if (Wait != 0)
    {
        KeStallExecutionProcessor(Wait);
    }
    return Wait;
}

/* COM-18. The last look comes after the last wait. */
NTSTATUS AeroVirtioResetDevice(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    ULONG Waited;
    ULONG Wait;
    UCHAR Status;

    if (!DeviceIsReady(Device))
    {
        return STATUS_INVALID_PARAMETER;
    }
    RegisterWrite8(&Device->CommonCfg->device_status, 0);
    Waited = 0;
    Wait = 0;
    for (;;)
    {
        Status = RegisterRead8(&Device->CommonCfg->device_status);
        if (Status == 0)
        {
            return STATUS_SUCCESS;
        }
        if (Status == ALL_ONES_8 && DeviceIsGone(Device))
        {
            return STATUS_DEVICE_NOT_CONNECTED;
        }
        Wait = ResetWait(Waited, Wait);
        if (Wait == 0)
        {
            return STATUS_IO_TIMEOUT;
        }
        Waited += Wait;
    }
}

/* ---- Status -------------------------------------------------------------------------------------------- */

UCHAR AeroVirtioGetStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    return DeviceIsReady(Device) ? RegisterRead8(&Device->CommonCfg->device_status) : 0;
}

void AeroVirtioSetStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, UCHAR Status)
{
    if (DeviceIsReady(Device))
    {
        RegisterWrite8(&Device->CommonCfg->device_status, Status);
    }
}

/* Quirk 54: neither all ones nor the device's own bit may be copied back. */
void AeroVirtioAddStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, UCHAR Bits)
{
    UCHAR Status;

    if (!DeviceIsReady(Device))
    {
        return;
    }
    Status = RegisterRead8(&Device->CommonCfg->device_status);
    if (Status != ALL_ONES_8)
    {
        Status = (UCHAR)((Status | Bits) & ~VIRTIO_STATUS_DEVICE_NEEDS_RESET);
        /* Writing 0 would be a reset. */
        if (Status != 0)
        {
            RegisterWrite8(&Device->CommonCfg->device_status, Status);
        }
    }
}

void AeroVirtioFailDevice(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    AeroVirtioAddStatus(Device, VIRTIO_STATUS_FAILED);
}

/* ---- Features ------------------------------------------------------------------------------------------ */

/* A selector is read back before what it selects is used (quirk 46). */
static NTSTATUS SelectFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, volatile ULONG *Selector, ULONG Half)
{
    RegisterWrite32(Selector, Half);
    return RegisterRead32(Selector) == Half ? STATUS_SUCCESS : GoneOr(Device, STATUS_IO_DEVICE_ERROR);
}

static NTSTATUS ReadFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG *FeaturesOut)
{
    NTSTATUS Status;
    KIRQL OldIrql;
    ULONG Halves[2];
    ULONG Half;

    Status = STATUS_SUCCESS;
    OldIrql = AeroVirtioCommonCfgLock(Device);
    for (Half = 0; Half < 2u && Status == STATUS_SUCCESS; Half++)
    {
        Status = SelectFeatures(Device, &Device->CommonCfg->device_feature_select, Half);
        if (Status == STATUS_SUCCESS)
        {
            Halves[Half] = RegisterRead32(&Device->CommonCfg->device_feature);
            if (Halves[Half] == ALL_ONES_32)
            {
                Status = GoneOr(Device, STATUS_SUCCESS);
            }
        }
    }
    AeroVirtioCommonCfgUnlock(Device, OldIrql);
    *FeaturesOut = Status == STATUS_SUCCESS ? ((ULONGLONG)Halves[1] << 32) | Halves[0] : 0;
    return Status;
}

/* Both halves, even where one is zero: none may be left over from before (quirk 53). */
static NTSTATUS WriteFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Features)
{
    NTSTATUS Status;
    KIRQL OldIrql;
    ULONG Half;

    Status = STATUS_SUCCESS;
    OldIrql = AeroVirtioCommonCfgLock(Device);
    for (Half = 0; Half < 2u && Status == STATUS_SUCCESS; Half++)
    {
        Status = SelectFeatures(Device, &Device->CommonCfg->driver_feature_select, Half);
        if (Status == STATUS_SUCCESS)
        {
            RegisterWrite32(&Device->CommonCfg->driver_feature, (ULONG)(Features >> (32u * Half)));
        }
    }
    AeroVirtioCommonCfgUnlock(Device, OldIrql);
    return Status;
}

ULONGLONG AeroVirtioReadDeviceFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    ULONGLONG Features;

    Features = 0;
    if (DeviceIsReady(Device))
    {
        (void)ReadFeatures(Device, &Features);
    }
    return Features;
}

void AeroVirtioWriteDriverFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Features)
{
    if (DeviceIsReady(Device))
    {
        (void)WriteFeatures(Device, Features);
    }
}

/*
 * One step up the ladder of COM-19: writes the bits so far and looks once whether they stuck. Refused is what
 * it means when they didn't.
 */
static NTSTATUS StepStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, UCHAR Bits, NTSTATUS Refused)
{
    UCHAR Status;

    RegisterWrite8(&Device->CommonCfg->device_status, Bits);
    Status = RegisterRead8(&Device->CommonCfg->device_status);
    if (Status == ALL_ONES_8 && DeviceIsGone(Device))
    {
        return STATUS_DEVICE_NOT_CONNECTED;
    }
    if ((Status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0)
    {
        return STATUS_DEVICE_NOT_READY;
    }
    return (Status & Bits) == Bits ? STATUS_SUCCESS : Refused;
}

static NTSTATUS NegotiateAfterReset(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Required,
                                    ULONGLONG Wanted, ULONGLONG *FeaturesOut)
{
    NTSTATUS Status;
    ULONGLONG Offered;
    ULONGLONG Features;

    Offered = 0;
    Status = StepStatus(Device, VIRTIO_STATUS_ACKNOWLEDGE, STATUS_IO_DEVICE_ERROR);
    if (NT_SUCCESS(Status))
    {
        Status = StepStatus(Device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER, STATUS_IO_DEVICE_ERROR);
    }
    if (NT_SUCCESS(Status))
    {
        Status = ReadFeatures(Device, &Offered);
    }
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    /* COM-7 */
    Required |= VIRTIO_F_VERSION_1;
    if ((Offered & Required) != Required)
    {
        return STATUS_NOT_SUPPORTED;
    }
    Features = Offered & (Required | Wanted) & AERO_VIRTIO_PCI_MODERN_FEATURES_SUPPORTED;
    Status = WriteFeatures(Device, Features);
    if (NT_SUCCESS(Status))
    {
        /* COM-10: one look decides (quirk 17). */
        Status =
            StepStatus(Device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK,
                       STATUS_NOT_SUPPORTED);
    }
    *FeaturesOut = NT_SUCCESS(Status) ? Features : 0;
    return Status;
}

NTSTATUS AeroVirtioNegotiateFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Required,
                                     ULONGLONG Wanted, ULONGLONG *NegotiatedOut)
{
    NTSTATUS Status;

    if (NegotiatedOut == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    *NegotiatedOut = 0;
    if (!DeviceIsReady(Device) || (Required & ~AERO_VIRTIO_PCI_MODERN_FEATURES_SUPPORTED) != 0)
    {
        return STATUS_INVALID_PARAMETER;
    }
    Status = AeroVirtioResetDevice(Device);
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    Status = NegotiateAfterReset(Device, Required, Wanted, NegotiatedOut);
    if (!NT_SUCCESS(Status) && Status != STATUS_DEVICE_NOT_CONNECTED)
    {
        AeroVirtioFailDevice(Device);
    }
    return Status;
}

/* ---- Queues -------------------------------------------------------------------------------------------- */

USHORT AeroVirtioGetNumQueues(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    USHORT Count;

    Count = DeviceIsReady(Device) ? RegisterRead16(&Device->CommonCfg->num_queues) : 0;
    return Count == ALL_ONES_16 && DeviceIsGone(Device) ? 0 : Count;
}

/* Selects a queue and reads its size. CommonCfgLock is held; the queue stays selected. */
static NTSTATUS SelectQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex, USHORT *SizeOut)
{
    volatile virtio_pci_common_cfg *Cfg;
    USHORT Count;
    USHORT Size;

    Cfg = Device->CommonCfg;
    Count = RegisterRead16(&Cfg->num_queues);
    if (Count == ALL_ONES_16 && DeviceIsGone(Device))
    {
        return STATUS_DEVICE_NOT_CONNECTED;
    }
    if (QueueIndex >= Count)
    {
        return STATUS_NOT_FOUND;
    }
    RegisterWrite16(&Cfg->queue_select, QueueIndex);
    if (RegisterRead16(&Cfg->queue_select) != QueueIndex)
    {
        return GoneOr(Device, STATUS_IO_DEVICE_ERROR);
    }
    Size = RegisterRead16(&Cfg->queue_size);
    if (Size == 0)
    {
        return STATUS_NOT_FOUND;
    }
    if (Size > QUEUE_SIZE_MAX || (Size & (Size - 1u)) != 0)
    {
        return GoneOr(Device, STATUS_IO_DEVICE_ERROR);
    }
    *SizeOut = Size;
    return STATUS_SUCCESS;
}

NTSTATUS AeroVirtioQueryQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex, USHORT *QueueSizeOut,
                              USHORT *QueueNotifyOffOut)
{
    NTSTATUS Status;
    KIRQL OldIrql;
    USHORT Size;
    USHORT NotifyOff;

    if (QueueSizeOut != NULL)
    {
        *QueueSizeOut = 0;
    }
    if (QueueNotifyOffOut != NULL)
    {
        *QueueNotifyOffOut = 0;
    }
    if (!DeviceIsReady(Device) || QueueSizeOut == NULL || QueueNotifyOffOut == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }

    Size = 0;
    NotifyOff = 0;
    OldIrql = AeroVirtioCommonCfgLock(Device);
    Status = SelectQueue(Device, QueueIndex, &Size);
    if (NT_SUCCESS(Status))
    {
        NotifyOff = RegisterRead16(&Device->CommonCfg->queue_notify_off);
        if (NotifyOff != QueueIndex || NotifyOff >= AERO_VIRTIO_PCI_MODERN_QUEUES_MAX)
        {
            /* Quirks 41 and 42. Refused here, so that the doorbell can't fail later. */
            Status = GoneOr(Device, STATUS_NOT_SUPPORTED);
        }
    }
    if (QueueIndex < AERO_VIRTIO_PCI_MODERN_QUEUES_MAX)
    {
        Device->QueriedQueueSize[QueueIndex] = NT_SUCCESS(Status) ? Size : 0;
    }
    AeroVirtioCommonCfgUnlock(Device, OldIrql);
    if (NT_SUCCESS(Status))
    {
        *QueueSizeOut = Size;
        *QueueNotifyOffOut = NotifyOff;
    }
    return Status;
}

static BOOLEAN RingFits(ULONGLONG Pa, ULONG Bytes)
{
    return (BOOLEAN)(Pa <= ~(ULONGLONG)0 - (Bytes - 1u));
}

/* COM-14: the low half, then the high one, which is written even when zero (quirk 44), and both read back. */
static NTSTATUS WriteAddress(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, volatile ULONG *Low, volatile ULONG *High,
                             ULONGLONG Pa)
{
    RegisterWrite32(Low, (ULONG)Pa);
    RegisterWrite32(High, (ULONG)(Pa >> 32));
    if (RegisterRead32(Low) != (ULONG)Pa || RegisterRead32(High) != (ULONG)(Pa >> 32))
    {
        return GoneOr(Device, STATUS_IO_DEVICE_ERROR);
    }
    return STATUS_SUCCESS;
}

/* CommonCfgLock is held, and the queue selected. */
static NTSTATUS EnableSelectedQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG DescPa,
                                    ULONGLONG AvailPa, ULONGLONG UsedPa)
{
    volatile virtio_pci_common_cfg *Cfg;
    NTSTATUS Status;

    Cfg = Device->CommonCfg;
    Status = WriteAddress(Device, &Cfg->queue_desc_lo, &Cfg->queue_desc_hi, DescPa);
    if (NT_SUCCESS(Status))
    {
        Status = WriteAddress(Device, &Cfg->queue_avail_lo, &Cfg->queue_avail_hi, AvailPa);
    }
    if (NT_SUCCESS(Status))
    {
        Status = WriteAddress(Device, &Cfg->queue_used_lo, &Cfg->queue_used_hi, UsedPa);
    }
    if (!NT_SUCCESS(Status))
    {
        return Status;
    }
    RegisterWrite16(&Cfg->queue_enable, 1);
    return RegisterRead16(&Cfg->queue_enable) == 1u ? STATUS_SUCCESS : GoneOr(Device, STATUS_IO_DEVICE_ERROR);
}

NTSTATUS AeroVirtioSetupQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex, ULONGLONG DescPa,
                              ULONGLONG AvailPa, ULONGLONG UsedPa)
{
    NTSTATUS Status;
    KIRQL OldIrql;
    USHORT Queried;
    USHORT Size;

    /* RNG-3 */
    if (!DeviceIsReady(Device) || DescPa == 0 || AvailPa == 0 || UsedPa == 0 || (DescPa & 15u) != 0 ||
        (AvailPa & 1u) != 0 || (UsedPa & 3u) != 0)
    {
        return STATUS_INVALID_PARAMETER;
    }
    Size = 0;
    OldIrql = AeroVirtioCommonCfgLock(Device);
    Status = SelectQueue(Device, QueueIndex, &Size);
    if (NT_SUCCESS(Status))
    {
        Queried = QueueIndex < AERO_VIRTIO_PCI_MODERN_QUEUES_MAX ? Device->QueriedQueueSize[QueueIndex] : 0;
        if (Queried == 0 || !RingFits(DescPa, RING_DESC_BYTES * (ULONG)Size) ||
            !RingFits(AvailPa, RING_AVAIL_HEADER_BYTES + 2u * (ULONG)Size) ||
            !RingFits(UsedPa, RING_USED_HEADER_BYTES + 8u * (ULONG)Size))
        {
            Status = STATUS_INVALID_PARAMETER;
        }
        else if (Queried != Size)
        {
            /* Quirk 38: the caller's rings were made for another size. */
            Status = STATUS_IO_DEVICE_ERROR;
        }
        else
        {
            Status = EnableSelectedQueue(Device, DescPa, AvailPa, UsedPa);
        }
    }
    AeroVirtioCommonCfgUnlock(Device, OldIrql);
    return Status;
}

NTSTATUS AeroVirtioNotifyQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex,
                               USHORT QueueNotifyOff)
{
    ULONG Offset;

    Offset = (ULONG)QueueNotifyOff * AERO_VIRTIO_PCI_MODERN_NOTIFY_OFF_MULTIPLIER;
    if (!DeviceIsReady(Device) || Offset > AERO_VIRTIO_PCI_MODERN_NOTIFY_SIZE - (ULONG)sizeof(USHORT))
    {
        return STATUS_INVALID_PARAMETER;
    }
    /* NTF-4. Pairs with P4 in service.c: avail.idx is seen before the doorbell is. */
    AERO_VIRTIO_SHARED_BARRIER();
    RegisterWrite16((volatile USHORT *)(volatile void *)(Device->NotifyBase + Offset), QueueIndex);
    return STATUS_SUCCESS;
}

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

UCHAR AeroVirtioReadIsr(AERO_VIRTIO_PCI_MODERN_DEVICE *Device)
{
    UCHAR Isr;

    Isr = DeviceIsReady(Device) ? RegisterRead8(Device->IsrStatus) : 0;
    return Isr == ALL_ONES_8 ? 0 : Isr;
}

/* ---- Device configuration ------------------------------------------------------------------------------ */

/* COM-21: a field is accessed by its own width where it has one, 64 bits by halves, the rest by bytes. */
static ULONG ConfigWidth(ULONG Offset, ULONG Length)
{
    if ((Length == 4u || Length == 8u) && (Offset & 3u) == 0)
    {
        return 4;
    }
    return Length == 2u && (Offset & 1u) == 0 ? 2 : 1;
}

static BOOLEAN ConfigFits(ULONG Offset, ULONG Length)
{
    return (BOOLEAN)(Length != 0 && Length <= AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE &&
                     Offset <= AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE - Length);
}

/* Writes where WriteFrom isn't NULL, else reads. Bounds are checked already. */
static void AccessConfig(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, UCHAR *ReadTo,
                         const UCHAR *WriteFrom, ULONG Length)
{
    volatile UCHAR *Register;
    ULONG Width;
    ULONG Index;
    ULONG Value32;
    USHORT Value16;

    Width = ConfigWidth(Offset, Length);
    for (Index = 0; Index < Length; Index += Width)
    {
        Register = Device->DeviceCfg + Offset + Index;
        if (Width == 4u && WriteFrom != NULL)
        {
            RtlCopyMemory(&Value32, WriteFrom + Index, sizeof(Value32));
            RegisterWrite32((volatile ULONG *)(volatile void *)Register, Value32);
        }
        else if (Width == 4u)
        {
            Value32 = RegisterRead32((volatile ULONG *)(volatile void *)Register);
            RtlCopyMemory(ReadTo + Index, &Value32, sizeof(Value32));
        }
        else if (Width == 2u && WriteFrom != NULL)
        {
            RtlCopyMemory(&Value16, WriteFrom + Index, sizeof(Value16));
            RegisterWrite16((volatile USHORT *)(volatile void *)Register, Value16);
        }
        else if (Width == 2u)
        {
            Value16 = RegisterRead16((volatile USHORT *)(volatile void *)Register);
            RtlCopyMemory(ReadTo + Index, &Value16, sizeof(Value16));
        }
        else if (WriteFrom != NULL)
        {
            RegisterWrite8(Register, WriteFrom[Index]);
        }
        else
        {
            ReadTo[Index] = RegisterRead8(Register);
        }
    }
}

/* COM-16. A generation of 0xFF is legal, and also what a removed device reads. */
static NTSTATUS ReadConfigConsistently(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, UCHAR *Bytes,
                                       ULONG Length)
{
    ULONG Try;
    UCHAR Before;
    UCHAR After;

    After = RegisterRead8(&Device->CommonCfg->config_generation);
    for (Try = 0; Try < CONFIG_READ_TRIES; Try++)
    {
        Before = After;
        AccessConfig(Device, Offset, Bytes, NULL, Length);
        After = RegisterRead8(&Device->CommonCfg->config_generation);
        if (After == ALL_ONES_8 && DeviceIsGone(Device))
        {
            return STATUS_DEVICE_NOT_CONNECTED;
        }
        if (After == Before)
        {
            return STATUS_SUCCESS;
        }
    }
    return STATUS_IO_TIMEOUT;
}

NTSTATUS AeroVirtioReadDeviceConfig(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, void *Buffer,
                                    ULONG Length)
{
    NTSTATUS Status;
    KIRQL OldIrql;

    if (Buffer == NULL)
    {
        return STATUS_INVALID_PARAMETER;
    }
    Status = STATUS_INVALID_PARAMETER;
    if (DeviceIsReady(Device) && ConfigFits(Offset, Length))
    {
        OldIrql = AeroVirtioCommonCfgLock(Device);
        Status = ReadConfigConsistently(Device, Offset, (UCHAR *)Buffer, Length);
        AeroVirtioCommonCfgUnlock(Device, OldIrql);
    }
    if (!NT_SUCCESS(Status) && Length <= AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE)
    {
        RtlZeroMemory(Buffer, Length);
    }
    return Status;
}

NTSTATUS AeroVirtioWriteDeviceConfig(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, const void *Buffer,
                                     ULONG Length)
{
    KIRQL OldIrql;
    BOOLEAN IsGone;

    if (!DeviceIsReady(Device) || Buffer == NULL || !ConfigFits(Offset, Length))
    {
        return STATUS_INVALID_PARAMETER;
    }
    OldIrql = AeroVirtioCommonCfgLock(Device);
    AccessConfig(Device, Offset, NULL, (const UCHAR *)Buffer, Length);
    /* The look also flushes the writes: a read doesn't pass them. */
    IsGone = DeviceIsGone(Device);
    AeroVirtioCommonCfgUnlock(Device, OldIrql);
    return IsGone ? STATUS_DEVICE_NOT_CONNECTED : STATUS_SUCCESS;
}

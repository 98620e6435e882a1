/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The virtio-pci modern transport over the fixed BAR0 of AERO-W7-VIRTIO contract v1: reset, status, features,
 * queues, doorbells, ISR and device configuration. It parses no PCI capabilities, connects no interrupt and
 * owns no memory. Its only state is AERO_VIRTIO_PCI_MODERN_DEVICE, which must be nonpaged.
 *
 * IRQL: every function runs at any IRQL. "Locks" below: takes CommonCfgLock at up to DISPATCH_LEVEL, and must
 * not be called by who holds it; above DISPATCH_LEVEL it takes no lock, and the caller must be the device's
 * only user (StorPort's DIRQL initialisation, the crash dump stack). "Unlocked": never takes it; the caller
 * serialises.
 *
 * Statuses: STATUS_INVALID_PARAMETER also means a Device that is NULL or never initialised, and
 * STATUS_DEVICE_NOT_CONNECTED a device whose registers read all ones: removed, powered down, or memory
 * decoding off (PCI-14). Outputs are cleared on every failure. Clause ids are those of docs/contract.md.
 */
#ifndef AERO_VIRTIO_PCI_MODERN_H
#define AERO_VIRTIO_PCI_MODERN_H

#include <ntddk.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- BAR0 (BAR-1, BAR-2): bytes ------------------------------------------------------------------------ */

#define AERO_VIRTIO_PCI_MODERN_BAR0_REQUIRED_SIZE 0x4000u

#define AERO_VIRTIO_PCI_MODERN_COMMON_CFG_OFFSET 0x0000u
#define AERO_VIRTIO_PCI_MODERN_COMMON_CFG_SIZE   0x0100u
#define AERO_VIRTIO_PCI_MODERN_NOTIFY_OFFSET     0x1000u
#define AERO_VIRTIO_PCI_MODERN_NOTIFY_SIZE       0x0100u
#define AERO_VIRTIO_PCI_MODERN_ISR_OFFSET        0x2000u
#define AERO_VIRTIO_PCI_MODERN_ISR_SIZE          0x0020u
#define AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_OFFSET 0x3000u
#define AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE   0x0100u

#define AERO_VIRTIO_PCI_MODERN_NOTIFY_OFF_MULTIPLIER 4u

/* Queues whose doorbells fit in the notify window. */
#define AERO_VIRTIO_PCI_MODERN_QUEUES_MAX 64u

/* ---- Bits: all of these are masks ---------------------------------------------------------------------- */

/* device_status (COM-17) */
#define VIRTIO_STATUS_ACKNOWLEDGE        0x01u
#define VIRTIO_STATUS_DRIVER             0x02u
#define VIRTIO_STATUS_DRIVER_OK          0x04u
#define VIRTIO_STATUS_FEATURES_OK        0x08u
#define VIRTIO_STATUS_DEVICE_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED             0x80u

/* the ISR byte (INT-1) */
#define VIRTIO_PCI_ISR_QUEUE  0x01u
#define VIRTIO_PCI_ISR_CONFIG 0x02u

/* features */
#define VIRTIO_F_RING_INDIRECT_DESC ((ULONGLONG)1 << 28)
#define VIRTIO_F_RING_EVENT_IDX     ((ULONGLONG)1 << 29)
#define VIRTIO_F_VERSION_1          ((ULONGLONG)1 << 32)
#define VIRTIO_F_RING_PACKED        ((ULONGLONG)1 << 34)

/*
 * All that a negotiation through this transport can end in: the device types' bits 0 to 23, and of the
 * transport's own the two that it implements. Every other bit changes what a driver must do (EVENT_IDX,
 * PACKED, IN_ORDER, NOTIFICATION_DATA, RING_RESET, ...), or is unknown to contract v1.
 */
#define AERO_VIRTIO_PCI_MODERN_FEATURES_SUPPORTED \
    ((ULONGLONG)0x00FFFFFF | VIRTIO_F_RING_INDIRECT_DESC | VIRTIO_F_VERSION_1)

/* ---- Registers ----------------------------------------------------------------------------------------- */

/*
 * The common configuration structure (COM-1), little-endian. 64-bit registers stand here as halves, since
 * they are only ever accessed so (COM-14).
 */
typedef struct virtio_pci_common_cfg
{
    ULONG device_feature_select;
    ULONG device_feature;
    ULONG driver_feature_select;
    ULONG driver_feature;
    USHORT msix_config;
    USHORT num_queues;
    UCHAR device_status;
    UCHAR config_generation;
    USHORT queue_select;
    USHORT queue_size;
    USHORT queue_msix_vector;
    USHORT queue_enable;
    USHORT queue_notify_off;
    ULONG queue_desc_lo;
    ULONG queue_desc_hi;
    ULONG queue_avail_lo;
    ULONG queue_avail_hi;
    ULONG queue_used_lo;
    ULONG queue_used_hi;
} virtio_pci_common_cfg;

C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, device_feature_select) == 0x00);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, device_feature) == 0x04);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, driver_feature_select) == 0x08);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, driver_feature) == 0x0C);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, msix_config) == 0x10);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, num_queues) == 0x12);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, device_status) == 0x14);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, config_generation) == 0x15);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_select) == 0x16);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_size) == 0x18);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_msix_vector) == 0x1A);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_enable) == 0x1C);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_notify_off) == 0x1E);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_desc_lo) == 0x20);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_desc_hi) == 0x24);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_avail_lo) == 0x28);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_avail_hi) == 0x2C);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_used_lo) == 0x30);
C_ASSERT(FIELD_OFFSET(virtio_pci_common_cfg, queue_used_hi) == 0x34);
C_ASSERT(sizeof(virtio_pci_common_cfg) == 0x38);

typedef struct _AERO_VIRTIO_PCI_MODERN_DEVICE
{
    volatile virtio_pci_common_cfg *CommonCfg; /* NULL: not initialised */
    volatile UCHAR *NotifyBase;
    volatile UCHAR *IsrStatus;
    volatile UCHAR *DeviceCfg;
    ULONG NotifyOffMultiplier; /* always 4 (BAR-2) */
    KSPIN_LOCK CommonCfgLock;  /* over the selectors and what they select (COM-3) */
    USHORT QueriedQueueSize[AERO_VIRTIO_PCI_MODERN_QUEUES_MAX]; /* QueryQueue's last answer; 0: none */
} AERO_VIRTIO_PCI_MODERN_DEVICE;

/* ---- Life ---------------------------------------------------------------------------------------------- */

/*
 * Prepares *Device for a BAR0 mapped at Bar0Va, Bar0Len bytes long. It touches no register: a device that is
 * gone shows at reset. Unlocked. The mapping stays the caller's.
 * INVALID_PARAMETER: a pointer is NULL, or Bar0Len is below AERO_VIRTIO_PCI_MODERN_BAR0_REQUIRED_SIZE
 * (BAR-5).
 */
NTSTATUS AeroVirtioPciModernInitFromBar0(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, volatile void *Bar0Va,
                                         ULONG Bar0Len);

/*
 * CommonCfgLock for a caller's own sequence of selector accesses. Above DISPATCH_LEVEL neither does anything.
 * Between them only functions that are "unlocked" may be called, reset excepted. Lock answers the IRQL that
 * Unlock wants.
 */
KIRQL AeroVirtioCommonCfgLock(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);
void AeroVirtioCommonCfgUnlock(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, KIRQL OldIrql);

/*
 * Resets the device and waits until it says that it has (COM-18). Unlocked; not while CommonCfgLock is held,
 * for it waits: up to APC_LEVEL by KeDelayExecutionThread, 1 s of delays in all (each of the 20 or so may be
 * rounded up to a clock tick); above by KeStallExecutionProcessor, at most 50 us a call and 10 ms in all.
 *
 * On success, and when it's gone, the device owns no ring any more.
 * IO_TIMEOUT: device_status never read 0. The device may still write: ring memory must not be freed or used.
 * DEVICE_NOT_CONNECTED: noticed without waiting.
 */
NTSTATUS AeroVirtioResetDevice(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/* ---- Status: unlocked, lock-free, one or two register accesses ----------------------------------------- */

/* device_status as it reads: 0xFF when the device is gone. 0 for a Device never initialised. */
UCHAR AeroVirtioGetStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/* Writes device_status. Writing 0 begins a reset without waiting for it: AeroVirtioResetDevice is better. */
void AeroVirtioSetStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, UCHAR Status);

/*
 * Sets bits of device_status: a read, then a write, with nothing to keep another caller out between them. It
 * doesn't write to a device whose status reads all ones, and never writes DEVICE_NEEDS_RESET, which is the
 * device's to set.
 */
void AeroVirtioAddStatus(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, UCHAR Bits);

/* Adds FAILED: the driver has given up. Only a reset leads on from there. */
void AeroVirtioFailDevice(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/* ---- Features ------------------------------------------------------------------------------------------ */

/* What the device offers (COM-4). 0 when it's gone, or its selector doesn't hold. Locks. */
ULONGLONG AeroVirtioReadDeviceFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/* Writes both halves of the accepted features just as given. Legal between DRIVER and FEATURES_OK. Locks. */
void AeroVirtioWriteDriverFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Features);

/*
 * The initialisation sequence from reset up to FEATURES_OK (COM-19). *NegotiatedOut is VERSION_1, all of
 * Required, and of Wanted what the device offers and this transport supports. Setting up queues and DRIVER_OK
 * are the caller's. Waits as reset does; locks. Where it gives up after ACKNOWLEDGE it adds FAILED (COM-10),
 * unless the device is gone.
 *
 * INVALID_PARAMETER: NegotiatedOut NULL, or a bit of Required outside
 *     AERO_VIRTIO_PCI_MODERN_FEATURES_SUPPORTED; nothing was touched. Such bits in Wanted are left out
 *     silently.
 * NOT_SUPPORTED: VERSION_1 (COM-7) or a bit of Required isn't offered, or the device took FEATURES_OK back.
 * DEVICE_NOT_READY: DEVICE_NEEDS_RESET came up on the way.
 * IO_DEVICE_ERROR: a status bit or a selector doesn't hold what was written.
 * IO_TIMEOUT, DEVICE_NOT_CONNECTED: as AeroVirtioResetDevice.
 */
NTSTATUS AeroVirtioNegotiateFeatures(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONGLONG Required,
                                     ULONGLONG Wanted, ULONGLONG *NegotiatedOut);

/* ---- Queues -------------------------------------------------------------------------------------------- */

/* How many queues the device says it has. 0 when it's gone. Unlocked. */
USHORT AeroVirtioGetNumQueues(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/*
 * A queue's size in descriptors (a power of two, 1 to 32768) and its doorbell's number, and remembers the
 * size. Locks.
 *
 * INVALID_PARAMETER: an output is NULL. NOT_FOUND: the device has no such queue (COM-12).
 * NOT_SUPPORTED: queue_notify_off isn't the queue's own index (NTF-1), or lies outside the notify window: any
 * queue from 64 on.
 * IO_DEVICE_ERROR: the size is no power of two up to 32768, or the selector doesn't hold.
 * DEVICE_NOT_CONNECTED.
 */
NTSTATUS AeroVirtioQueryQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex, USHORT *QueueSizeOut,
                              USHORT *QueueNotifyOffOut);

/*
 * Gives the device a queue's three guest-physical addresses and enables it (COM-13, COM-14). Legal between
 * FEATURES_OK and DRIVER_OK, after AeroVirtioQueryQueue for that queue. Locks. On success the device may use
 * that memory until a reset is confirmed. On failure don't set DRIVER_OK: reset.
 *
 * INVALID_PARAMETER: an address is 0 (Windows never gives that page away; it's a forgotten one), not aligned
 *     to 16, 2 and 4 (RNG-3), or a ring would run past the end of the address space; or the queue's size was
 *     never queried.
 * NOT_FOUND: no such queue.
 * IO_DEVICE_ERROR: the size isn't the one that was queried, an address doesn't read back, queue_enable reads
 *     back other than 1, or the selector doesn't hold. DEVICE_NOT_CONNECTED.
 */
NTSTATUS AeroVirtioSetupQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex, ULONGLONG DescPa,
                              ULONGLONG AvailPa, ULONGLONG UsedPa);

/*
 * Rings a queue's doorbell, once, with a 16-bit write (NTF-2), after a full barrier (NTF-4). Unlocked. It
 * can't tell whether the device is gone: a doorbell then does nothing.
 * INVALID_PARAMETER: the write wouldn't fit in the notify window; nothing was written.
 */
NTSTATUS AeroVirtioNotifyQueue(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, USHORT QueueIndex,
                               USHORT QueueNotifyOff);

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

/*
 * Reads the ISR byte, which acknowledges what it says and lowers the line (INT-2, INT-3). Unlocked; the first
 * thing in every INTx handler. Neither VIRTIO_PCI_ISR_QUEUE nor VIRTIO_PCI_ISR_CONFIG: not ours (INT-9). 0xFF
 * (gone) is answered as 0, else the byte is answered as it reads.
 */
UCHAR AeroVirtioReadIsr(AERO_VIRTIO_PCI_MODERN_DEVICE *Device);

/* ---- Device configuration ------------------------------------------------------------------------------ */

/*
 * Reads Length bytes at Offset of device configuration, all from one generation (COM-16): tried up to 10
 * times. Ask for one field a call (COM-21): 2, 4 and 8 bytes at an offset aligned to 2, 4 and 4 are read by
 * 16-bit, 32-bit and two 32-bit accesses; anything else byte by byte. A device that changes fields without a
 * new generation, or by 256 of them at once, goes unnoticed: read twice what matters. Locks.
 *
 * INVALID_PARAMETER: Buffer NULL, Length 0, or beyond AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE.
 * IO_TIMEOUT: the generation never settled. DEVICE_NOT_CONNECTED.
 *
 * The buffer is zeroed on failure, except for a Length above AERO_VIRTIO_PCI_MODERN_DEVICE_CFG_SIZE, which is
 * no buffer's.
 */
NTSTATUS AeroVirtioReadDeviceConfig(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, void *Buffer,
                                    ULONG Length);

/*
 * Writes Length bytes at Offset of device configuration, by the same widths (virtio-input's selectors:
 * INP-2). Locks. Whether the device took them isn't checked: most fields aren't writable.
 * INVALID_PARAMETER: as for reading. DEVICE_NOT_CONNECTED.
 */
NTSTATUS AeroVirtioWriteDeviceConfig(AERO_VIRTIO_PCI_MODERN_DEVICE *Device, ULONG Offset, const void *Buffer,
                                     ULONG Length);

#ifdef __cplusplus
}
#endif

#endif

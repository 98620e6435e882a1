/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What README shows of pointing a driver at the simulator: first a driver, as short as one can be that works
 * by interrupts, then a harness that gives it a machine. A plain program, without CMocka: exit status 0 is a
 * pass. In a project of your own the driver would be your sources, and the harness a file beside them.
 */

/* ---- The driver: the DDK and the transport, nothing else ---------------------------------------------- */

#include <ntddk.h>

#include "aero_virtio_pci_modern.h"
#include "aero_virtio_split_ring.h"

#define ECHO_TAG  0x6F686345u
#define ECHO_ROOM PAGE_SIZE /* half of it to the device, half of it back */

typedef struct _ECHO_RESOURCES {
    PHYSICAL_ADDRESS Bar0;
    ULONG Bar0Length;
    ULONG Vector;
    KIRQL Irql;
    KAFFINITY Affinity;
} ECHO_RESOURCES;

typedef struct _ECHO_DRIVER {
    AERO_VIRTIO_PCI_MODERN_DEVICE Device;
    AERO_VIRTIO_SPLIT_RING Ring; /* under RingLock */
    KSPIN_LOCK RingLock;
    ULONG Length; /* of the last answer */
    KEVENT Done;
    KDPC Dpc;
    PKINTERRUPT Interrupt;
    PVOID Bar0;
    ULONG Bar0Length;
    PVOID Shared;
    PVOID Private;
    PUCHAR Buffer;
    USHORT NotifyOff;
} ECHO_DRIVER;

/* DIRQL. The byte is read in every state (INT-3); no bit that we know: another device's interrupt (INT-9). */
static BOOLEAN NTAPI EchoIsr(PKINTERRUPT Interrupt, PVOID Context)
{
    ECHO_DRIVER *Driver = Context;
    UCHAR Isr = AeroVirtioReadIsr(&Driver->Device);

    UNREFERENCED_PARAMETER(Interrupt);
    if ((Isr & VIRTIO_PCI_ISR_QUEUE) != 0) {
        KeInsertQueueDpc(&Driver->Dpc, NULL, NULL);
    }
    return (Isr & (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG)) != 0;
}

static VOID NTAPI EchoDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    ECHO_DRIVER *Driver = Context;
    PVOID Cookie;
    ULONG Length;
    BOOLEAN IsDone = FALSE;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    KeAcquireSpinLockAtDpcLevel(&Driver->RingLock);
    while (AeroVirtioSplitRingReap(&Driver->Ring, &Cookie, &Length) == STATUS_SUCCESS) {
        Driver->Length = Length;
        IsDone = TRUE;
    }
    KeReleaseSpinLockFromDpcLevel(&Driver->RingLock);
    if (IsDone) {
        KeSetEvent(&Driver->Done, IO_NO_INCREMENT, FALSE);
    }
}

/* Everything but DRIVER_OK and the interrupt. On failure EchoStop clears up. */
static NTSTATUS EchoSetUp(ECHO_DRIVER *Driver)
{
    AERO_VIRTIO_SPLIT_RING_LAYOUT Layout;
    PHYSICAL_ADDRESS Anywhere;
    ULONGLONG Features;
    USHORT Size;
    NTSTATUS Status;

    Status = AeroVirtioPciModernInitFromBar0(&Driver->Device, Driver->Bar0, Driver->Bar0Length);
    if (NT_SUCCESS(Status)) {
        Status = AeroVirtioNegotiateFeatures(&Driver->Device, 0, 0, &Features);
    }
    if (NT_SUCCESS(Status)) {
        Status = AeroVirtioQueryQueue(&Driver->Device, 0, &Size, &Driver->NotifyOff);
    }
    if (NT_SUCCESS(Status)) {
        Status = AeroVirtioSplitRingGetLayout(Size, 0, &Layout);
    }
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Anywhere.QuadPart = ~(LONGLONG)0;
    Driver->Shared = MmAllocateContiguousMemory(Layout.SharedBytes, Anywhere);
    Driver->Buffer = MmAllocateContiguousMemory(ECHO_ROOM, Anywhere);
    Driver->Private = ExAllocatePoolWithTag(NonPagedPool, Layout.PrivateBytes, ECHO_TAG);
    if (Driver->Shared == NULL || Driver->Buffer == NULL || Driver->Private == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Status =
        AeroVirtioSplitRingInit(&Driver->Ring, Size, 0, Driver->Shared,
                                (ULONGLONG)MmGetPhysicalAddress(Driver->Shared).QuadPart, Driver->Private);
    if (NT_SUCCESS(Status)) {
        Status = AeroVirtioSetupQueue(&Driver->Device, 0, Driver->Ring.DescPa, Driver->Ring.AvailPa,
                                      Driver->Ring.UsedPa);
    }
    return Status;
}

static NTSTATUS EchoStart(ECHO_DRIVER *Driver, const ECHO_RESOURCES *Resources)
{
    NTSTATUS Status;

    RtlZeroMemory(Driver, sizeof(*Driver));
    KeInitializeSpinLock(&Driver->RingLock);
    KeInitializeEvent(&Driver->Done, SynchronizationEvent, FALSE);
    KeInitializeDpc(&Driver->Dpc, EchoDpc, Driver);
    Driver->Bar0Length = Resources->Bar0Length;
    Driver->Bar0 = MmMapIoSpace(Resources->Bar0, Resources->Bar0Length, MmNonCached);
    if (Driver->Bar0 == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Status = EchoSetUp(Driver);
    if (NT_SUCCESS(Status)) {
        Status =
            IoConnectInterrupt(&Driver->Interrupt, EchoIsr, Driver, NULL, Resources->Vector, Resources->Irql,
                               Resources->Irql, LevelSensitive, TRUE, Resources->Affinity, FALSE);
    }
    if (NT_SUCCESS(Status)) {
        AeroVirtioAddStatus(&Driver->Device, VIRTIO_STATUS_DRIVER_OK);
    }
    return Status;
}

/* PASSIVE_LEVEL. Sends Bytes of Text and waits for the answer, at most a second: no wait is without end. */
static NTSTATUS EchoSay(ECHO_DRIVER *Driver, const VOID *Text, ULONG Bytes, PVOID Answer)
{
    AERO_VIRTIO_SEGMENT Segments[2];
    LARGE_INTEGER Timeout;
    KIRQL OldIrql;
    NTSTATUS Status;

    RtlCopyMemory(Driver->Buffer, Text, Bytes);
    RtlZeroMemory(Segments, sizeof(Segments));
    Segments[0].Address = (ULONGLONG)MmGetPhysicalAddress(Driver->Buffer).QuadPart;
    Segments[1].Address = Segments[0].Address + ECHO_ROOM / 2;
    Segments[0].Length = Segments[1].Length = Bytes;
    KeAcquireSpinLock(&Driver->RingLock, &OldIrql);
    Status = AeroVirtioSplitRingAdd(&Driver->Ring, Segments, 1, 1, Driver);
    AeroVirtioSplitRingPublish(&Driver->Ring);
    if (AeroVirtioSplitRingNeedsKick(&Driver->Ring)) {
        AeroVirtioNotifyQueue(&Driver->Device, 0, Driver->NotifyOff);
    }
    KeReleaseSpinLock(&Driver->RingLock, OldIrql);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Timeout.QuadPart = -10000000; /* 1 s */
    Status = KeWaitForSingleObject(&Driver->Done, Executive, KernelMode, FALSE, &Timeout);
    if (Status != STATUS_SUCCESS) {
        return STATUS_IO_TIMEOUT;
    }
    RtlCopyMemory(Answer, Driver->Buffer + ECHO_ROOM / 2, Bytes);
    return Driver->Length == Bytes ? STATUS_SUCCESS : STATUS_DATA_ERROR;
}

static VOID EchoStop(ECHO_DRIVER *Driver)
{
    PVOID Cookie;
    NTSTATUS Status;

    if (Driver->Bar0 == NULL) {
        return;
    }
    Status = AeroVirtioResetDevice(&Driver->Device);
    if (Driver->Interrupt != NULL) {
        IoDisconnectInterrupt(Driver->Interrupt);
        KeFlushQueuedDpcs();
    }
    while (AeroVirtioSplitRingTakeBack(&Driver->Ring, &Cookie)) {
        continue; /* a real driver fails the request that the cookie stands for */
    }
    MmUnmapIoSpace(Driver->Bar0, Driver->Bar0Length);
    if (Status == STATUS_IO_TIMEOUT) {
        return; /* the device may still write there (COM-18): better lose memory than have it corrupted */
    }
    if (Driver->Private != NULL) {
        ExFreePoolWithTag(Driver->Private, ECHO_TAG);
    }
    if (Driver->Buffer != NULL) {
        MmFreeContiguousMemory(Driver->Buffer);
    }
    if (Driver->Shared != NULL) {
        MmFreeContiguousMemory(Driver->Shared);
    }
}

/* ---- The harness: README shows it as it stands -------------------------------------------------------- */

/* clang-format off */
#include "aero_nt.h"

#include <stdio.h>

int main(void)
{
    struct aero_nt_options options = aero_nt_options_default(); /* one virtual CPU, 32 MiB, a real clock */
    struct aero_nt_device_info info = {0};
    struct aero_nt *nt = NULL;
    struct aero_sim_worker *worker = NULL;
    struct aero_sim_device *device = NULL;
    ECHO_RESOURCES resources;
    ECHO_DRIVER driver;
    char answer[6] = "";
    NTSTATUS status;

    options.referee = true; /* names each clause that the driver breaks, register by register */
    if (aero_nt_create(&options, &nt) || aero_sim_worker_create(NULL, &worker) ||
        aero_sim_device_create(aero_sim_model_find("loopback"), aero_nt_memory(nt), worker, &device) ||
        aero_nt_attach(nt, device, NULL, &info) || aero_sim_device_start(device) ||
        aero_nt_enable(nt, device) || !aero_nt_cpu_enter(nt, 0))
        return 1;
    /* From here on this thread is the machine's CPU 0, at PASSIVE_LEVEL. */

    resources.Bar0.QuadPart = (LONGLONG)info.bar0_gpa;
    resources.Bar0Length = info.bar0_bytes;
    resources.Vector = info.interrupt_vector;
    resources.Irql = (KIRQL)info.interrupt_irql;
    resources.Affinity = (KAFFINITY)info.interrupt_affinity;
    status = EchoStart(&driver, &resources);
    if (NT_SUCCESS(status))
        status = EchoSay(&driver, "hello", sizeof answer, answer);
    EchoStop(&driver);
    printf("status 0x%08X, answer \"%s\"\n", (unsigned)status, answer);

    aero_nt_cpu_leave(nt);
    aero_sim_device_stop(device);
    aero_nt_detach(nt, device);
    aero_sim_device_destroy(device);
    aero_sim_worker_destroy(worker);
    /* 0: no rule broken, and nothing left behind */
    return aero_nt_destroy(nt) == 0 && NT_SUCCESS(status) ? 0 : 1;
}
/* clang-format on */

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * See waiter.h.
 */
#include "waiter.h"

#define SECOND_100NS 10000000

/* DIRQL */
static BOOLEAN NTAPI waiter_isr(PKINTERRUPT interrupt, PVOID context)
{
    struct waiter *waiter = context;
    UCHAR isr = AeroVirtioReadIsr(&waiter->rig->driver.Transport);

    (void)interrupt;
    if ((isr & VIRTIO_PCI_ISR_QUEUE) != 0)
        KeInsertQueueDpc(&waiter->dpc, NULL, NULL);
    return isr != 0;
}

static VOID NTAPI waiter_dpc(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
    struct waiter *waiter = context;

    (void)dpc;
    (void)argument1;
    (void)argument2;
    KeSetEvent(&waiter->event, IO_NO_INCREMENT, FALSE);
}

bool waiter_connect(struct waiter *waiter, struct rig *rig)
{
    const REFERENCE_RESOURCES *resources = &rig->resources;
    NTSTATUS status;

    KeInitializeDpc(&waiter->dpc, waiter_dpc, waiter);
    KeInitializeEvent(&waiter->event, SynchronizationEvent, FALSE);
    waiter->rig = rig;
    status =
        IoConnectInterrupt(&waiter->interrupt, waiter_isr, waiter, NULL, resources->Vector, resources->Irql,
                           resources->Irql, LevelSensitive, TRUE, resources->Affinity, FALSE);
    if (NT_SUCCESS(status))
        return true;
    waiter->rig = NULL;
    return rig_fail(rig, "IoConnectInterrupt", status);
}

NTSTATUS waiter_wait(struct waiter *waiter)
{
    LARGE_INTEGER timeout = {.QuadPart = -(LONGLONG)SECOND_100NS * RIG_PATIENCE_SECONDS};
    NTSTATUS status = KeWaitForSingleObject(&waiter->event, Executive, KernelMode, FALSE, &timeout);

    return status == STATUS_TIMEOUT ? STATUS_IO_TIMEOUT : status;
}

void waiter_disconnect(struct waiter *waiter)
{
    if (waiter->rig == NULL)
        return;
    IoDisconnectInterrupt(waiter->interrupt);
    KeFlushQueuedDpcs();
    waiter->rig = NULL;
}

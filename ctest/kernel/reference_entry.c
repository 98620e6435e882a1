/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * DriverEntry for the reference driver as a kernel image: every function that dispatch routines would
 * call is called, so that the image lacks nothing that they need. Never run. PASSIVE_LEVEL.
 */
#include "reference_dump.h"

#define DEVICE_ID 0x1042

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD DriverUnload;

static REFERENCE_DEVICE Device;
static REFERENCE_DUMP Dump;
static REFERENCE_REQUEST Request;

static VOID Complete(PVOID Context, REFERENCE_REQUEST *Completed, ULONG Length, NTSTATUS Status)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Completed);
    UNREFERENCED_PARAMETER(Length);
    UNREFERENCED_PARAMETER(Status);
}

static NTSTATUS DumpOnce(const REFERENCE_RESOURCES *Resources, const AERO_VIRTIO_SEGMENT *Segment)
{
    ULONG Length;
    NTSTATUS Status = ReferenceDumpPrepare(&Dump, Resources, 0, 256);

    if (NT_SUCCESS(Status)) {
        Status = ReferenceDumpStart(&Dump);
    }
    if (NT_SUCCESS(Status)) {
        Status = ReferenceDumpTransfer(&Dump, Segment, 1, 0, 1000, &Length);
        (VOID) ReferenceDumpStop(&Dump);
    }
    (VOID) ReferenceDumpFree(&Dump);
    return Status;
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    (VOID) ReferenceSurpriseRemove(&Device);
    (VOID) ReferenceStop(&Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    AERO_VIRTIO_SEGMENT Segment;
    REFERENCE_RESOURCES Resources;
    REFERENCE_LOCATION Location;
    REFERENCE_CONFIG Config;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = DriverUnload;
    RtlZeroMemory(&Segment, sizeof(Segment));
    RtlZeroMemory(&Resources, sizeof(Resources));
    RtlZeroMemory(&Config, sizeof(Config));
    Config.QueueCount = 1;
    Config.PeriodMs = 1000;
    Config.Limit = 10;
    Config.Complete = Complete;
    Status = ReferenceFind(DEVICE_ID, 0, &Location);
    if (NT_SUCCESS(Status)) {
        Resources.Bar0 = Location.Bar0;
        Status = ReferenceStart(&Device, &Location, &Resources, &Config);
    }
    if (NT_SUCCESS(Status)) {
        Status = ReferenceSubmit(&Device, 0, &Request, &Segment, 1, 0);
        (VOID) ReferencePoll(&Device);
        (VOID) ReferenceRecover(&Device);
        (VOID) ReferenceSuspend(&Device);
        (VOID) ReferenceResume(&Device);
    }
    return NT_SUCCESS(Status) ? DumpOnce(&Resources, &Segment) : Status;
}

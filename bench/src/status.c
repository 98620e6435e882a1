/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Names for statuses: see status.h. */
#include "status.h"

PCSTR BenchStatusName(NTSTATUS Status)
{
    static const struct {
        NTSTATUS Status;
        PCSTR Name;
    } Names[] = {
        {STATUS_SUCCESS, "STATUS_SUCCESS"},
        {STATUS_NO_MORE_ENTRIES, "STATUS_NO_MORE_ENTRIES"},
        {STATUS_INVALID_PARAMETER, "STATUS_INVALID_PARAMETER"},
        {STATUS_INSUFFICIENT_RESOURCES, "STATUS_INSUFFICIENT_RESOURCES"},
        {STATUS_DEVICE_NOT_CONNECTED, "STATUS_DEVICE_NOT_CONNECTED"},
        {STATUS_DEVICE_NOT_READY, "STATUS_DEVICE_NOT_READY"},
        {STATUS_IO_TIMEOUT, "STATUS_IO_TIMEOUT"},
        {STATUS_NOT_SUPPORTED, "STATUS_NOT_SUPPORTED"},
        {STATUS_IO_DEVICE_ERROR, "STATUS_IO_DEVICE_ERROR"},
        {STATUS_DEVICE_PROTOCOL_ERROR, "STATUS_DEVICE_PROTOCOL_ERROR"},
        {STATUS_NOT_FOUND, "STATUS_NOT_FOUND"},
        {STATUS_DATA_ERROR, "STATUS_DATA_ERROR"},
        {STATUS_NO_SUCH_DEVICE, "STATUS_NO_SUCH_DEVICE"},
        {STATUS_INVALID_DEVICE_STATE, "STATUS_INVALID_DEVICE_STATE"},
    };
    ULONG Index;

    for (Index = 0; Index < RTL_NUMBER_OF(Names); Index++) {
        if (Names[Index].Status == Status)
            return Names[Index].Name;
    }
    return "an unknown status";
}

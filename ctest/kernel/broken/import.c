/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose: calls a function that MinGW-w64's import library knows, and no reference documents. */
#include <ntddk.h>

NTKERNELAPI PVOID NTAPI PsGetCurrentThreadTeb(VOID);
PVOID AeroTeb(VOID);

PVOID AeroTeb(VOID)
{
    return PsGetCurrentThreadTeb();
}

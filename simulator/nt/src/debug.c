/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Bug checks, assertions, debug output and the small change of the kernel. Any IRQL. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "nt.h"

#if AERO_NT_TSAN
ULONG AeroNtBarrierWord;
#endif

VOID NTAPI KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR Parameter1, ULONG_PTR Parameter2, ULONG_PTR Parameter3,
                        ULONG_PTR Parameter4)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu != NULL) {
        NT_BREACH(cpu, "BUGCHECK", BugCheckCode, "0x%08x (0x%llx, 0x%llx, 0x%llx, 0x%llx)", BugCheckCode,
                  (unsigned long long)Parameter1, (unsigned long long)Parameter2,
                  (unsigned long long)Parameter3, (unsigned long long)Parameter4);
    }
    if (cpu == NULL || cpu->nt->options.breach == NULL) {
        abort();
    }
}

VOID NTAPI RtlAssert(PCSTR FailedAssertion, PCSTR FileName, ULONG LineNumber, PCSTR Message)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    if (cpu != NULL) {
        nt_breach(cpu->nt, cpu, "ASSERT", "", FailedAssertion, LineNumber, "%s:%u: %s", FileName, LineNumber,
                  Message != NULL ? Message : "assertion failed");
    }
}

ULONG DbgPrint(PCSTR Format, ...)
{
    va_list arguments;

    va_start(arguments, Format);
    vfprintf(stderr, Format, arguments);
    va_end(arguments);
    return (ULONG)STATUS_SUCCESS;
}

SIZE_T NTAPI RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length)
{
    const UCHAR *one = Source1;
    const UCHAR *other = Source2;
    SIZE_T equal = 0;

    while (equal < Length && one[equal] == other[equal]) {
        equal++;
    }
    return equal;
}

ULONG NTAPI KeGetCurrentProcessorNumber(VOID)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);

    return cpu != NULL ? cpu->number : 0;
}

ULONG NTAPI KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    ULONG count = cpu != NULL ? cpu->nt->options.cpu_count : 1;

    if (ActiveProcessors != NULL) {
        *ActiveProcessors = ((KAFFINITY)1 << count) - 1;
    }
    return count;
}

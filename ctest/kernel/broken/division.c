/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose, on x86: a 64-bit division there is a call of libgcc's, which no kernel exports. */
#include <ntddk.h>

ULONGLONG AeroQuotient(ULONGLONG Dividend, ULONGLONG Divisor);

ULONGLONG AeroQuotient(ULONGLONG Dividend, ULONGLONG Divisor)
{
    return Dividend / Divisor;
}

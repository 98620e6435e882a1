/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose: a driver's image exports nothing. */
__declspec(dllexport) void AeroExported(void);

void AeroExported(void)
{
}

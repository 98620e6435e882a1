/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose: calls a function that nobody has. */
void aero_nowhere(void);
void AeroGo(void);

void AeroGo(void)
{
    aero_nowhere();
}

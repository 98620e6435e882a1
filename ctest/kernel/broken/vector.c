/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose: integers in vector registers. */
typedef int AERO_FOUR __attribute__((vector_size(16)));
void AeroAddFour(AERO_FOUR *to, const AERO_FOUR *from);

void AeroAddFour(AERO_FOUR *to, const AERO_FOUR *from)
{
    *to += *from;
}

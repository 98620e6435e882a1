/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Wrong on purpose: floating point, by whichever unit the compiler takes. */
double AeroHalf(int value);

double AeroHalf(int value)
{
    return value * 0.5;
}

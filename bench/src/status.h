/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Names for statuses in what the bench prints. Any thread. */
#ifndef BENCH_STATUS_H
#define BENCH_STATUS_H

#include <ntddk.h>

/* "STATUS_IO_TIMEOUT"; for one not known here "an unknown status". */
PCSTR BenchStatusName(NTSTATUS Status);

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For a row that uses a rig's rings itself and sleeps until the device interrupts: a service routine that
 * reads ISR, its DPC, and the event that this sets.
 */
#ifndef BENCH_WAITER_H
#define BENCH_WAITER_H

#include "rig.h"

struct waiter {
    struct rig *rig; /* NULL: not connected */
    PKINTERRUPT interrupt;
    KDPC dpc;
    KEVENT event;
};

/* rig was started without connect. false: bench_fail has the reason. */
bool waiter_connect(struct waiter *waiter, struct rig *rig);

/*
 * Until the device has interrupted since the last wait. STATUS_IO_TIMEOUT: it didn't, for
 * RIG_PATIENCE_SECONDS.
 */
NTSTATUS waiter_wait(struct waiter *waiter);

/* Before the rig is closed; one that isn't connected is ignored. */
void waiter_disconnect(struct waiter *waiter);

#endif

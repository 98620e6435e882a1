/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Any number of rigs, all on one worker: for rows about many devices. A machine has slots for so many
 * devices, so a large fleet has several machines. The calling thread is a virtual CPU of the last one, from
 * fleet_open to fleet_close; rings may be used of all of them, since a ring's functions ask nothing of the
 * kernel.
 */
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include "rig.h"

struct fleet {
    struct rig *rigs;
    uint32_t count; /* of rigs that are open, be it in part */
};

/*
 * rig_start and rig_allocate (bytes for each) for count devices (1 to AERO_SIM_DEVICES_MAX), without connect.
 * false: bench_fail has the reason.
 */
bool fleet_open(struct fleet *fleet, struct bench_run *run, const struct rig_options *options, uint32_t count,
                uint32_t bytes);

/* rig_close for each. Works on a fleet that was opened in part. */
bool fleet_close(struct fleet *fleet, bool ok);

#endif

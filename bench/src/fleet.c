/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * See fleet.h.
 */
#include "fleet.h"

#include <stdlib.h>
#include <string.h>

/* PCI slots 1 to 31 of a machine, function 0 of each. */
#define DEVICES_A_MACHINE 31u

bool fleet_open(struct fleet *fleet, struct bench_run *run, const struct rig_options *options, uint32_t count,
                uint32_t bytes)
{
    struct rig_options here = *options;

    memset(fleet, 0, sizeof *fleet);
    fleet->rigs = calloc(count, sizeof *fleet->rigs);
    if (fleet->rigs == NULL)
        return bench_fail(run, "no memory");
    while (fleet->count < count) {
        struct rig *rig = &fleet->rigs[fleet->count++];

        here.instance = (fleet->count - 1) % DEVICES_A_MACHINE;
        here.machine_of = here.instance != 0 ? rig - here.instance : NULL;
        here.worker_of = rig != fleet->rigs ? fleet->rigs : NULL;
        if (here.instance == 0 && rig != fleet->rigs)
            rig_leave(rig - DEVICES_A_MACHINE);
        if (!rig_start(rig, run, &here, false) || !rig_allocate(rig, bytes))
            return false;
    }
    return true;
}

bool fleet_close(struct fleet *fleet, bool ok)
{
    while (fleet->count > 0) {
        struct rig *rig = &fleet->rigs[--fleet->count];

        ok = rig_close(rig, ok);
        /* That was a machine's first, so its machine is gone: on to the one before. */
        if (fleet->count > 0 && fleet->count % DEVICES_A_MACHINE == 0)
            rig_enter(rig - DEVICES_A_MACHINE);
    }
    free(fleet->rigs);
    return ok;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the places of a cycle to its steps: see timeline.h. Pure arithmetic.
 */
#include "timeline.h"

void timeline_steps(const double offsets[TIMELINE_PLACES], struct timeline *timeline)
{
    static const struct {
        const char *name;
        enum timeline_side side;
    } about[TIMELINE_PLACES] = {
        [TIMELINE_ADDED] = {"Add: descriptors and slot written", TIMELINE_DRIVER},
        [TIMELINE_PUBLISHED] = {"Publish: avail.idx moved", TIMELINE_DRIVER},
        [TIMELINE_RUNG] = {"Doorbell written", TIMELINE_DRIVER},
        [TIMELINE_SEEN] = {"Doorbell reaches the worker", TIMELINE_BETWEEN},
        [TIMELINE_TAKEN] = {"Chain seen, taken, vetted", TIMELINE_DEVICE},
        [TIMELINE_PUT] = {"Served, used element written", TIMELINE_DEVICE},
        [TIMELINE_RAISED] = {"used.idx, ISR bit, line raised", TIMELINE_DEVICE},
        [TIMELINE_ENTERED] = {"Interrupt reaches the ISR", TIMELINE_BETWEEN},
        [TIMELINE_READ] = {"ISR byte read, line falls", TIMELINE_DRIVER},
        [TIMELINE_DPC] = {"DPC queued and entered", TIMELINE_DRIVER},
        [TIMELINE_REAPED] = {"Reaped", TIMELINE_DRIVER},
        [TIMELINE_AWAKE] = {"Event set, waiter awake", TIMELINE_DRIVER},
    };
    double at = 0, next;
    size_t i;

    timeline->whole_ns = offsets[TIMELINE_AWAKE];
    for (i = 0; i < TIMELINE_PLACES; i++) {
        next = offsets[i] < timeline->whole_ns ? offsets[i] : timeline->whole_ns;
        if (next < at)
            next = at;
        timeline->steps[i] = (struct timeline_step){about[i].name, about[i].side, next - at};
        at = next;
    }
}

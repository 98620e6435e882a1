/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the time of one cycle goes: Add, Publish, doorbell, the device's side, the interrupt, ISR, DPC, the
 * waiter awake. Measured in a scene of its own, for the report.
 *
 * A reading of the clock is no small part of a step, so a cycle is stamped at its start, its end and at no
 * more than one place between. Each place has its turn, a few hundred cycles long, again and again; its
 * offset is the mean of the middle half of the times from the start to it, and a step is the difference of
 * two offsets.
 */
#ifndef BENCH_TIMELINE_H
#define BENCH_TIMELINE_H

#include "bench.h"

/* In the order in which they come. What lies before a place is the step of that name. */
enum timeline_place {
    TIMELINE_ADDED,     /* AeroVirtioSplitRingAdd returned */
    TIMELINE_PUBLISHED, /* AeroVirtioSplitRingPublish returned */
    TIMELINE_RUNG,      /* AeroVirtioNotifyQueue returned */
    TIMELINE_SEEN,      /* the worker took the bell */
    TIMELINE_TAKEN,     /* it read avail.idx, and walked and vetted the chain */
    TIMELINE_PUT,       /* the used element is written */
    TIMELINE_RAISED,    /* the line goes up */
    TIMELINE_ENTERED,   /* the service routine begins */
    TIMELINE_READ,      /* AeroVirtioReadIsr returned, and the line is down */
    TIMELINE_DPC,       /* the DPC begins */
    TIMELINE_REAPED,    /* AeroVirtioSplitRingReap returned the chain */
    TIMELINE_AWAKE,     /* the thread that waited goes on */
    TIMELINE_PLACES
};

/* Whose time a step is. */
enum timeline_side { TIMELINE_DRIVER, TIMELINE_DEVICE, TIMELINE_BETWEEN };

struct timeline_step {
    const char *name;
    enum timeline_side side;
    double ns; /* 0 or more; the first contains one reading of the clock */
};

struct timeline {
    struct timeline_step steps[TIMELINE_PLACES];
    double whole_ns;   /* all steps together: that of cycles with no stamp between start and end */
    uint32_t cycles;   /* stamped at each place */
    char failure[256]; /* "", or why nothing was measured */
};

/*
 * Measures, for at most the time of a row. false: failure says why not. Without a signal at least one turn
 * of each place is taken.
 */
bool timeline_measure(struct bench_session *session, struct timeline *timeline);

/*
 * The steps from the places' offsets, ns from the start; whole_ns is offsets[TIMELINE_AWAKE]. Offsets come
 * from different cycles, so a place may seem to come before the one ahead of it: it's then taken to come
 * with it.
 */
void timeline_steps(const double offsets[TIMELINE_PLACES], struct timeline *timeline);

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The seam for quirks: named deviations, off by default, each with a trigger. A place in the core that a quirk bends asks
 * sim_quirk_acts there; with no quirk on, that place costs one test of a mask (or nothing, on the register path, where
 * the watch word of device.h covers it).
 */
#ifndef SIM_QUIRK_H
#define SIM_QUIRK_H

#include "aero_sim.h"

#include <stdatomic.h>

enum sim_quirk_id {
    SIM_QUIRK_SURPRISE_REMOVAL,     /* catalogue entry 1 */
    SIM_QUIRK_RESET_NEVER_COMPLETES,/* 2 */
    SIM_QUIRK_USED_ID_OUT_OF_RANGE, /* 4 */
    SIM_QUIRK_LOST_INTX,            /* 9 */
    SIM_QUIRK_FEATURES_OK_REFUSED,  /* 17 */
    SIM_QUIRK_QUEUE_ENABLE_ZERO,    /* 36 */
    SIM_QUIRK_COUNT
};

/* The value of a quirk that means "whichever": any register, any queue. */
#define SIM_QUIRK_ANY UINT64_MAX

struct sim_quirks {
    uint32_t mask; /* which are on; constant from start on */
    struct {
        struct aero_sim_quirk_trigger trigger;
        _Atomic uint32_t occasions;
    } slot[SIM_QUIRK_COUNT];
};

enum aero_sim_status sim_quirk_set(struct sim_quirks *quirks, const char *name,
                                   const struct aero_sim_quirk_trigger *trigger);

/* Counts this occasion and says whether the quirk acts on it. */
bool sim_quirk_count(struct sim_quirks *quirks, enum sim_quirk_id id);

static inline bool sim_quirk_on(const struct sim_quirks *quirks, enum sim_quirk_id id)
{
    return quirks->mask & (1u << id);
}

static inline bool sim_quirk_acts(struct sim_quirks *quirks, enum sim_quirk_id id)
{
    return sim_quirk_on(quirks, id) && sim_quirk_count(quirks, id);
}

static inline uint64_t sim_quirk_value(const struct sim_quirks *quirks, enum sim_quirk_id id)
{
    return quirks->slot[id].trigger.value;
}

#endif

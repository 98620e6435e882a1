/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of quirks and their triggers. Set before start by one thread; counted on any. */
#include "quirk.h"

#include <string.h>

static const struct aero_sim_quirk_info catalogue[SIM_QUIRK_COUNT] = {
    [SIM_QUIRK_SURPRISE_REMOVAL] =
        {"surprise-removal-all-ones", "legal",
         "the function disappears at an access to BAR0; value: the offset whose accesses count (default: all)",
         SIM_QUIRK_ANY},
    [SIM_QUIRK_RESET_NEVER_COMPLETES] =
        {"reset-never-completes", "COM-8",
         "writing 0 to device_status is ignored; value: what it reads from then on (default: what it was)",
         SIM_QUIRK_ANY},
    [SIM_QUIRK_USED_ID_OUT_OF_RANGE] =
        {"used-id-out-of-range", "RNG-11", "a used element carries the id given as value (default: 0xFFFF)", 0xFFFF},
    [SIM_QUIRK_LOST_INTX] =
        {"lost-intx", "INT-4", "used entries are published, and neither ISR bit nor line follows; value: the queue "
                               "(default: any)", SIM_QUIRK_ANY},
    [SIM_QUIRK_FEATURES_OK_REFUSED] =
        {"features-ok-refused", "legal", "FEATURES_OK does not stick; value: unused", 0},
    [SIM_QUIRK_QUEUE_ENABLE_ZERO] =
        {"queue-enable-readback-zero", "COM-13",
         "queue_enable = 1 is ignored and reads back 0; value: the queue (default: any)", SIM_QUIRK_ANY},
};

const struct aero_sim_quirk_info *aero_sim_quirk_at(size_t index)
{
    return index < SIM_QUIRK_COUNT ? &catalogue[index] : NULL;
}

enum aero_sim_status sim_quirk_set(struct sim_quirks *quirks, const char *name,
                                   const struct aero_sim_quirk_trigger *trigger)
{
    for (uint32_t id = 0; id < SIM_QUIRK_COUNT; id++) {
        if (strcmp(catalogue[id].name, name))
            continue;
        quirks->slot[id].trigger = trigger ? *trigger
                                           : (struct aero_sim_quirk_trigger){.value = catalogue[id].value_default};
        quirks->mask |= 1u << id;
        return AERO_SIM_OK;
    }
    return AERO_SIM_NOT_FOUND;
}

bool sim_quirk_count(struct sim_quirks *quirks, enum sim_quirk_id id)
{
    const struct aero_sim_quirk_trigger *trigger = &quirks->slot[id].trigger;
    uint32_t before = atomic_fetch_add_explicit(&quirks->slot[id].occasions, 1, memory_order_relaxed);

    return before >= trigger->after && (!trigger->times || before - trigger->after < trigger->times);
}

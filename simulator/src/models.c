/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The models that come with the simulator; a new one is a line here. */
#include "aero_sim_model.h"

#include "../devices/devices.h"

#include <string.h>

static const struct aero_sim_model *const models[] = {&sim_model_loopback, &sim_model_blk};

const struct aero_sim_model *aero_sim_model_at(size_t index)
{
    return index < sizeof models / sizeof models[0] ? models[index] : NULL;
}

const struct aero_sim_model *aero_sim_model_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof models / sizeof models[0]; i++) {
        if (!strcmp(models[i]->name, name))
            return models[i];
    }
    return NULL;
}

const char *aero_sim_model_name(const struct aero_sim_model *model)
{
    return model->name;
}

const char *aero_sim_model_summary(const struct aero_sim_model *model)
{
    return model->summary;
}

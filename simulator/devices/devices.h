/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The models that come with the simulator. Constant data, so any thread may look at them. A new model is
 * declared here and entered in the list behind aero_sim_model_at.
 */
#ifndef SIM_DEVICES_H
#define SIM_DEVICES_H

#include "aero_sim_model.h"

extern const struct aero_sim_model sim_model_loopback;
extern const struct aero_sim_model sim_model_blk;

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the programs that test the reference driver begin with: one scene each, made and judged around every
 * test.
 */
#ifndef REFERENCE_FIXTURE_H
#define REFERENCE_FIXTURE_H

#include "reference_scene.h"

#define ANY UINT64_MAX /* of a quirk's trigger */

extern struct reference_scene scene;

int set_up(void **state);    /* an empty scene */
int tear_down(void **state); /* fails the test where the machine saw a breach */

const struct aero_sim_model *loopback(void);
struct aero_sim_device *device(void); /* the scene's first */

#endif

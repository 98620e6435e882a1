/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The scene of a program that tests the reference driver: see reference_fixture.h. */
#include "reference_fixture.h"

#include <string.h>

struct reference_scene scene;

int set_up(void **state)
{
    *state = NULL;
    memset(&scene, 0, sizeof scene);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    return reference_scene_close(&scene) == 0 ? 0 : -1;
}

const struct aero_sim_model *loopback(void)
{
    return aero_sim_model_find("loopback");
}

struct aero_sim_device *device(void)
{
    return scene.rig.devices[0].device;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The scene of the reference driver's tests: a machine with its referee on, a device, the driver of
 * examples/, a page run for buffers, and a log of what became of each request. The calling thread is virtual
 * CPU 0. No CMocka in here: calls answer whether they succeeded, and say on stderr what failed.
 */
#ifndef REFERENCE_SCENE_H
#define REFERENCE_SCENE_H

#include "aero_sim_model.h"
#include "nt_rig.h"
#include "reference_driver.h"

#define REFERENCE_SCENE_REQUESTS 512u
#define REFERENCE_SCENE_BYTES    32u    /* of each direction of a request */
#define REFERENCE_SCENE_WAIT_MS  20000u /* for what must come; nothing waits that long unless it has failed */

/* The watchdog's period, and how many of them a request may take. */
#define REFERENCE_SCENE_PERIOD_MS 100u
#define REFERENCE_SCENE_LIMIT     3u

struct reference_scene_request {
    REFERENCE_REQUEST driver;
    _Atomic uint32_t back; /* times that it came back */
    NTSTATUS status;
    ULONG length;
};

struct reference_scene {
    struct nt_rig rig;
    REFERENCE_LOCATION location;
    REFERENCE_RESOURCES resources;
    REFERENCE_CONFIG config;
    REFERENCE_DEVICE driver;
    uint64_t buffer_gpa;
    uint8_t *buffer;
    struct reference_scene_request requests[REFERENCE_SCENE_REQUESTS];
    _Atomic uint32_t back;
    _Atomic uint32_t succeeded;
    _Atomic uint32_t again; /* so many completions more submit their request once more */
};

/* Machine and device; the test may configure both. options NULL: the defaults, with a virtual clock. */
bool reference_scene_create(struct reference_scene *scene, const struct aero_sim_model *model,
                            const struct nt_rig_options *options);

/* Power on, find the device, allocate the buffer, fill in a config: one queue, drains of 20 ms. */
bool reference_scene_power_on(struct reference_scene *scene);

/* ReferenceStart. */
NTSTATUS reference_scene_start(struct reference_scene *scene);

/* All of that. */
bool reference_scene_open(struct reference_scene *scene, const struct aero_sim_model *model);

/* Whatever there is of it; answers the machine's breaches. Legal after a failure and twice. */
uint32_t reference_scene_close(struct reference_scene *scene);

/* Submits request n: a readable piece with a pattern of its own, and a writable one. */
NTSTATUS reference_scene_submit(struct reference_scene *scene, uint32_t queue, uint32_t request);

/* Until so many are back; false after REFERENCE_SCENE_WAIT_MS. */
bool reference_scene_await(struct reference_scene *scene, uint32_t back);

/*
 * Requests [first, end) are back, once, with that status; and, where it is STATUS_SUCCESS, with their echo.
 */
bool reference_scene_are_back(const struct reference_scene *scene, uint32_t first, uint32_t end,
                              NTSTATUS status);

/* Requests [first, end) aren't back. */
bool reference_scene_are_out(const struct reference_scene *scene, uint32_t first, uint32_t end);

/* One more request, served by interrupt and echoed. */
bool reference_scene_works(struct reference_scene *scene, uint32_t request);

/* The virtual clock goes on by so many of the watchdog's periods. */
void reference_scene_tick(struct reference_scene *scene, uint32_t periods);

/* The driver holds nothing of the machine any more. */
bool reference_scene_holds_nothing(const struct reference_scene *scene);

/* ---- A device that keeps chains until it is let go ---- */

extern const struct aero_sim_model reference_scene_keeper; /* echoes, in its two queues, where it serves */

/* After one KEEPER_SERVES_ONE is KEEPER_KEEPS again. */
enum keeper_mood { KEEPER_KEEPS, KEEPER_SERVES, KEEPER_SERVES_ONE, KEEPER_FAILS };
void reference_scene_mood(enum keeper_mood mood); /* looked at with the next doorbell, wake or DRIVER_OK */
/* Waits until the keeper has taken all doorbells so far, in the mood that it's in. */
bool reference_scene_settle(struct aero_sim_device *device);

#endif

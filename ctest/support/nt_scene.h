/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One device, its driver, a page run for buffers and a log of the cookies that came back: what most
 * end-to-end tests begin with. All on the thread of the test, which is virtual CPU 0. No CMocka in here:
 * calls answer whether they succeeded, and say on stderr what failed.
 */
#ifndef NT_SCENE_H
#define NT_SCENE_H

#include "aero_sim_model.h"
#include "nt_rig.h"

#define NT_SCENE_COOKIES      512u
#define NT_SCENE_BUFFER_BYTES 0x10000u
#define NT_SCENE_WAIT_MS      20000u /* for what must come; nothing waits that long unless it has failed */

struct nt_scene_cookie {
    uint32_t completed; /* times that it came back by the device */
    uint32_t cancelled; /* and by TakeBack */
    uint32_t length;    /* of the last completion */
};

struct nt_scene {
    struct nt_rig rig;
    NT_DRIVER driver;
    NT_DRIVER_CONFIG config; /* nt_scene_start's; Complete and Context are the scene's */
    uint64_t buffer_gpa;     /* NT_SCENE_BUFFER_BYTES of contiguous memory */
    uint8_t *buffer;
    struct nt_scene_cookie cookies[NT_SCENE_COOKIES]; /* cookie n is (PVOID)n */
    uint32_t completed;                               /* sums over the cookies */
    uint32_t cancelled;
    uint32_t strange; /* cookies that nobody could have submitted */
};

/* Machine and device; the test may configure both. options NULL: the defaults. */
bool nt_scene_create(struct nt_scene *scene, const struct aero_sim_model *model,
                     const struct nt_rig_options *options);

/* Power on, and the buffer allocated at or above lowest_pa. */
bool nt_scene_power_on(struct nt_scene *scene, uint64_t lowest_pa);

/* NtDriverStart on device 0, with scene->config. */
NTSTATUS nt_scene_start(struct nt_scene *scene);

/* All of that with a config of so many queues and indirect entries. */
bool nt_scene_open(struct nt_scene *scene, const struct aero_sim_model *model, uint32_t queues,
                   uint16_t indirect);

/* Whatever there is of it; answers the machine's breaches. Legal after a failure and twice. */
uint32_t nt_scene_close(struct nt_scene *scene);

/*
 * Submits cookie n as a chain of one readable piece at buffer + 128 n and one writable piece 64 bytes behind
 * it, of `bytes` each (at most 64), with a pattern of the cookie's in the first; and looks whether the echo
 * is right.
 */
NTSTATUS nt_scene_submit(struct nt_scene *scene, uint32_t queue, uint32_t cookie, uint32_t bytes);
bool nt_scene_echoed(const struct nt_scene *scene, uint32_t cookie, uint32_t bytes);

/* Until so many completions have come by interrupts; false after NT_SCENE_WAIT_MS without news. */
bool nt_scene_await(struct nt_scene *scene, uint32_t completed);

/* Until *counter of the driver is at least that, or DEVICE_NEEDS_RESET was seen: likewise. */
bool nt_scene_await_counter(struct nt_scene *scene, const volatile LONG *counter, LONG value);

/* Each of cookies [first, end) is back exactly once, in either way, and no other. */
bool nt_scene_all_back(const struct nt_scene *scene, uint32_t first, uint32_t end);

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A machine for the kernel's own tests, with up to four "ticker" devices: one queue, four bytes of
 * configuration, and a configuration interrupt at each tick. The opening thread is virtual CPU 0. No CMocka
 * in here: calls answer whether they succeeded.
 */
#ifndef NT_FIXTURE_H
#define NT_FIXTURE_H

#include "aero_nt.h"
#include "ntddk.h"

#define NT_FIXTURE_DEVICES_MAX 4u

struct nt_fixture {
    struct aero_nt *nt;
    struct aero_sim_worker *worker; /* NULL: ticks happen inside nt_fixture_tick */
    uint32_t device_count;
    struct aero_sim_device *devices[NT_FIXTURE_DEVICES_MAX];
    struct aero_nt_device_info infos[NT_FIXTURE_DEVICES_MAX];
    UCHAR *bars[NT_FIXTURE_DEVICES_MAX]; /* BAR0 as the driver maps it */
};

struct nt_fixture_plan {
    struct aero_nt_options options;
    bool worker;
    uint32_t device_count;
    struct aero_nt_attach_options attach[NT_FIXTURE_DEVICES_MAX];
};

/* One CPU, no device, no worker, breaches not printed. */
struct nt_fixture_plan nt_fixture_plan_default(void);

bool nt_fixture_open(struct nt_fixture *fixture, const struct nt_fixture_plan *plan);

/* Takes device `index` to DRIVER_OK past the kernel, so that no counter and no referee notices. */
void nt_fixture_bring_up(struct nt_fixture *fixture, uint32_t index);

/* One interrupt cause. Any thread when there is a worker, else any thread but inside the device. */
void nt_fixture_tick(struct nt_fixture *fixture, uint32_t index);

/* Unmaps, leaves, takes all down; answers the breaches of the machine's life. Once more does nothing. */
uint32_t nt_fixture_close(struct nt_fixture *fixture);

/* Exactly one breach, of that rule: true, and it is forgotten. Else says on stderr what there was. */
bool nt_fixture_broke(struct nt_fixture *fixture, const char *rule);

/* Yields until *word is value; false after ten seconds. For threads that may not assert. */
bool nt_fixture_await(_Atomic uint32_t *word, uint32_t value);

#endif

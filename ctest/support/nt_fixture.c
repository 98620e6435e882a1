/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The ticker device and the machine around it; see nt_fixture.h. */
#include "nt_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "aero_sim_model.h"
#include "os.h"

#define AWAIT_NS UINT64_C(10000000000)

/*
 * Ticks asked for and not yet made, by the order in which the devices were started: the core calls event now
 * and then unasked, at DRIVER_OK for one. One machine of tickers at a time.
 */
static _Atomic uint32_t ticks_wanted[NT_FIXTURE_DEVICES_MAX];
static uint32_t tickers_started;

struct ticker {
    struct aero_sim_device *device;
    _Atomic uint32_t *wanted;
    uint32_t ticks;
};

static enum aero_sim_status ticker_open(void *state, struct aero_sim_device *device,
                                        const struct aero_sim_backend *backend, char *error,
                                        size_t error_bytes)
{
    struct ticker *ticker = state;

    (void)backend, (void)error, (void)error_bytes;
    ticker->device = device;
    ticker->wanted = &ticks_wanted[tickers_started++ % NT_FIXTURE_DEVICES_MAX];
    atomic_store(ticker->wanted, 0);
    return AERO_SIM_OK;
}

/* Once DRIVER_OK is set, a change of configuration interrupts (INT-6). */
static void ticker_event(void *state)
{
    struct ticker *ticker = state;

    if (atomic_exchange(ticker->wanted, 0) != 0) {
        ticker->ticks++;
        aero_sim_config_set(ticker->device, 0, &ticker->ticks, sizeof ticker->ticks);
    }
}

static uint32_t ticker_serve(void *state, const struct aero_sim_chain *chain)
{
    (void)state, (void)chain;
    return 0;
}

static const struct aero_sim_queue_spec ticker_queues[] = {{"queue", 8, ticker_serve}};

static const struct aero_sim_model ticker_model = {
    .name = "ticker",
    .summary = "interrupts when told to",
    .pci_device_id = 0x107F,
    .subsystem_id = 0x007F,
    .class_code = 0xFF0000,
    .config_bytes = 4,
    .state_bytes = sizeof(struct ticker),
    .queue_count = 1,
    .queues = ticker_queues,
    .open = ticker_open,
    .event = ticker_event,
};

struct nt_fixture_plan nt_fixture_plan_default(void)
{
    struct nt_fixture_plan plan;

    memset(&plan, 0, sizeof plan);
    plan.options = aero_nt_options_default();
    plan.options.quiet = true;
    return plan;
}

static bool device_open(struct nt_fixture *fixture, const struct aero_nt_attach_options *options)
{
    uint32_t index = fixture->device_count;
    struct aero_sim_device *device;
    PHYSICAL_ADDRESS bar;

    if (aero_sim_device_create(&ticker_model, aero_nt_memory(fixture->nt), fixture->worker, &device) !=
        AERO_SIM_OK) {
        return false;
    }
    fixture->devices[index] = device;
    fixture->device_count++;
    if (aero_nt_attach(fixture->nt, device, options, &fixture->infos[index]) != AERO_SIM_OK ||
        aero_sim_device_start(device) != AERO_SIM_OK || aero_nt_enable(fixture->nt, device) != AERO_SIM_OK) {
        return false;
    }
    bar.QuadPart = (LONGLONG)fixture->infos[index].bar0_gpa;
    fixture->bars[index] = MmMapIoSpace(bar, fixture->infos[index].bar0_bytes, MmNonCached);
    return fixture->bars[index] != NULL;
}

bool nt_fixture_open(struct nt_fixture *fixture, const struct nt_fixture_plan *plan)
{
    uint32_t index;

    memset(fixture, 0, sizeof *fixture);
    tickers_started = 0;
    if (aero_nt_create(&plan->options, &fixture->nt) != AERO_SIM_OK || !aero_nt_cpu_enter(fixture->nt, 0)) {
        return false;
    }
    if (plan->worker && aero_sim_worker_create(NULL, &fixture->worker) != AERO_SIM_OK) {
        return false;
    }
    for (index = 0; index < plan->device_count; index++) {
        if (!device_open(fixture, &plan->attach[index])) {
            return false;
        }
    }
    return true;
}

void nt_fixture_bring_up(struct nt_fixture *fixture, uint32_t index)
{
    struct aero_sim_device *device = fixture->devices[index];

    aero_sim_bar_write(device, 0x14, 1, 0);
    aero_sim_bar_write(device, 0x14, 1, 0x01);
    aero_sim_bar_write(device, 0x14, 1, 0x03);
    aero_sim_bar_write(device, 0x08, 4, 1); /* driver_feature_select: the high half, with VERSION_1 */
    aero_sim_bar_write(device, 0x0C, 4, 1);
    aero_sim_bar_write(device, 0x14, 1, 0x0B);
    aero_sim_bar_write(device, 0x14, 1, 0x0F);
}

void nt_fixture_tick(struct nt_fixture *fixture, uint32_t index)
{
    atomic_fetch_add(&ticks_wanted[index], 1);
    aero_sim_device_wake(fixture->devices[index]);
    while (fixture->worker == NULL && aero_sim_device_step(fixture->devices[index])) {
    }
}

uint32_t nt_fixture_close(struct nt_fixture *fixture)
{
    uint32_t breaches;
    uint32_t index;

    if (fixture->nt == NULL) {
        return 0;
    }
    for (index = 0; index < fixture->device_count; index++) {
        if (fixture->bars[index] != NULL) {
            MmUnmapIoSpace(fixture->bars[index], fixture->infos[index].bar0_bytes);
        }
    }
    aero_nt_cpu_leave(fixture->nt);
    for (index = 0; index < fixture->device_count; index++) {
        aero_sim_device_stop(fixture->devices[index]);
        aero_nt_detach(fixture->nt, fixture->devices[index]);
        aero_sim_device_destroy(fixture->devices[index]);
    }
    aero_sim_worker_destroy(fixture->worker);
    breaches = aero_nt_destroy(fixture->nt);
    memset(fixture, 0, sizeof *fixture);
    return breaches;
}

bool nt_fixture_broke(struct nt_fixture *fixture, const char *rule)
{
    uint32_t count = aero_nt_breach_count(fixture->nt);
    bool good = count == 1 && strcmp(aero_nt_breach_at(fixture->nt, 0)->rule, rule) == 0;
    const struct aero_nt_breach *breach;
    uint32_t index;

    for (index = 0; !good && (breach = aero_nt_breach_at(fixture->nt, index)) != NULL; index++) {
        fprintf(stderr, "breach %u of %u: %s: %s: %s\n", (unsigned)index, (unsigned)count, breach->rule,
                breach->function, breach->text);
    }
    aero_nt_breach_forget(fixture->nt);
    return good;
}

bool nt_fixture_await(_Atomic uint32_t *word, uint32_t value)
{
    uint64_t deadline_ns = sim_os_now_ns() + AWAIT_NS;

    while (atomic_load(word) != value) {
        if (sim_os_now_ns() > deadline_ns) {
            return false;
        }
        sim_os_yield();
    }
    return true;
}

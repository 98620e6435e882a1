/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sampling loop's slow parts: see bench.h.
 */
#include "bench.h"

#include <stdarg.h>
#include <string.h>

bool bench_fail(struct bench_run *run, const char *format, ...)
{
    va_list arguments;

    if (run->failure[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(run->failure, sizeof run->failure, format, arguments);
    va_end(arguments);
    return false;
}

uint32_t bench_samples(const struct bench_session *session, const struct bench_row *row)
{
    return session->options.smoke ? row->samples_smoke : row->samples;
}

void bench_begin(struct bench_run *run, struct aero_sim_device *device)
{
    run->device = device;
    run->ticks = run->session->ticks;
    run->samples = 0;
    run->samples_end = bench_samples(run->session, run->row) / 10 + 1;
    run->budget = clock_ticks(run->session->row_ns / 10);
    run->warming = true;
    run->began = run->last = clock_now();
}

bool bench_turn(struct bench_run *run)
{
    struct aero_sim_counters now = {0};
    uint64_t cpu_ns = host_thread_cpu_ns();

    if (run->device != NULL)
        aero_sim_device_counters(run->device, &now);
    if (run->warming && !host_interrupted) {
        run->warming = false;
        run->samples = 0;
        run->samples_end = bench_samples(run->session, run->row);
        run->budget = clock_ticks(run->session->row_ns);
        run->before = now;
        run->cpu_ns = cpu_ns;
        run->began = run->last = clock_now();
        return true;
    }
    /* 32-bit counters: differences come out right once round. */
    run->doorbells = (uint32_t)(now.doorbells - run->before.doorbells);
    run->interrupts = (uint32_t)(now.interrupts - run->before.interrupts);
    run->cpu_ns = cpu_ns - run->cpu_ns;
    return false;
}

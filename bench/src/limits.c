/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The limit rows: what this machine can do at best between two threads, with nothing of the project in
 * between. The other rows stand against these. The thread that measures is on the driver's CPU, its partner
 * on the device's.
 */
#include "bench.h"

#include <string.h>

#define STOP      UINT32_MAX
#define ANSWER_NS 2000000000u

/* One cache line, or one a flag. */
struct flags {
    _Alignas(2 * SIM_LINE_BYTES) _Atomic uint32_t ping;
    _Atomic uint32_t pong;
    _Alignas(2 * SIM_LINE_BYTES) _Atomic uint32_t distant_pong;
};

struct pair {
    struct flags flags;
    _Atomic uint32_t *ping, *pong;
};

/* ---- Spinning ---- */

static void answer_spinning(void *context)
{
    struct pair *pair = context;
    uint32_t expected = 1, seen, looks;

    for (;;) {
        for (looks = 0; (seen = atomic_load_explicit(pair->ping, memory_order_acquire)) != expected;) {
            if (seen == STOP)
                return;
            bench_look_in_vain(&looks);
        }
        atomic_store_explicit(pair->pong, expected, memory_order_release);
        expected++;
    }
}

static inline void ask_spinning(struct pair *pair, uint32_t turn)
{
    uint32_t looks = 0;

    atomic_store_explicit(pair->ping, turn, memory_order_release);
    while (atomic_load_explicit(pair->pong, memory_order_acquire) != turn)
        bench_look_in_vain(&looks);
}

static bool spin(struct bench_run *run, bool one_line)
{
    struct pair pair;
    struct sim_os_thread *partner;
    uint32_t turn = 0, i;

    memset(&pair, 0, sizeof pair);
    pair.ping = &pair.flags.ping;
    pair.pong = one_line ? &pair.flags.pong : &pair.flags.distant_pong;
    partner = sim_os_thread_start(answer_spinning, &pair, run->session->options.device_cpu);
    if (partner == NULL)
        return bench_fail(run, "the host gave no second thread");
    bench_begin(run, NULL);
    while (bench_more(run)) {
        uint64_t start = clock_now();

        for (i = 0; i < run->batch; i++)
            ask_spinning(&pair, ++turn);
        bench_sample(run, start, clock_now());
    }
    atomic_store_explicit(pair.ping, STOP, memory_order_release);
    sim_os_thread_join(partner);
    run->digest += turn;
    return true;
}

bool limit_line(struct bench_run *run)
{
    return spin(run, true);
}

bool limit_two_lines(struct bench_run *run)
{
    return spin(run, false);
}

/* ---- Sleeping ---- */

static void answer_sleeping(void *context)
{
    struct pair *pair = context;
    uint32_t expected = 1, seen;

    for (;;) {
        while ((seen = atomic_load_explicit(pair->ping, memory_order_acquire)) != expected) {
            if (seen == STOP)
                return;
            sim_os_wait(pair->ping, seen, UINT64_MAX);
        }
        atomic_store_explicit(pair->pong, expected, memory_order_release);
        sim_os_wake_one(pair->pong);
        expected++;
    }
}

static void ask_sleeping(struct pair *pair, uint32_t turn)
{
    uint32_t seen;

    atomic_store_explicit(pair->ping, turn, memory_order_release);
    sim_os_wake_one(pair->ping);
    while ((seen = atomic_load_explicit(pair->pong, memory_order_acquire)) != turn)
        sim_os_wait(pair->pong, seen, ANSWER_NS);
}

bool limit_wake(struct bench_run *run)
{
    struct pair pair;
    struct sim_os_thread *partner;
    uint32_t turn = 0;

    memset(&pair, 0, sizeof pair);
    pair.ping = &pair.flags.ping;
    pair.pong = &pair.flags.distant_pong;
    partner = sim_os_thread_start(answer_sleeping, &pair, run->session->options.device_cpu);
    if (partner == NULL)
        return bench_fail(run, "the host gave no second thread");
    bench_begin(run, NULL);
    while (bench_more(run)) {
        uint64_t start = clock_now();

        ask_sleeping(&pair, ++turn);
        bench_sample(run, start, clock_now());
    }
    atomic_store_explicit(pair.ping, STOP, memory_order_release);
    sim_os_wake_one(pair.ping);
    sim_os_thread_join(partner);
    run->digest += turn;
    return true;
}

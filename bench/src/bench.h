/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A benchmark is a row: a name, how much of it is measured, and a function that sets its scene, takes samples
 * in a loop and clears up. This header is what such a function sees: the row, the run, and the sampling loop.
 *
 *     while (bench_more(run)) {
 *         uint64_t start = clock_now();
 *         ... one item, or run->batch of them ...
 *         bench_sample(run, start, clock_now());
 *     }
 *
 * The first samples warm up and are thrown away; the loop then ends when the row's number of samples is
 * reached, or its time is up, or a signal came. No host time is read between the two stamps. The driver's
 * thread alone runs all this.
 */
#ifndef BENCH_H
#define BENCH_H

#include "aero_sim.h"
#include "clock.h"
#include "host.h"
#include "options.h"

struct bench_run;

/* What a name's parts behind the slash set; a row uses those that it knows. */
struct bench_parameters {
    uint16_t queue_size;
    uint16_t publish; /* chains that are published, and kicked, at once */
    uint32_t bytes;   /* of payload a chain, or where it has several descriptors a descriptor */
    uint16_t chain;   /* descriptors a chain; 0: one */
    uint16_t queues;  /* of one device, all kept full, in turn; 0: one */
    uint16_t devices; /* likewise, of one queue each */
    bool exactly;     /* published whenever it's so many, and not before; else once a reap, up to so many */
    bool indirect;    /* the chain is in a table */
    bool fresh;       /* no descriptor says what it said a lap before; else buffers go round in order */
    bool copy;        /* the device copies what it is given */
    bool kick;        /* with doorbells, and interrupts; else both sides poll */
    bool swept;       /* the row is one of many that differ in one of these: see choose.h */
};

struct bench_row {
    const char *name;
    bool (*run)(struct bench_run *run); /* false: see bench_fail */
    uint32_t batch; /* items a sample; 1 for what takes 200 ns or more; 0: the row's run says */
    uint32_t samples, samples_smoke; /* at most */
    bool throughput;                 /* items/s is what it's about */
    struct bench_parameters with;
    const char *summary;
};

/* Of the whole bench: one a process. */
struct bench_session {
    struct bench_options options;
    uint64_t row_ns;    /* a row takes no longer than this, and a tenth of it to warm up */
    uint64_t digest;    /* of all that was read, so that no work can be optimised away */
    uint64_t *ticks;    /* room for the samples of the longest row */
    uint32_t failures;  /* rows and jobs */
    size_t name_length; /* of the longest row asked for */
};

struct bench_run {
    const struct bench_row *row;
    struct bench_session *session;
    struct aero_sim_device *device; /* whose doorbells and interrupts are counted, or NULL */

    uint32_t batch; /* the row's; a row of 0 sets it before bench_begin */
    uint64_t *ticks;
    uint32_t samples, samples_end;
    bool warming;
    uint64_t began, last, budget; /* ticks */

    uint64_t digest;
    struct aero_sim_counters before;
    uint64_t doorbells, interrupts; /* while measuring */
    uint64_t cpu_ns;                /* of this thread, while measuring */

    char failure[256];
};

/* The catalogue: rows in the order in which they run; NULL past the last. */
const struct bench_row *bench_row_at(size_t index);

/* How many samples a row is to take. */
uint32_t bench_samples(const struct bench_session *session, const struct bench_row *row);

/* Ready to sample; the scene is set. device as in struct bench_run. */
void bench_begin(struct bench_run *run, struct aero_sim_device *device);

/* Notes why the row failed, unless a reason is noted already, and answers false. */
bool bench_fail(struct bench_run *run, const char *format, ...) HOST_PRINTF(2, 3);

/* The end of warming up, or of it all; bench_more's slow part. */
bool bench_turn(struct bench_run *run);

static inline bool bench_more(struct bench_run *run)
{
    if (__builtin_expect(
            run->samples < run->samples_end && run->last - run->began < run->budget && !host_interrupted, 1))
        return true;
    return bench_turn(run);
}

static inline void bench_sample(struct bench_run *run, uint64_t start, uint64_t stop)
{
    run->ticks[run->samples++] = stop - start;
    run->last = stop;
}

/* Deterministic random numbers (splitmix64): the seed's, and then each row's own sequence. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

#define BENCH_LOOKS_BEFORE_YIELD 4096u /* some 100 us: far more than any answer between two threads takes */

/*
 * Of a thread that spins until another has answered: one look in vain. Where both have one CPU (or somebody
 * else has the other's), it is given up at times.
 */
static inline void bench_look_in_vain(uint32_t *looks)
{
    sim_os_pause();
    if (++*looks % BENCH_LOOKS_BEFORE_YIELD == 0)
        sim_os_yield();
}

/* ---- The rows' functions, by file ---- */

bool limit_line(struct bench_run *run);
bool limit_two_lines(struct bench_run *run);
bool limit_wake(struct bench_run *run);
bool limit_bare_ring(struct bench_run *run);
bool limit_pread(struct bench_run *run);
bool limit_pread_apart(struct bench_run *run);

bool mmio_read8(struct bench_run *run);
bool mmio_read16(struct bench_run *run);
bool mmio_read32(struct bench_run *run);
bool mmio_write8(struct bench_run *run);
bool mmio_write16(struct bench_run *run);
bool mmio_write32(struct bench_run *run);

bool lifecycle_init(struct bench_run *run);
bool lifecycle_negotiate(struct bench_run *run);
bool lifecycle_setup_queue(struct bench_run *run);
bool lifecycle_full(struct bench_run *run);

bool config_read(struct bench_run *run);
bool notify_doorbell(struct bench_run *run);
bool isr_read(struct bench_run *run);

bool roundtrip_poll(struct bench_run *run);
bool roundtrip_kick_isr_spin(struct bench_run *run);
bool roundtrip_kick_isr_sleep(struct bench_run *run);

bool ring(struct bench_run *run);
bool driver_kick(struct bench_run *run);

bool blk_read(struct bench_run *run);
bool blk_write(struct bench_run *run);

#endif

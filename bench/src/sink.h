/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Devices for the ring rows that loopback can't play: one of as many queues as there can be, and one that
 * copies what it is given, as vhost copies a frame out of the guest. They are models as any other, on the
 * public interface (aero_sim_model.h), but stand in no catalogue: they are of no use to a driver.
 */
#ifndef BENCH_SINK_H
#define BENCH_SINK_H

#include "aero_sim_model.h"

#define SINK_QUEUES     AERO_SIM_QUEUES_MAX
#define SINK_QUEUE_SIZE 256u

/*
 * Takes note of each chain and touches none of its bytes, as loopback does with chains that it can only read.
 */
extern const struct aero_sim_model sink_model;

/* The longest chain that sink_copy_model copies whole. */
#define SINK_COPY_BYTES 65536u

/* Copies a chain's readable bytes into memory of its own. It has one queue. */
extern const struct aero_sim_model sink_copy_model;

/*
 * Where the last chain that some sink_copy_model completed lies, and how long it is; NULL and 0 before. For
 * the thread that has reaped it, until the device is given the next chain or is stopped.
 */
const uint8_t *sink_copied(size_t *length_out);

#endif

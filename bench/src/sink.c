/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * See sink.h.
 */
#include "sink.h"

/* ---- Takes note ---- */

static uint32_t note(void *state, const struct aero_sim_chain *chain)
{
    (void)state;
    (void)chain;
    return 0;
}

#define QUEUE                                                  \
    {                                                          \
        .name = "sink", .size = SINK_QUEUE_SIZE, .serve = note \
    }
#define QUEUES4  QUEUE, QUEUE, QUEUE, QUEUE
#define QUEUES16 QUEUES4, QUEUES4, QUEUES4, QUEUES4

static const struct aero_sim_queue_spec note_queues[SINK_QUEUES] = {QUEUES16, QUEUES16, QUEUES16, QUEUES16};

const struct aero_sim_model sink_model = {
    .name = "sink",
    .summary = "takes note of chains, on as many queues as there can be",
    .pci_device_id = 0x107F,
    .subsystem_id = 0x003F,
    .class_code = 0x00FF00,
    .queue_count = SINK_QUEUES,
    .queues = note_queues,
};

/* ---- Copies ---- */

#define ALIGNMENT 64u

/*
 * Chains lie behind one another, each in cache lines of its own, as the frames of a receiver would: the
 * memory is twice the longest chain, and is begun anew where the next might not fit.
 */
struct copies {
    uint8_t bytes[2 * SINK_COPY_BYTES];
    size_t next;
};

static struct {
    const uint8_t *bytes;
    size_t length;
} last;

static enum aero_sim_status copy_open(void *state, struct aero_sim_device *device,
                                      const struct aero_sim_backend *backend, char *error, size_t error_bytes)
{
    (void)state;
    (void)device;
    (void)backend;
    (void)error;
    (void)error_bytes;
    last.bytes = NULL;
    last.length = 0;
    return AERO_SIM_OK;
}

static uint32_t copy(void *state, const struct aero_sim_chain *chain)
{
    struct copies *copies = state;

    if (copies->next > sizeof copies->bytes - SINK_COPY_BYTES)
        copies->next = 0;
    last.bytes = copies->bytes + copies->next;
    last.length = aero_sim_chain_read(chain, 0, copies->bytes + copies->next, SINK_COPY_BYTES);
    copies->next += (last.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return 0;
}

static const struct aero_sim_queue_spec copy_queues[] = {
    {.name = "copy", .size = SINK_QUEUE_SIZE, .serve = copy}};

const struct aero_sim_model sink_copy_model = {
    .name = "sink-copy",
    .summary = "copies what chains say into memory of its own",
    .pci_device_id = 0x107F,
    .subsystem_id = 0x003F,
    .class_code = 0x00FF00,
    .state_bytes = sizeof(struct copies),
    .queue_count = 1,
    .queues = copy_queues,
    .open = copy_open,
};

/* What the worker wrote before it published the used index, who has read that index may read (P2). */
const uint8_t *sink_copied(size_t *length_out)
{
    *length_out = last.length;
    return last.bytes;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Start here: a whole device. It says back what it is told, on each of its queues: the readable bytes of a
 * chain are copied into its writable ones. It is also the device that the ring benchmark talks to, with
 * chains that have nothing writable. echo runs on the worker (or inside aero_sim_device_step), open on the
 * thread that starts the device.
 *
 * What you don't see here is done already: PCI, feature bits, queue addresses, doorbells, interrupts. When
 * echo is called, the chain has been walked and every address in it checked; when it returns, its answer goes
 * into the used ring and the driver is interrupted. So a device is three things: a function that serves a
 * chain, the bytes of its configuration, and the record at the end of this file that says who it is.
 *
 * To make a device of your own, copy this file, then
 *   1. give the record a name, a PCI device id (PCI-2) and a subsystem id (PCI-5),
 *   2. list your queues: a name, a size, and the function that serves each; 64 queues are the most (BAR-1),
 *   3. declare the record in devices.h and enter it in the list behind aero_sim_model_at.
 * A device that remembers things gets a block of state (state_bytes; zeroed, then handed to every function);
 * blk.c shows that, and a backend file. One that speaks unasked, as a network card does, leaves serve out and
 * takes chains when it has something to say: see event in aero_sim_model.h.
 */
#include "bytes.h"
#include "devices.h"

/* Device configuration: what the driver reads at BAR0 + 0x3000. */
enum {
    CONFIG_MAGIC = 0,   /* le32: "LOOP" */
    CONFIG_QUEUES = 4,  /* le32: how many queues there are */
    CONFIG_PATTERN = 8, /* le64: its bytes all differ, so a misplaced read shows (COM-21) */
    CONFIG_BYTES = 16
};
#define PATTERN 0xF0E0D0C0B0A09080u

#define QUEUE_COUNT 4

/* Called when the device starts, before the driver can see it. */
static enum aero_sim_status loopback_open(void *state, struct aero_sim_device *device,
                                          const struct aero_sim_backend *backend, char *error,
                                          size_t error_bytes)
{
    uint8_t config[CONFIG_BYTES];

    (void)state; /* it has none: state_bytes is 0 */
    (void)backend;
    (void)error;
    (void)error_bytes;
    sim_put_le32(config + CONFIG_MAGIC, 0x504F4F4Cu);
    sim_put_le32(config + CONFIG_QUEUES, QUEUE_COUNT);
    sim_put_le64(config + CONFIG_PATTERN, PATTERN);
    aero_sim_config_set(device, 0, config, sizeof config);
    return AERO_SIM_OK;
}

/*
 * Serves one chain and answers the used length: how many bytes it wrote. A chain is two runs of bytes, one to
 * read and one to write; how they are cut into segments is the driver's business and none of ours. The bytes
 * stay the driver's: it may point both runs at the same memory, or change them while we look. So each piece
 * is copied out once, and what was copied is what counts.
 */
static uint32_t loopback_echo(void *state, const struct aero_sim_chain *chain)
{
    uint8_t piece[1024];
    uint64_t done = 0;
    size_t got;

    (void)state;
    if (chain->writable_count == 0)
        return 0; /* nobody wants an answer: not a byte is touched */
    do {
        got = aero_sim_chain_read(chain, done, piece, sizeof piece);
        got = aero_sim_chain_write(chain, done, piece, got); /* short where the driver left less room */
        done += got;
    } while (got == sizeof piece);
    return (uint32_t)done;
}

static const struct aero_sim_queue_spec loopback_queues[QUEUE_COUNT] = {
    {.name = "echo0", .size = 256, .serve = loopback_echo},
    {.name = "echo1", .size = 256, .serve = loopback_echo},
    {.name = "echo2", .size = 256, .serve = loopback_echo},
    {.name = "echo3", .size = 256, .serve = loopback_echo},
};

const struct aero_sim_model sim_model_loopback = {
    .name = "loopback",
    .summary = "copies what a chain says into the room that it leaves",
    .pci_device_id = 0x107F, /* 0x1040 + 63, a virtio device id that nobody has */
    .subsystem_id = 0x003F,
    .class_code = 0x00FF00, /* unclassified */
    .config_bytes = CONFIG_BYTES,
    .queue_count = QUEUE_COUNT,
    .queues = loopback_queues,
    .open = loopback_open,
};

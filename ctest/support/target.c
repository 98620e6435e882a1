/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The target over aero_sim.h. The two callbacks run on any thread and only latch; all else runs on the
 * test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "temp_file.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_NS 20000000000ull

/* ---- Callbacks ---- */

static void on_intx(void *context, bool asserted)
{
    struct target *target = context;

    if (atomic_exchange_explicit(&target->line, asserted, memory_order_seq_cst) == asserted)
        atomic_fetch_add_explicit(&target->repeats, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&target->edges, 1, memory_order_relaxed);
    sim_os_wake_all(&target->line);
}

static void on_breach(void *context, const struct aero_sim_breach *breach)
{
    struct target *target = context;
    uint32_t count;

    sim_os_lock_acquire(&target->lock);
    count = atomic_load_explicit(&target->breach_count, memory_order_relaxed);
    if (count < TARGET_BREACHES_MAX)
        target->breaches[count] = *breach;
    atomic_store_explicit(&target->breach_count, count + 1, memory_order_release);
    sim_os_lock_release(&target->lock);
}

/* ---- Open and close ---- */

static void make_world(struct target *target, const struct target_options *options)
{
    const struct aero_sim_worker_options worker = {.spin_ns = options->spin_ns, .cpu = -1};
    struct ring_driver *driver = &target->driver;

    if (options->beside) {
        struct ring_driver *host = &options->beside->driver;
        uint64_t share =
            ring_driver_allocate(host, options->share_bytes ? options->share_bytes : 65536, 4096);

        assert_int_not_equal(share, 0);
        driver->memory = host->memory;
        driver->worker = host->worker;
        driver->allocated = share - RING_DRIVER_LOW_GPA;
        target->share_end = host->allocated;
        return;
    }
    assert_int_equal(aero_sim_memory_create(&driver->memory), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(driver->memory, RING_DRIVER_LOW_GPA, RING_DRIVER_LOW_BYTES, NULL),
                     AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(driver->memory, RING_DRIVER_NEXT_GPA, RING_DRIVER_NEXT_BYTES, NULL),
                     AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(driver->memory, RING_DRIVER_HIGH_GPA, RING_DRIVER_HIGH_BYTES, NULL),
                     AERO_SIM_OK);
    if (!options->stepped)
        assert_int_equal(aero_sim_worker_create(&worker, &driver->worker), AERO_SIM_OK);
}

static void configure(struct target *target, const struct target_options *options,
                      const struct aero_sim_model *model)
{
    struct aero_sim_device *device = target->driver.device;

    assert_int_equal(aero_sim_device_set_intx(device, on_intx, target), AERO_SIM_OK);
    /* A hint, so an address where nothing is must do no harm. */
    assert_int_equal(aero_sim_device_set_intx_line(device, (const void *)(uintptr_t)0x40), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_breach(device, on_breach, target), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_poll_mode(device, options->polled), AERO_SIM_OK);
    for (uint16_t i = 0; options->queue_size && i < model->queue_count; i++)
        assert_int_equal(aero_sim_device_set_queue_size(device, i, options->queue_size), AERO_SIM_OK);
    if (options->trace_events)
        assert_int_equal(aero_sim_device_set_trace(device, options->trace_events), AERO_SIM_OK);
    if (options->quirk)
        assert_int_equal(aero_sim_device_set_quirk(device, options->quirk, options->trigger), AERO_SIM_OK);
}

struct target *target_open(const struct target_options *options)
{
    const struct aero_sim_model *model = options->model ? options->model : aero_sim_model_find("loopback");
    struct target *target = calloc(1, sizeof *target);

    assert_non_null(target);
    make_world(target, options);
    assert_int_equal(
        aero_sim_device_create(model, target->driver.memory, target->driver.worker, &target->driver.device),
        AERO_SIM_OK);
    configure(target, options, model);
    assert_int_equal(aero_sim_device_start(target->driver.device), AERO_SIM_OK);
    if (!options->cold)
        target_pci_write(target, 0x04, 2, 0x0006);
    return target;
}

void target_close(struct target *target)
{
    struct target saw;

    aero_sim_device_destroy(target->driver.device);
    if (!target->share_end) {
        aero_sim_worker_destroy(target->driver.worker);
        aero_sim_memory_destroy(target->driver.memory);
    }
    saw = *target;
    free(target);
    assert_false(saw.share_end && saw.driver.allocated > saw.share_end);
    assert_int_equal(saw.repeats, 0);
    assert_int_equal(saw.line, 0);
    if (saw.breach_count > saw.breach_taken)
        fail_msg("a breach nobody took: %s: %s", saw.breaches[saw.breach_taken].clause,
                 saw.breaches[saw.breach_taken].what);
}

/* ---- The bus ---- */

uint32_t target_pci_read(struct target *target, uint32_t offset, uint32_t width)
{
    return aero_sim_pci_read(target->driver.device, offset, width);
}

void target_pci_write(struct target *target, uint32_t offset, uint32_t width, uint32_t value)
{
    aero_sim_pci_write(target->driver.device, offset, width, value);
}

uint64_t target_read(struct target *target, uint32_t offset, uint32_t width)
{
    return aero_sim_bar_read(target->driver.device, offset, width);
}

void target_write(struct target *target, uint32_t offset, uint32_t width, uint64_t value)
{
    aero_sim_bar_write(target->driver.device, offset, width, value);
}

void *target_at(struct target *target, uint64_t gpa, uint64_t bytes)
{
    void *at = aero_sim_memory_at(target->driver.memory, gpa, bytes);

    assert_non_null(at);
    return at;
}

/* ---- Waiting ---- */

uint64_t target_deadline(void)
{
    return sim_os_now_ns() + WAIT_NS;
}

bool target_wait(struct target *target, bool (*done)(void *context), void *context)
{
    uint64_t end = target_deadline();

    while (!done(context)) {
        if (!target->driver.worker) {
            if (!aero_sim_device_step(target->driver.device))
                return done(context);
        } else if (sim_os_now_ns() >= end) {
            return false;
        } else {
            sim_os_yield();
        }
    }
    return true;
}

static uint32_t line_of(struct target *target)
{
    return atomic_load_explicit(&target->line, memory_order_seq_cst);
}

bool target_wait_line(struct target *target, bool asserted)
{
    uint64_t end = target_deadline();

    while (line_of(target) != asserted) {
        if (!target->driver.worker) {
            if (!aero_sim_device_step(target->driver.device))
                return line_of(target) == asserted;
        } else if (sim_os_now_ns() >= end) {
            return false;
        } else {
            sim_os_wait(&target->line, !asserted, WAIT_NS);
        }
    }
    return true;
}

/* Bus master off waits until the device has left guest memory (PCI-14); on again, it looks at all queues. */
void target_settle(struct target *target)
{
    uint32_t command;

    if (!target->driver.worker) {
        while (aero_sim_device_step(target->driver.device))
            ;
        return;
    }
    command = target_pci_read(target, 0x04, 2);
    target_pci_write(target, 0x04, 2, command & ~0x0004u);
    target_pci_write(target, 0x04, 2, command);
}

void target_expect_no_interrupt(struct target *target, uint32_t edges)
{
    target_settle(target);
    assert_int_equal(line_of(target), 0);
    assert_false(aero_sim_device_intx_level(target->driver.device));
    assert_int_equal(target->edges, edges);
}

static bool breach_waits(void *context)
{
    struct target *target = context;

    return atomic_load_explicit(&target->breach_count, memory_order_acquire) > target->breach_taken;
}

struct aero_sim_breach target_take_breach(struct target *target, const char *clause)
{
    struct aero_sim_breach breach;

    if (!target_wait(target, breach_waits, target))
        fail_msg("no breach of %s came", clause);
    assert_in_range(target->breach_taken, 0, TARGET_BREACHES_MAX - 1);
    sim_os_lock_acquire(&target->lock);
    breach = target->breaches[target->breach_taken++];
    sim_os_lock_release(&target->lock);
    assert_string_equal(breach.clause, clause);
    assert_non_null(breach.what);
    return breach;
}

/* ---- A driver's usual ways ---- */

void target_negotiate(struct target *target, uint64_t features)
{
    assert_true(ring_driver_bring_up(&target->driver, features));
}

void target_ready(struct target *target)
{
    ring_driver_add_status(&target->driver, RING_DRIVER_DRIVER_OK);
    assert_int_equal(target_read(target, RING_DRIVER_STATUS, 1), 0x0F);
}

void target_bring_up(struct target *target, struct ring_driver_queue *queue, uint16_t index)
{
    target_negotiate(target, RING_DRIVER_ALL_FEATURES);
    assert_true(ring_driver_queue_create(queue, &target->driver, index));
    target_ready(target);
}

void target_echo(struct target *target, struct ring_driver_queue *queue, uint64_t from, uint64_t to,
                 uint32_t length)
{
    const struct ring_driver_buffer buffers[] = {{from, length, false}, {to, length, true}};
    struct aero_sim_counters counters;
    uint32_t used_length;
    int head;

    aero_sim_device_counters(target->driver.device, &counters);
    head = ring_driver_add(queue, buffers, 2);
    assert_int_not_equal(head, RING_DRIVER_FULL);
    ring_driver_kick(queue);
    if (!ring_driver_wait(queue, NULL, &used_length))
        fail_msg("queue %u answers nothing, %u chains before", queue->index, counters.chains);
    assert_int_equal(used_length, length);
}

void target_echo_small(struct target *target, struct ring_driver_queue *queue)
{
    uint64_t gpa = ring_driver_allocate(&target->driver, 48, 8);
    uint8_t *out = target_at(target, gpa, 48), *in = out + 24;

    for (uint8_t i = 0; i < 24; i++)
        out[i] = (uint8_t)(0xA0 + i + gpa / 48);
    target_echo(target, queue, gpa, gpa + 24, 24);
    assert_memory_equal(in, out, 24);
}

void target_desc(struct ring_driver_queue *queue, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags,
                 uint16_t next)
{
    queue->desc[index] = (struct ring_driver_desc){addr, len, flags, next};
}

void target_offer(struct ring_driver_queue *queue, uint16_t head)
{
    queue->avail[2 + (queue->avail_idx++ & (queue->size - 1))] = head;
}

/* ---- Text ---- */

static char scratch_path[TEMP_FILE_PATH_MAX];

FILE *target_scratch_open(void)
{
    FILE *stream;

    temp_file_path(scratch_path, "scratch");
    stream = fopen(scratch_path, "w+b");
    assert_non_null(stream);
    return stream;
}

void target_scratch_close(FILE *stream)
{
    fclose(stream);
    remove(scratch_path);
}

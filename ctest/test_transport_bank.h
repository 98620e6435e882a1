/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For test_transport_registers.c and _config.c: the transport's own source over a bank of registers that lies
 * as a test wishes, where the simulator's device can't. Include it once, in place of the transport's headers.
 * It keeps the contract by default, logs every access, and fails the test on an access of a wrong width
 * (BAR-6, quirk 45) or outside BAR0.
 */
#ifndef TEST_TRANSPORT_BANK_H
#define TEST_TRANSPORT_BANK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "aero_nt.h"

#include <ntddk.h>

static UCHAR bank_read8(const volatile UCHAR *address);
static USHORT bank_read16(const volatile USHORT *address);
static ULONG bank_read32(const volatile ULONG *address);
static void bank_write8(volatile UCHAR *address, UCHAR value);
static void bank_write16(volatile USHORT *address, USHORT value);
static void bank_write32(volatile ULONG *address, ULONG value);

/* The transport's accesses, and only those, go to the bank. Its object in the library stays unused. */
#define READ_REGISTER_UCHAR(address)          bank_read8(address)
#define READ_REGISTER_USHORT(address)         bank_read16(address)
#define READ_REGISTER_ULONG(address)          bank_read32(address)
#define WRITE_REGISTER_UCHAR(address, value)  bank_write8((address), (value))
#define WRITE_REGISTER_USHORT(address, value) bank_write16((address), (value))
#define WRITE_REGISTER_ULONG(address, value)  bank_write32((address), (value))
#include "../transport/src/aero_virtio_pci_modern.c"

enum {
    BANK_DEVICE_FEATURE_SELECT = 0x00,
    BANK_DEVICE_FEATURE = 0x04,
    BANK_DRIVER_FEATURE_SELECT = 0x08,
    BANK_DRIVER_FEATURE = 0x0C,
    BANK_NUM_QUEUES = 0x12,
    BANK_STATUS = 0x14,
    BANK_GENERATION = 0x15,
    BANK_QUEUE_SELECT = 0x16,
    BANK_QUEUE_SIZE = 0x18,
    BANK_QUEUE_ENABLE = 0x1C,
    BANK_QUEUE_NOTIFY_OFF = 0x1E,
    BANK_ADDRESSES = 0x20,
    BANK_ADDRESSES_END = 0x38,
    BANK_DOORBELLS = 0x1000,
    BANK_ISR = 0x2000,
    BANK_CONFIG = 0x3000,
    BANK_QUEUES = 3,
    BANK_LIES = 4
};

/* A register that reads as value, at its reads after the first `after`; times 0: at all of them. */
struct bank_lie {
    uint32_t offset;
    uint32_t value;
    uint32_t after, times;
    uint32_t seen;
    bool on;
};

static struct {
    uint8_t bar[AERO_VIRTIO_PCI_MODERN_BAR0_REQUIRED_SIZE]; /* its address only: never dereferenced */
    /* the device */
    uint8_t status, generation, isr;
    uint64_t offered, accepted;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t num_queues, queue_select;
    uint16_t size[BANK_QUEUES], notify_off[BANK_QUEUES], enable[BANK_QUEUES];
    uint32_t address[BANK_QUEUES][6];
    uint8_t config[256];
    uint16_t doorbell; /* the last one written */
    /* what it does wrong */
    struct bank_lie lies[BANK_LIES];
    uint32_t reset_reads; /* reads of device_status before a reset shows */
    uint32_t reset_reads_left;
    bool reset_stuck;
    bool refuse_features;
    bool posted_selectors;    /* a selector counts after the next read of the device (quirk 46) */
    int64_t pending_select;   /* offset << 32 | value, or -1 */
    uint8_t needs_reset_with; /* DEVICE_NEEDS_RESET comes up beside this bit; 0: never */
    uint32_t generations;     /* reads of config_generation that each find a new one */
    uint8_t *change;          /* bytes of configuration that then change too */
    uint32_t gone_at;         /* the access, counted from 1, that finds it gone; 0: it stays */
    /* what happened */
    uint32_t accesses;
    bool locked_always; /* every access was made at DISPATCH_LEVEL or above */
    char log[4096];
} bank;

static void bank_reset(void)
{
    bank.accepted = 0;
    bank.device_feature_select = bank.driver_feature_select = 0;
    bank.queue_select = 0;
    memset(bank.enable, 0, sizeof bank.enable);
    memset(bank.address, 0, sizeof bank.address);
}

/* An honest device with queues of 256, 64 and 1. */
static void bank_open(void)
{
    memset(&bank, 0, sizeof bank);
    bank.offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC | 0x10020;
    bank.num_queues = BANK_QUEUES;
    bank.size[0] = 256;
    bank.size[1] = 64;
    bank.size[2] = 1;
    for (uint16_t i = 0; i < BANK_QUEUES; i++)
        bank.notify_off[i] = i;
    for (uint32_t i = 0; i < sizeof bank.config; i++)
        bank.config[i] = (uint8_t)(i + 1);
    bank.pending_select = -1;
    bank.locked_always = true;
}

static inline void bank_lie_times(uint32_t offset, uint32_t value, uint32_t after, uint32_t times)
{
    for (uint32_t i = 0; i < BANK_LIES; i++) {
        if (!bank.lies[i].on) {
            bank.lies[i] = (struct bank_lie){offset, value, after, times, 0, true};
            return;
        }
    }
    fail_msg("too many lies");
}

static inline void bank_lie(uint32_t offset, uint32_t value)
{
    bank_lie_times(offset, value, 0, 0);
}

static bool bank_gone(void)
{
    return bank.gone_at && bank.accesses >= bank.gone_at;
}

static uint32_t bank_width(uint32_t offset)
{
    if (offset < 0x10 || (offset >= BANK_ADDRESSES && offset < BANK_ADDRESSES_END))
        return 4;
    if (offset == BANK_STATUS || offset == BANK_GENERATION || offset == BANK_ISR)
        return 1;
    return 2;
}

static uint32_t bank_offset(const volatile void *address, uint32_t width)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)bank.bar;

    assert_in_range(offset, 0, sizeof bank.bar - width);
    assert_int_equal(offset % width, 0);
    if (offset < BANK_CONFIG)
        assert_int_equal(width, bank_width((uint32_t)offset));
    else
        assert_in_range(offset + width, BANK_CONFIG + 1, BANK_CONFIG + sizeof bank.config);
    if (KeGetCurrentIrql() < DISPATCH_LEVEL)
        bank.locked_always = false;
    return (uint32_t)offset;
}

static void bank_log(const char *format, uint32_t offset, uint32_t value)
{
    size_t used = strlen(bank.log);

    snprintf(bank.log + used, sizeof bank.log - used, format, (unsigned)offset, (unsigned)value);
    bank.accesses++;
}

static uint16_t bank_queue(void)
{
    return bank.queue_select < bank.num_queues && bank.queue_select < BANK_QUEUES ? bank.queue_select
                                                                                  : BANK_QUEUES;
}

static void bank_select(uint32_t offset, uint32_t value)
{
    if (offset == BANK_DEVICE_FEATURE_SELECT)
        bank.device_feature_select = value;
    else if (offset == BANK_DRIVER_FEATURE_SELECT)
        bank.driver_feature_select = value;
    else
        bank.queue_select = (uint16_t)value;
}

static uint32_t bank_status_read(void)
{
    if (bank.reset_reads_left && --bank.reset_reads_left == 0)
        bank.status = 0;
    return bank.status;
}

static uint32_t bank_generation_read(void)
{
    if (bank.generations) {
        bank.generations--;
        bank.generation++;
        if (bank.change)
            ++*bank.change;
    }
    return bank.generation;
}

static uint32_t bank_honest(uint32_t offset)
{
    uint16_t queue = bank_queue();

    switch (offset) {
    case BANK_DEVICE_FEATURE_SELECT:
        return bank.device_feature_select;
    case BANK_DEVICE_FEATURE:
        return bank.device_feature_select < 2 ? (uint32_t)(bank.offered >> 32 * bank.device_feature_select)
                                              : 0;
    case BANK_DRIVER_FEATURE_SELECT:
        return bank.driver_feature_select;
    case BANK_NUM_QUEUES:
        return bank.num_queues;
    case BANK_STATUS:
        return bank_status_read();
    case BANK_GENERATION:
        return bank_generation_read();
    case BANK_QUEUE_SELECT:
        return bank.queue_select;
    case BANK_QUEUE_SIZE:
        return queue < BANK_QUEUES ? bank.size[queue] : 0;
    case BANK_QUEUE_ENABLE:
        return queue < BANK_QUEUES ? bank.enable[queue] : 0;
    case BANK_QUEUE_NOTIFY_OFF:
        return queue < BANK_QUEUES ? bank.notify_off[queue] : 0;
    case BANK_ISR:
        queue = bank.isr;
        bank.isr = 0;
        return queue;
    default:
        if (offset >= BANK_ADDRESSES && offset < BANK_ADDRESSES_END && queue < BANK_QUEUES)
            return bank.address[queue][(offset - BANK_ADDRESSES) / 4];
        return 0;
    }
}

static uint32_t bank_read(const volatile void *address, uint32_t width)
{
    uint32_t offset = bank_offset(address, width), value = 0;

    bank_log("r%02x ", offset, 0);
    if (bank_gone())
        return UINT32_MAX >> (32 - 8 * width);
    if (bank.pending_select >= 0 && (uint32_t)(bank.pending_select >> 32) == offset) {
        bank_select(offset, (uint32_t)bank.pending_select);
        bank.pending_select = -1;
    }
    if (offset >= BANK_CONFIG)
        memcpy(&value, bank.config + (offset - BANK_CONFIG), width);
    else
        value = bank_honest(offset);
    if (bank.pending_select >= 0) {
        bank_select((uint32_t)(bank.pending_select >> 32), (uint32_t)bank.pending_select);
        bank.pending_select = -1;
    }
    for (uint32_t i = 0; i < BANK_LIES; i++) {
        struct bank_lie *lie = &bank.lies[i];

        if (lie->on && lie->offset == offset && lie->seen++ >= lie->after &&
            (!lie->times || lie->seen - lie->after <= lie->times))
            value = lie->value;
    }
    return value;
}

static void bank_status_write(uint8_t value)
{
    if (value == 0) {
        if (bank.reset_stuck)
            return;
        bank_reset();
        bank.reset_reads_left = bank.status ? bank.reset_reads : 0;
        if (!bank.reset_reads_left)
            bank.status = 0;
        return;
    }
    if ((value & VIRTIO_STATUS_FEATURES_OK) && (bank.refuse_features || (bank.accepted & ~bank.offered)))
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    if (bank.needs_reset_with && (value & bank.needs_reset_with))
        value |= VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    bank.status = value;
}

static void bank_write(volatile void *address, uint32_t width, uint32_t value)
{
    uint32_t offset = bank_offset(address, width);
    uint16_t queue = bank_queue();
    uint32_t shift = 32 * bank.driver_feature_select;

    bank_log("w%02x=%x ", offset, value);
    if (bank_gone())
        return;
    if (offset == BANK_STATUS) {
        bank_status_write((uint8_t)value);
    } else if (offset == BANK_DEVICE_FEATURE_SELECT || offset == BANK_DRIVER_FEATURE_SELECT ||
               offset == BANK_QUEUE_SELECT) {
        if (bank.posted_selectors)
            bank.pending_select = (int64_t)offset << 32 | value;
        else
            bank_select(offset, value);
    } else if (offset == BANK_DRIVER_FEATURE) {
        if (shift <= 32)
            bank.accepted = (bank.accepted & ~((uint64_t)0xFFFFFFFF << shift)) | (uint64_t)value << shift;
    } else if (offset == BANK_QUEUE_ENABLE && queue < BANK_QUEUES) {
        bank.enable[queue] = (uint16_t)value;
    } else if (offset >= BANK_ADDRESSES && offset < BANK_ADDRESSES_END && queue < BANK_QUEUES) {
        bank.address[queue][(offset - BANK_ADDRESSES) / 4] = value;
    } else if (offset >= BANK_DOORBELLS && offset < BANK_DOORBELLS + 0x100) {
        bank.doorbell = (uint16_t)value;
    } else if (offset >= BANK_CONFIG) {
        memcpy(bank.config + (offset - BANK_CONFIG), &value, width);
    } else {
        fail_msg("register 0x%x isn't the driver's to write", (unsigned)offset);
    }
}

static UCHAR bank_read8(const volatile UCHAR *address)
{
    return (UCHAR)bank_read(address, 1);
}

static USHORT bank_read16(const volatile USHORT *address)
{
    return (USHORT)bank_read(address, 2);
}

static ULONG bank_read32(const volatile ULONG *address)
{
    return bank_read(address, 4);
}

static void bank_write8(volatile UCHAR *address, UCHAR value)
{
    bank_write(address, 1, value);
}

static void bank_write16(volatile USHORT *address, USHORT value)
{
    bank_write(address, 2, value);
}

static void bank_write32(volatile ULONG *address, ULONG value)
{
    bank_write(address, 4, value);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For test_split_ring*.c: a split ring in plain memory, and a device played by hand, which reads and writes
 * that memory as a device would and keeps no rule by itself. Both parts of the ring's memory lie between
 * guard bytes, which player_close checks. Fails the test by CMocka: on the test's thread only.
 */
#ifndef TEST_SPLIT_RING_PLAYER_H
#define TEST_SPLIT_RING_PLAYER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aero_virtio_shared.h"
#include "aero_virtio_split_ring.h"

#define PLAYER_PA          0x0000000740000000ull /* of the shared part: above 4 GiB, and no pointer */
#define PLAYER_GUARD_BYTES 4096u
#define PLAYER_GUARD       0xA5

struct player {
    AERO_VIRTIO_SPLIT_RING ring;
    AERO_VIRTIO_SPLIT_RING_LAYOUT layout;
    uint8_t *shared;   /* layout.SharedBytes, guards on both sides */
    uint8_t *private_; /* layout.PrivateBytes, likewise */
    uint16_t size;
    uint16_t avail_idx; /* what the device has taken */
    uint16_t used_idx;  /* what it has written, published or not */
};

struct player_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

static inline uint8_t *player_allocate(size_t bytes)
{
    size_t total = (bytes + 2 * PLAYER_GUARD_BYTES + 4095) & ~(size_t)4095;
    uint8_t *raw = malloc(total + 4096 + sizeof(void *));
    uint8_t *memory;

    assert_non_null(raw);
    memory = (uint8_t *)(((uintptr_t)raw + sizeof(void *) + 4095) & ~(uintptr_t)4095);
    ((void **)(void *)memory)[-1] = raw;
    memset(memory, PLAYER_GUARD, total);
    return memory + PLAYER_GUARD_BYTES;
}

static inline void player_release(uint8_t *memory, size_t bytes)
{
    for (size_t i = 1; i <= PLAYER_GUARD_BYTES; i++)
        assert_int_equal(memory[-(ptrdiff_t)i], PLAYER_GUARD);
    for (size_t i = 0; i < PLAYER_GUARD_BYTES; i++)
        assert_int_equal(memory[bytes + i], PLAYER_GUARD);
    free(((void **)(void *)(memory - PLAYER_GUARD_BYTES))[-1]);
}

static inline void player_open(struct player *p, uint16_t size, uint16_t indirect)
{
    memset(p, 0, sizeof *p);
    assert_int_equal(AeroVirtioSplitRingGetLayout(size, indirect, &p->layout), STATUS_SUCCESS);
    p->shared = player_allocate(p->layout.SharedBytes);
    p->private_ = player_allocate(p->layout.PrivateBytes);
    p->size = size;
    assert_int_equal(AeroVirtioSplitRingInit(&p->ring, size, indirect, p->shared, PLAYER_PA, p->private_),
                     STATUS_SUCCESS);
}

/* The same ring once more, as after a confirmed reset. */
static inline void player_reopen(struct player *p)
{
    assert_int_equal(AeroVirtioSplitRingInit(&p->ring, p->size, p->ring.IndirectEntries, p->shared, PLAYER_PA,
                                             p->private_),
                     STATUS_SUCCESS);
    p->avail_idx = p->used_idx = 0;
}

static inline void player_close(struct player *p)
{
    player_release(p->shared, p->layout.SharedBytes);
    player_release(p->private_, p->layout.PrivateBytes);
}

/* ---- The device ---- */

static inline USHORT *player_avail(const struct player *p, uint32_t index)
{
    return (USHORT *)(void *)(p->shared + p->layout.AvailOffset) + index;
}

static inline USHORT *player_used(const struct player *p, uint32_t index)
{
    return (USHORT *)(void *)(p->shared + p->layout.UsedOffset) + index;
}

static inline uint16_t player_avail_flags(const struct player *p)
{
    return AERO_VIRTIO_SHARED_READ16(player_avail(p, 0));
}

static inline uint16_t player_published(const struct player *p)
{
    return AERO_VIRTIO_SHARED_READ16_ACQUIRE(player_avail(p, 1));
}

static inline bool player_has(const struct player *p)
{
    return player_published(p) != p->avail_idx;
}

/* The next available head; there must be one, within the queue. */
static inline uint16_t player_take(struct player *p)
{
    uint16_t head;

    assert_true(player_has(p));
    head = AERO_VIRTIO_SHARED_READ16(player_avail(p, 2u + p->avail_idx % p->size));
    assert_in_range(head, 0, p->size - 1u);
    p->avail_idx++;
    return head;
}

static inline struct player_desc player_desc_at(const uint8_t *table, uint32_t index)
{
    ULONGLONG *words = (ULONGLONG *)(void *)table + 2 * (size_t)index;
    ULONGLONG rest = AERO_VIRTIO_SHARED_READ64(&words[1]);
    struct player_desc desc = {AERO_VIRTIO_SHARED_READ64(&words[0]), (uint32_t)rest, (uint16_t)(rest >> 32),
                               (uint16_t)(rest >> 48)};

    return desc;
}

static inline struct player_desc player_desc(const struct player *p, uint32_t index)
{
    return player_desc_at(p->shared + p->layout.DescOffset, index);
}

/* The indirect table that a descriptor names; it must lie within the tables. */
static inline const uint8_t *player_table(const struct player *p, struct player_desc desc)
{
    assert_true(desc.addr >= PLAYER_PA + p->layout.IndirectOffset);
    assert_true(desc.addr + desc.len <= PLAYER_PA + p->layout.SharedBytes);
    return p->shared + (desc.addr - PLAYER_PA);
}

/* Writes a used element, any id and length; the driver sees it at player_publish. */
static inline void player_put(struct player *p, uint32_t id, uint32_t length)
{
    ULONGLONG *elements = (ULONGLONG *)(void *)(p->shared + p->layout.UsedOffset + 4);

    AERO_VIRTIO_SHARED_WRITE64(&elements[p->used_idx % p->size], id | (uint64_t)length << 32);
    p->used_idx++;
}

static inline void player_set_index(struct player *p, uint16_t index)
{
    AERO_VIRTIO_SHARED_WRITE16_RELEASE(player_used(p, 1), index);
}

static inline void player_publish(struct player *p)
{
    player_set_index(p, p->used_idx);
}

/* Takes, completes and publishes everything that is available, with length 0. */
static inline void player_serve(struct player *p)
{
    while (player_has(p))
        player_put(p, player_take(p), 0);
    player_publish(p);
}

/* ---- The driver ---- */

static inline void *player_cookie(uintptr_t value)
{
    return (void *)value;
}

static inline NTSTATUS player_add(struct player *p, uint32_t length, bool writable, uintptr_t cookie)
{
    AERO_VIRTIO_SEGMENT segment = {0x10000u + cookie * 0x1000u, length, 0};

    return AeroVirtioSplitRingAdd(&p->ring, &segment, !writable, writable, player_cookie(cookie));
}

/* A writable buffer of 64 bytes, added and published. */
static inline void player_send(struct player *p, uintptr_t cookie)
{
    assert_int_equal(player_add(p, 64, true, cookie), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&p->ring);
}

static inline void player_expect(struct player *p, uintptr_t cookie, uint32_t length)
{
    void *got = NULL;
    ULONG got_length = 0;

    assert_int_equal(AeroVirtioSplitRingReap(&p->ring, &got, &got_length), STATUS_SUCCESS);
    assert_ptr_equal(got, player_cookie(cookie));
    assert_int_equal(got_length, length);
}

static inline void player_expect_status(struct player *p, NTSTATUS status)
{
    void *cookie = &cookie;
    ULONG length = 77;

    assert_int_equal(AeroVirtioSplitRingReap(&p->ring, &cookie, &length), status);
    assert_null(cookie);
    assert_int_equal(length, 0);
}

/* Free and in-flight descriptors make up the queue. */
static inline void player_expect_free(const struct player *p, uint32_t free_count, uint32_t in_flight_chains)
{
    assert_int_equal(AeroVirtioSplitRingFreeCount(&p->ring), free_count);
    assert_int_equal(AeroVirtioSplitRingInFlightCount(&p->ring), in_flight_chains);
}

#endif

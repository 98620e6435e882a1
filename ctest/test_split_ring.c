/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's split ring beside a device that keeps the rules: memory, chains, publishing, completions,
 * interrupts.
 */
#include "test_program.h"
#include "test_split_ring_player.h"

static struct player player;

static int open_queue(uint16_t size, uint16_t indirect)
{
    player_open(&player, size, indirect);
    return 0;
}

static int open_1(void **state)
{
    return open_queue(1, 0);
}

static int open_4(void **state)
{
    return open_queue(4, 0);
}

static int open_8_indirect(void **state)
{
    return open_queue(8, 4);
}

static int close_queue(void **state)
{
    player_close(&player);
    return 0;
}

/* ---- Memory ---- */

static void rng_2_layout_of_every_size_has_room_and_alignment(void **state)
{
    AERO_VIRTIO_SPLIT_RING_LAYOUT layout;

    for (uint32_t size = 1; size <= AERO_VIRTIO_SPLIT_RING_SIZE_MAX; size *= 2) {
        assert_int_equal(AeroVirtioSplitRingGetLayout((USHORT)size, 0, &layout), STATUS_SUCCESS);
        assert_int_equal(layout.DescOffset % 16, 0);
        assert_int_equal(layout.AvailOffset % 64, 60);
        assert_int_equal(layout.UsedOffset % 64, 60);
        assert_true(layout.DescOffset + 16 * size <= layout.AvailOffset);
        assert_true(layout.AvailOffset + 4 + 2 * size <= layout.UsedOffset);
        assert_true(layout.UsedOffset + 4 + 8 * size <= layout.SharedBytes);
        assert_int_equal(layout.SharedBytes % 64, 0);
        assert_int_equal(layout.PrivateBytes % 64, 0);
        assert_int_equal(layout.IndirectOffset, 0);
    }
}

static void test_layout_with_indirect_tables_has_one_for_each_head(void **state)
{
    AERO_VIRTIO_SPLIT_RING_LAYOUT layout;

    assert_int_equal(AeroVirtioSplitRingGetLayout(128, 66, &layout), STATUS_SUCCESS);
    assert_int_equal(layout.IndirectOffset % 16, 0);
    assert_true(layout.UsedOffset + 4 + 8 * 128 <= layout.IndirectOffset);
    assert_true(layout.IndirectOffset + 16 * 128 * 66 <= layout.SharedBytes);
}

static void test_layout_of_impossible_numbers_is_refused_and_cleared(void **state)
{
    static const struct {
        USHORT size, indirect;
    } bad[] = {{0, 0}, {3, 0},      {100, 0},       {0x8001, 0},  {0xFFFF, 0},
               {8, 9}, {8, 0xFFFF}, {32768, 32768}, {32768, 2048}};
    AERO_VIRTIO_SPLIT_RING_LAYOUT layout, zero;

    memset(&zero, 0, sizeof zero);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&layout, 0xEE, sizeof layout);
        assert_int_equal(AeroVirtioSplitRingGetLayout(bad[i].size, bad[i].indirect, &layout),
                         STATUS_INVALID_PARAMETER);
        assert_memory_equal(&layout, &zero, sizeof layout);
    }
    assert_int_equal(AeroVirtioSplitRingGetLayout(8, 0, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioSplitRingGetLayout(32768, 2047, &layout), STATUS_SUCCESS);
}

static void test_init_with_bad_arguments_is_refused_and_leaves_a_dead_ring(void **state)
{
    AERO_VIRTIO_SPLIT_RING ring, zero;
    AERO_VIRTIO_SEGMENT segment = {0x1000, 1, 0};
    uint8_t *s = player.shared, *d = player.private_;
    void *cookie;
    ULONG length;

    memset(&zero, 0, sizeof zero);
#define REFUSED(call)                                       \
    do {                                                    \
        memset(&ring, 0xEE, sizeof ring);                   \
        assert_int_equal((call), STATUS_INVALID_PARAMETER); \
        assert_memory_equal(&ring, &zero, sizeof ring);     \
    } while (0)
    assert_int_equal(AeroVirtioSplitRingInit(NULL, 4, 0, s, PLAYER_PA, d), STATUS_INVALID_PARAMETER);
    REFUSED(AeroVirtioSplitRingInit(&ring, 0, 0, s, PLAYER_PA, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 3, 0, s, PLAYER_PA, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 5, s, PLAYER_PA, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, NULL, PLAYER_PA, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s, 0, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s, PLAYER_PA, NULL));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s + 32, PLAYER_PA, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s, PLAYER_PA + 32, d));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s, PLAYER_PA, d + 4));
    REFUSED(AeroVirtioSplitRingInit(&ring, 4, 0, s, UINT64_MAX - 63, d));
#undef REFUSED
    assert_int_equal(AeroVirtioSplitRingAdd(&ring, &segment, 1, 0, NULL), STATUS_DEVICE_NOT_READY);
    assert_int_equal(AeroVirtioSplitRingReap(&ring, &cookie, &length), STATUS_DEVICE_NOT_READY);
    AeroVirtioSplitRingPublish(&ring);
    AeroVirtioSplitRingSuppressInterrupts(&ring);
    assert_false(AeroVirtioSplitRingRearmInterrupts(&ring));
    assert_false(AeroVirtioSplitRingNeedsKick(&ring));
    assert_false(AeroVirtioSplitRingTakeBack(&ring, &cookie));
    assert_int_equal(AeroVirtioSplitRingFreeCount(&ring), 0);
    assert_false(AeroVirtioSplitRingIsPoisoned(&ring));
}

static void test_init_at_the_end_of_the_address_space_is_taken(void **state)
{
    AERO_VIRTIO_SPLIT_RING ring;

    assert_int_equal(AeroVirtioSplitRingInit(&ring, 4, 0, player.shared,
                                             UINT64_MAX - player.layout.SharedBytes + 1, player.private_),
                     STATUS_SUCCESS);
}

static void test_init_zeroes_what_the_device_sees(void **state)
{
    for (uint32_t i = 0; i < player.layout.SharedBytes; i++)
        assert_int_equal(player.shared[i], 0);
    assert_true(player.ring.DescPa == PLAYER_PA + player.layout.DescOffset);
    assert_true(player.ring.AvailPa == PLAYER_PA + player.layout.AvailOffset);
    assert_true(player.ring.UsedPa == PLAYER_PA + player.layout.UsedOffset);
    player_expect_free(&player, 4, 0);
    player_expect_status(&player, STATUS_NO_MORE_ENTRIES);
}

static void test_functions_without_a_ring_are_harmless(void **state)
{
    AERO_VIRTIO_SEGMENT segment = {0x1000, 1, 0};
    AERO_VIRTIO_COMPLETION completion;
    NTSTATUS status = STATUS_SUCCESS;
    void *cookie = &cookie;
    ULONG length = 5;

    assert_int_equal(AeroVirtioSplitRingAdd(NULL, &segment, 1, 0, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, NULL, 1, 0, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioSplitRingReap(NULL, &cookie, &length), STATUS_INVALID_PARAMETER);
    assert_null(cookie);
    assert_int_equal(length, 0);
    cookie = &cookie;
    assert_int_equal(AeroVirtioSplitRingReap(&player.ring, &cookie, NULL), STATUS_INVALID_PARAMETER);
    assert_null(cookie);
    assert_int_equal(AeroVirtioSplitRingReap(&player.ring, NULL, &length), STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioSplitRingReapMany(NULL, &completion, 1, &status), 0);
    assert_int_equal(status, STATUS_INVALID_PARAMETER);
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, NULL, 1, &status), 0);
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, &completion, 1, NULL), 0);
    status = STATUS_SUCCESS;
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, &completion, 0, &status), 0);
    assert_int_equal(status, STATUS_INVALID_PARAMETER);
    AeroVirtioSplitRingPublish(NULL);
    AeroVirtioSplitRingSuppressInterrupts(NULL);
    assert_false(AeroVirtioSplitRingRearmInterrupts(NULL));
    assert_false(AeroVirtioSplitRingNeedsKick(NULL));
    cookie = &cookie;
    assert_false(AeroVirtioSplitRingTakeBack(NULL, &cookie));
    assert_null(cookie);
    assert_false(AeroVirtioSplitRingTakeBack(&player.ring, NULL));
    assert_int_equal(AeroVirtioSplitRingFreeCount(NULL), 0);
    assert_int_equal(AeroVirtioSplitRingInFlightCount(NULL), 0);
    assert_false(AeroVirtioSplitRingIsPoisoned(NULL));
    /* None of that touched the ring that was named. */
    player_send(&player, 1);
}

/* ---- Adding and publishing ---- */

static void rng_1_single_buffer_is_one_descriptor(void **state)
{
    struct player_desc desc;
    uint16_t head;

    assert_int_equal(player_add(&player, 13, false, 1), STATUS_SUCCESS);
    assert_int_equal(player_add(&player, 14, true, 2), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    head = player_take(&player);
    desc = player_desc(&player, head);
    assert_true(desc.addr == 0x11000 && desc.len == 13 && desc.flags == 0 && desc.next == 0);
    head = player_take(&player);
    desc = player_desc(&player, head);
    assert_true(desc.addr == 0x12000 && desc.len == 14 && desc.flags == AERO_VIRTIO_DESC_WRITE &&
                desc.next == 0);
    assert_false(player_has(&player));
    player_expect_free(&player, 2, 2);
}

static void rng_8_chain_is_linked_readable_before_writable(void **state)
{
    const AERO_VIRTIO_SEGMENT segments[] = {{0x1000, 16, 0}, {0xFFFFFFFFFFFFFFFFu, 1, 0}, {0x3000, 1, 0}};
    struct player_desc desc;

    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 1, 2, player_cookie(7)), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_expect_free(&player, 1, 1);
    desc = player_desc(&player, player_take(&player));
    assert_true(desc.addr == 0x1000 && desc.len == 16 && desc.flags == AERO_VIRTIO_DESC_NEXT);
    desc = player_desc(&player, desc.next);
    assert_true(desc.addr == UINT64_MAX && desc.len == 1);
    assert_int_equal(desc.flags, AERO_VIRTIO_DESC_NEXT | AERO_VIRTIO_DESC_WRITE);
    desc = player_desc(&player, desc.next);
    assert_true(desc.addr == 0x3000 && desc.flags == AERO_VIRTIO_DESC_WRITE && desc.next == 0);
    player_put(&player, 0, 2);
    player_publish(&player);
    player_expect(&player, 7, 2);
    player_expect_free(&player, 4, 0);
}

/* Quirk 58. */
static void test_add_drops_empty_segments_before_counting(void **state)
{
    AERO_VIRTIO_SEGMENT segments[12];
    struct player_desc desc;

    memset(segments, 0, sizeof segments);
    segments[3] = (AERO_VIRTIO_SEGMENT){0x1000, 5, 0};
    segments[10] = (AERO_VIRTIO_SEGMENT){0x2000, 6, 0};
    segments[11].Address = UINT64_MAX;
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 6, 6, NULL), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_expect_free(&player, 2, 1);
    desc = player_desc(&player, player_take(&player));
    assert_true(desc.addr == 0x1000 && desc.len == 5 && desc.flags == AERO_VIRTIO_DESC_NEXT);
    desc = player_desc(&player, desc.next);
    assert_true(desc.addr == 0x2000 && desc.len == 6 && desc.flags == AERO_VIRTIO_DESC_WRITE);
}

static void test_add_of_impossible_chains_changes_nothing(void **state)
{
    const AERO_VIRTIO_SEGMENT empty[3] = {{0x1000, 0, 0}};
    const AERO_VIRTIO_SEGMENT wraps = {0xFFFFFFFFFFFFFFFFu, 2, 0};
    const AERO_VIRTIO_SEGMENT wraps_behind[2] = {{0x1000, 1, 0}, {0xFFFFFFFFFFFFF001u, 0x1000, 0}};
    const AERO_VIRTIO_SEGMENT many[5] = {{1, 1, 0}, {2, 1, 0}, {3, 1, 0}, {4, 1, 0}, {5, 1, 0}};
    const AERO_VIRTIO_SEGMENT large[2] = {{0x1000, 0xFFFFFFFFu, 0}, {0x200000000u, 2, 0}};
    uint8_t *before = malloc(player.layout.SharedBytes);

    assert_non_null(before);
    memcpy(before, player.shared, player.layout.SharedBytes);
#define REFUSED(segments, readable, writable)                                                  \
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, readable, writable, NULL), \
                     STATUS_INVALID_PARAMETER)
    REFUSED(many, 0, 0);
    REFUSED((const AERO_VIRTIO_SEGMENT *)(ULONG_PTR)16, 0, 0); /* no segment is looked at */
    REFUSED(empty, 1, 0);
    REFUSED(empty, 1, 2);
    REFUSED(&wraps, 1, 0);
    REFUSED(&wraps, 0, 1);
    REFUSED(wraps_behind, 1, 1);
    REFUSED(many, 5, 0);
    REFUSED(many, 2, 3);
    REFUSED(large, 1, 1);
    REFUSED(large, 0, 2);
#undef REFUSED
    AeroVirtioSplitRingPublish(&player.ring);
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_memory_equal(before, player.shared, player.layout.SharedBytes);
    player_expect_free(&player, 4, 0);
    free(before);
}

static void test_add_of_4_gib_in_all_is_taken_and_completes_in_full(void **state)
{
    const AERO_VIRTIO_SEGMENT large[2] = {{0x1000, 0xFFFFFFFFu, 0}, {0x200000000u, 1, 0}};

    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, large, 0, 2, player_cookie(1)), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_put(&player, player_take(&player), 0xFFFFFFFFu);
    player_publish(&player);
    player_expect(&player, 1, 0xFFFFFFFFu);
}

/* Quirk 19: full and broken are different answers, and the refused request leaves nothing behind. */
static void test_add_to_full_ring_changes_nothing_and_works_after_one_completion(void **state)
{
    const AERO_VIRTIO_SEGMENT two[2] = {{0x1000, 1, 0}, {0x2000, 1, 0}};

    for (uintptr_t i = 0; i < 3; i++)
        player_send(&player, i);
    assert_true(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, two, 2, 0, NULL), STATUS_INSUFFICIENT_RESOURCES);
    player_expect_free(&player, 1, 3);
    player_send(&player, 3);
    assert_true(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_int_equal(player_add(&player, 1, true, 4), STATUS_INSUFFICIENT_RESOURCES);
    AeroVirtioSplitRingPublish(&player.ring);
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_int_equal(player_published(&player), 4);
    player_expect_free(&player, 0, 4);
    player_put(&player, player_take(&player), 0);
    player_publish(&player);
    player_expect(&player, 0, 0);
    assert_int_equal(player_add(&player, 1, true, 4), STATUS_SUCCESS);
}

static void rng_10_added_chains_are_invisible_before_publish_and_then_all_there(void **state)
{
    for (uintptr_t i = 0; i < 4; i++) {
        assert_int_equal(player_add(&player, 1, true, i), STATUS_SUCCESS);
        assert_int_equal(player_published(&player), 0);
    }
    AeroVirtioSplitRingPublish(&player.ring);
    assert_int_equal(player_published(&player), 4);
}

static void ntf_5_each_publish_that_moved_the_index_asks_for_one_kick(void **state)
{
    AERO_VIRTIO_SHARED_WRITE16(player_used(&player, 0), 1); /* the device's NO_NOTIFY (quirk 56) */
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    AeroVirtioSplitRingPublish(&player.ring);
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_int_equal(player_add(&player, 1, true, 0), STATUS_SUCCESS);
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    AeroVirtioSplitRingPublish(&player.ring);
    assert_true(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    AeroVirtioSplitRingPublish(&player.ring);
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
}

/* ---- Descriptors ---- */

static void test_recycled_descriptors_are_taken_before_fresh_ones(void **state)
{
    for (uintptr_t i = 0; i < 9; i++) { /* one in flight: always the same */
        player_send(&player, i);
        assert_int_equal(player_take(&player), 0);
        player_put(&player, 0, 0);
        player_publish(&player);
        player_expect(&player, i, 0);
        player_expect_free(&player, 4, 0);
    }
    player_send(&player, 10);
    player_send(&player, 11);
    player_expect_free(&player, 2, 2);
    assert_int_equal(player_take(&player), 0);
    assert_int_equal(player_take(&player), 1);
    player_put(&player, 1, 0);
    player_put(&player, 0, 0);
    player_publish(&player);
    player_expect(&player, 11, 0);
    player_expect(&player, 10, 0);
    player_send(&player, 12); /* 1 came back first */
    assert_int_equal(player_take(&player), 1);
    player_send(&player, 13);
    assert_int_equal(player_take(&player), 0);
    player_send(&player, 14);
    assert_int_equal(player_take(&player), 2);
}

/*
 * A descriptor that says already what it should isn't written; one that a device spoiled is, whatever it
 * says.
 */
static void test_add_mends_each_word_that_a_device_wrote_in_a_free_descriptor(void **state)
{
    ULONGLONG *words = (ULONGLONG *)(void *)(player.shared + player.layout.DescOffset);
    const ULONGLONG spoiled[][2] = {{0x11001, 13},
                                    {0x11000, 14},
                                    {0x11000, (ULONGLONG)13 | (ULONGLONG)AERO_VIRTIO_DESC_NEXT << 32},
                                    {0x11000, (ULONGLONG)13 | (ULONGLONG)3 << 48},
                                    {~(ULONGLONG)0, ~(ULONGLONG)0},
                                    {0x11000, 13}};

    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
        struct player_desc desc;

        AERO_VIRTIO_SHARED_WRITE64(&words[0], spoiled[i][0]);
        AERO_VIRTIO_SHARED_WRITE64(&words[1], spoiled[i][1]);
        assert_int_equal(player_add(&player, 13, false, 1), STATUS_SUCCESS);
        AeroVirtioSplitRingPublish(&player.ring);
        assert_int_equal(player_take(&player), 0);
        desc = player_desc(&player, 0);
        assert_true(desc.addr == 0x11000 && desc.len == 13 && desc.flags == 0 && desc.next == 0);
        player_put(&player, 0, 0);
        player_publish(&player);
        player_expect(&player, 1, 0);
    }
}

/* ---- Indirect ---- */

static void rng_6_chain_that_fits_goes_into_the_heads_own_table(void **state)
{
    const AERO_VIRTIO_SEGMENT segments[] = {{0x1000, 16, 0}, {0, 0, 0}, {0x2000, 512, 0}, {0x3000, 1, 0}};
    struct player_desc head, desc;
    const uint8_t *table;

    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 2, 2, player_cookie(i)),
                         STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_expect_free(&player, 0, 8);
    for (uintptr_t i = 0; i < 8; i++) {
        uint16_t id = player_take(&player);

        head = player_desc(&player, id);
        assert_int_equal(head.flags, AERO_VIRTIO_DESC_INDIRECT); /* RNG-7: and nothing else */
        assert_int_equal(head.next, 0);
        assert_int_equal(head.len, 3 * 16);
        assert_true(head.addr == PLAYER_PA + player.layout.IndirectOffset + id * 4u * 16u);
        table = player_table(&player, head);
        desc = player_desc_at(table, 0);
        assert_true(desc.addr == 0x1000 && desc.len == 16 && desc.flags == AERO_VIRTIO_DESC_NEXT &&
                    desc.next == 1);
        desc = player_desc_at(table, 1);
        assert_true(desc.addr == 0x2000 && desc.len == 512 && desc.next == 2);
        assert_int_equal(desc.flags, AERO_VIRTIO_DESC_NEXT | AERO_VIRTIO_DESC_WRITE);
        desc = player_desc_at(table, 2);
        assert_true(desc.addr == 0x3000 && desc.flags == AERO_VIRTIO_DESC_WRITE && desc.next == 0);
        player_put(&player, id, 513);
    }
    player_publish(&player);
    for (uintptr_t i = 0; i < 8; i++)
        player_expect(&player, i, 513);
    player_expect_free(&player, 8, 0);
}

static void rng_7_single_and_too_long_chains_stay_direct(void **state)
{
    const AERO_VIRTIO_SEGMENT five[5] = {{1, 1, 0}, {2, 1, 0}, {3, 1, 0}, {4, 1, 0}, {5, 1, 0}};
    struct player_desc desc;

    player_send(&player, 1);
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, five, 5, 0, player_cookie(2)), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_expect_free(&player, 2, 2);
    assert_int_equal(player_desc(&player, player_take(&player)).flags, AERO_VIRTIO_DESC_WRITE);
    desc = player_desc(&player, player_take(&player));
    for (unsigned i = 1; i <= 5; i++) {
        assert_true(desc.addr == i && desc.flags == (i < 5 ? AERO_VIRTIO_DESC_NEXT : 0));
        desc = player_desc(&player, desc.next);
    }
}

/* ---- Completions ---- */

static void rng_12_completions_out_of_order_bring_each_its_own_cookie(void **state)
{
    uint16_t heads[4];

    for (uintptr_t i = 0; i < 4; i++)
        player_send(&player, 100 + i);
    for (unsigned i = 0; i < 4; i++)
        heads[i] = player_take(&player);
    player_put(&player, heads[2], 2);
    player_put(&player, heads[0], 0);
    player_publish(&player);
    player_expect(&player, 102, 2);
    player_send(&player, 200);
    player_expect(&player, 100, 0);
    player_expect_status(&player, STATUS_NO_MORE_ENTRIES);
    player_expect_free(&player, 1, 3);
    player_put(&player, player_take(&player), 64);
    player_put(&player, heads[3], 3);
    player_put(&player, heads[1], 1);
    player_publish(&player);
    player_expect(&player, 200, 64);
    player_expect(&player, 103, 3);
    player_expect(&player, 101, 1);
    player_expect_free(&player, 4, 0);
}

static void test_reap_many_of_exactly_the_queue_says_more_may_come(void **state)
{
    AERO_VIRTIO_COMPLETION done[8];
    NTSTATUS status;

    for (uintptr_t i = 0; i < 4; i++)
        player_send(&player, i);
    player_serve(&player);
    memset(done, 0xEE, sizeof done);
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, done, 3, &status), 3);
    assert_int_equal(status, STATUS_SUCCESS);
    assert_int_equal(done[3].Length, 0xEEEEEEEEu);
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, done + 3, 5, &status), 1);
    assert_int_equal(status, STATUS_NO_MORE_ENTRIES);
    for (uintptr_t i = 0; i < 4; i++)
        assert_ptr_equal(done[i].Cookie, player_cookie(i));
    assert_int_equal(done[4].Length, 0xEEEEEEEEu);
}

static void test_indices_wrap_at_65536_with_batches_of_exactly_the_queue(void **state)
{
    for (uint32_t round = 0; round < 2 * 65536 / 4 + 3; round++) {
        for (uintptr_t i = 0; i < 4; i++)
            assert_int_equal(player_add(&player, 8, true, round * 4 + i), STATUS_SUCCESS);
        AeroVirtioSplitRingPublish(&player.ring);
        player_serve(&player);
        for (uintptr_t i = 0; i < 4; i++)
            player_expect(&player, round * 4 + i, 0);
        player_expect_free(&player, 4, 0);
    }
    assert_false(AeroVirtioSplitRingIsPoisoned(&player.ring));
}

static void test_queue_of_one_goes_round_past_65536(void **state)
{
    for (uint32_t round = 0; round < 65536 + 5; round++) {
        player_send(&player, round);
        player_expect_free(&player, 0, 1);
        assert_int_equal(player_add(&player, 8, true, 0), STATUS_INSUFFICIENT_RESOURCES);
        player_put(&player, player_take(&player), 1);
        player_publish(&player);
        player_expect(&player, round, 1);
    }
}

/*
 * A chain that stays in flight while the avail index goes once round: its position comes again, on
 * another head.
 */
static void test_chain_older_than_65536_chains_completes(void **state)
{
    uint16_t old;

    player_send(&player, 4711);
    old = player_take(&player);
    for (uint32_t i = 1; i < 65536; i++) {
        player_send(&player, i);
        player_serve(&player);
        player_expect(&player, i, 0);
    }
    assert_int_equal(player_add(&player, 8, true, 99),
                     STATUS_SUCCESS); /* at the old one's index; not published */
    player_put(&player, old, 5);
    player_publish(&player);
    player_expect(&player, 4711, 5);
    assert_false(AeroVirtioSplitRingIsPoisoned(&player.ring));
}

/* ---- Interrupts ---- */

static void int_5_suppressing_and_rearming_write_avail_flags(void **state)
{
    assert_int_equal(player_avail_flags(&player), 0);
    AeroVirtioSplitRingSuppressInterrupts(&player.ring);
    assert_int_equal(player_avail_flags(&player), AERO_VIRTIO_AVAIL_NO_INTERRUPT);
    player_send(&player, 1);
    assert_int_equal(player_avail_flags(&player), AERO_VIRTIO_AVAIL_NO_INTERRUPT);
    assert_false(AeroVirtioSplitRingRearmInterrupts(&player.ring));
    assert_int_equal(player_avail_flags(&player), 0);
}

/* Quirk 10: what was published just before the flag went down brings no interrupt, and must be seen. */
static void test_rearm_that_raced_with_a_completion_says_so_until_it_is_reaped(void **state)
{
    player_send(&player, 1);
    player_send(&player, 2);
    AeroVirtioSplitRingSuppressInterrupts(&player.ring);
    player_expect_status(&player, STATUS_NO_MORE_ENTRIES);
    player_serve(&player);
    assert_true(AeroVirtioSplitRingRearmInterrupts(&player.ring));
    player_expect(&player, 1, 0);
    assert_true(AeroVirtioSplitRingRearmInterrupts(&player.ring));
    player_expect(&player, 2, 0);
    assert_false(AeroVirtioSplitRingRearmInterrupts(&player.ring));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_2_layout_of_every_size_has_room_and_alignment),
        cmocka_unit_test(test_layout_with_indirect_tables_has_one_for_each_head),
        cmocka_unit_test(test_layout_of_impossible_numbers_is_refused_and_cleared),
        cmocka_unit_test_setup_teardown(test_init_with_bad_arguments_is_refused_and_leaves_a_dead_ring,
                                        open_4, close_queue),
        cmocka_unit_test_setup_teardown(test_init_at_the_end_of_the_address_space_is_taken, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_init_zeroes_what_the_device_sees, open_4, close_queue),
        cmocka_unit_test_setup_teardown(test_functions_without_a_ring_are_harmless, open_4, close_queue),
        cmocka_unit_test_setup_teardown(rng_1_single_buffer_is_one_descriptor, open_4, close_queue),
        cmocka_unit_test_setup_teardown(rng_8_chain_is_linked_readable_before_writable, open_4, close_queue),
        cmocka_unit_test_setup_teardown(test_add_drops_empty_segments_before_counting, open_4, close_queue),
        cmocka_unit_test_setup_teardown(test_add_of_impossible_chains_changes_nothing, open_4, close_queue),
        cmocka_unit_test_setup_teardown(test_add_of_4_gib_in_all_is_taken_and_completes_in_full, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_add_to_full_ring_changes_nothing_and_works_after_one_completion,
                                        open_4, close_queue),
        cmocka_unit_test_setup_teardown(rng_10_added_chains_are_invisible_before_publish_and_then_all_there,
                                        open_4, close_queue),
        cmocka_unit_test_setup_teardown(ntf_5_each_publish_that_moved_the_index_asks_for_one_kick, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_recycled_descriptors_are_taken_before_fresh_ones, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_add_mends_each_word_that_a_device_wrote_in_a_free_descriptor,
                                        open_4, close_queue),
        cmocka_unit_test_setup_teardown(rng_6_chain_that_fits_goes_into_the_heads_own_table, open_8_indirect,
                                        close_queue),
        cmocka_unit_test_setup_teardown(rng_7_single_and_too_long_chains_stay_direct, open_8_indirect,
                                        close_queue),
        cmocka_unit_test_setup_teardown(rng_12_completions_out_of_order_bring_each_its_own_cookie, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_reap_many_of_exactly_the_queue_says_more_may_come, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_indices_wrap_at_65536_with_batches_of_exactly_the_queue, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_queue_of_one_goes_round_past_65536, open_1, close_queue),
        cmocka_unit_test_setup_teardown(test_chain_older_than_65536_chains_completes, open_4, close_queue),
        cmocka_unit_test_setup_teardown(int_5_suppressing_and_rearming_write_avail_flags, open_4,
                                        close_queue),
        cmocka_unit_test_setup_teardown(test_rearm_that_raced_with_a_completion_says_so_until_it_is_reaped,
                                        open_4, close_queue),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("split_ring", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's split ring beside a device that lies (RNG-11; quirks 3, 4, 5, 7, 12, 13, 22, 29, 32): each lie
 * poisons the ring with its reason, no cookie comes out twice, and taking back finds every one that is left.
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

/* Adds chains of `count` segments of 16 writable bytes, cookies from 0 on. */
static void send_chains(unsigned chains, unsigned count)
{
    AERO_VIRTIO_SEGMENT segments[8];

    for (unsigned i = 0; i < count; i++)
        segments[i] = (AERO_VIRTIO_SEGMENT){0x10000u + i * 0x100u, 16, 0};
    for (uintptr_t i = 0; i < chains; i++)
        assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 0, (USHORT)count, player_cookie(i)),
                         STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
}

/*
 * The ring refuses everything and writes nothing, though the device goes on; then it gives its cookies back.
 */
static void expect_poisoned(AERO_VIRTIO_RING_POISON reason, ULONG value, unsigned cookies_left)
{
    AERO_VIRTIO_COMPLETION completion;
    uint8_t *before = malloc(player.layout.SharedBytes);
    bool seen[64] = {false};
    NTSTATUS status;
    void *cookie;

    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    assert_true(AeroVirtioSplitRingIsPoisoned(&player.ring));
    assert_int_equal(player.ring.PoisonReason, reason);
    assert_int_equal(player.ring.PoisonValue, value);
    assert_int_equal(AeroVirtioSplitRingInFlightCount(&player.ring), cookies_left);

    assert_non_null(before);
    memcpy(before, player.shared, player.layout.SharedBytes);
    assert_int_equal(player_add(&player, 1, true, 99), STATUS_DEVICE_PROTOCOL_ERROR);
    AeroVirtioSplitRingPublish(&player.ring);
    AeroVirtioSplitRingSuppressInterrupts(&player.ring);
    assert_false(AeroVirtioSplitRingRearmInterrupts(&player.ring));
    assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, &completion, 1, &status), 0);
    assert_int_equal(status, STATUS_DEVICE_PROTOCOL_ERROR);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    assert_memory_equal(before, player.shared, player.layout.SharedBytes);
    free(before);

    while (AeroVirtioSplitRingTakeBack(&player.ring, &cookie)) {
        assert_in_range((uintptr_t)cookie, 0, 63);
        assert_false(seen[(uintptr_t)cookie]);
        seen[(uintptr_t)cookie] = true;
        assert_int_not_equal(cookies_left, 0);
        cookies_left--;
    }
    assert_null(cookie);
    assert_int_equal(cookies_left, 0);
    player_expect_free(&player, player.size, 0);
    assert_true(AeroVirtioSplitRingIsPoisoned(&player.ring));

    player_reopen(&player);
    assert_false(AeroVirtioSplitRingIsPoisoned(&player.ring));
    player_send(&player, 5);
    player_serve(&player);
    player_expect(&player, 5, 0);
}

/* ---- used.id ---- */

static void expect_bad_id(ULONG id)
{
    send_chains(3, 1);
    player_put(&player, id, 0);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdOutOfRange, id, 3);
}

static void rng_11_used_id_of_queue_size_poisons(void **state)
{
    expect_bad_id(4);
}

static void rng_11_used_id_of_16_ones_poisons(void **state)
{
    expect_bad_id(0xFFFF);
}

/* Only its low half looks valid. */
static void rng_11_used_id_valid_in_its_low_half_poisons(void **state)
{
    expect_bad_id(0x10000 + 1);
}

static void rng_11_used_id_of_32_ones_poisons(void **state)
{
    expect_bad_id(0xFFFFFFFFu);
}

static void rng_11_used_id_replayed_poisons_without_a_second_cookie(void **state)
{
    uint16_t head;

    send_chains(3, 1);
    head = player_take(&player);
    player_put(&player, head, 1);
    player_publish(&player);
    player_expect(&player, 0, 1);
    player_put(&player, head, 1);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdNotInFlight, head, 2);
}

static void rng_11_used_id_never_issued_poisons(void **state)
{
    send_chains(3, 1);
    player_put(&player, 3, 0);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdNotInFlight, 3, 3);
}

/* A device that guesses the head of a chain that it can't have seen. */
static void rng_11_used_id_added_but_not_published_poisons(void **state)
{
    send_chains(1, 1);
    assert_int_equal(player_add(&player, 16, true, 1), STATUS_SUCCESS);
    player_put(&player, 1, 0);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdNotInFlight, 1, 2);
}

static void expect_mid_chain(unsigned offset)
{
    struct player_desc desc;
    uint16_t id;

    send_chains(1, 3);
    id = player_take(&player);
    for (unsigned i = 0; i < offset; i++) {
        desc = player_desc(&player, id);
        id = desc.next;
    }
    player_put(&player, id, 0);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdMidChain, id, 1);
}

static void rng_11_used_id_second_in_chain_poisons(void **state)
{
    expect_mid_chain(1);
}

static void rng_11_used_id_last_in_chain_poisons(void **state)
{
    expect_mid_chain(2);
}

/* ---- used.idx ---- */

static void expect_jump(uint16_t from_reaped, uint16_t index)
{
    send_chains(4, 1);
    for (uint16_t i = 0; i < from_reaped; i++)
        player_put(&player, player_take(&player), 0);
    player_publish(&player);
    for (uint16_t i = 0; i < from_reaped; i++)
        player_expect(&player, i, 0);
    player_set_index(&player, index);
    assert_true(AeroVirtioSplitRingRearmInterrupts(&player.ring));
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIndexJumped, index, 4u - from_reaped);
}

/* Smaller than the queue, larger than what is in flight: old slots would be replayed. */
static void rng_11_used_idx_by_one_more_than_in_flight_poisons(void **state)
{
    expect_jump(2, 5);
}

static void rng_11_used_idx_by_queue_size_plus_one_poisons(void **state)
{
    expect_jump(0, 5);
}

static void rng_11_used_idx_backwards_poisons(void **state)
{
    expect_jump(2, 1);
}

static void rng_11_used_idx_far_ahead_poisons(void **state)
{
    expect_jump(1, 0x8001);
}

static void rng_11_used_idx_of_nothing_in_flight_poisons(void **state)
{
    player_set_index(&player, 1);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIndexJumped, 1, 0);
}

/* What isn't published isn't the device's, so it doesn't count as in flight. */
static void rng_11_used_idx_by_what_is_unpublished_poisons(void **state)
{
    assert_int_equal(player_add(&player, 16, true, 0), STATUS_SUCCESS);
    player_set_index(&player, 1);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIndexJumped, 1, 1);
}

static void rng_11_used_idx_by_two_on_a_queue_of_one_poisons(void **state)
{
    send_chains(1, 1);
    player_set_index(&player, 2);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIndexJumped, 2, 1);
}

/* Quirk 29: the element is still the one of the last lap. */
static void rng_11_used_idx_before_its_element_poisons(void **state)
{
    for (uintptr_t i = 0; i < 4; i++)
        player_send(&player, i);
    player_serve(&player);
    for (uintptr_t i = 0; i < 4; i++)
        player_expect(&player, i, 0);
    player_send(&player, 0); /* on head 0 */
    player_send(&player, 1); /* on head 1 */
    player_take(&player);
    player_put(&player, player_take(&player), 0); /* 1, where 0 was in the last lap */
    player.used_idx++;                            /* 1, which is that lap's */
    player_publish(&player);
    player_expect(&player, 1, 0);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIdNotInFlight, 1, 1);
}

/* ---- used.len ---- */

static void expect_bad_length(unsigned segments, ULONG length)
{
    send_chains(2, segments);
    player_put(&player, player_take(&player), length);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedLengthTooLong, length, 2);
}

static void rng_11_used_len_one_above_the_writable_bytes_poisons(void **state)
{
    expect_bad_length(1, 17);
}

static void rng_11_used_len_above_an_indirect_chains_bytes_poisons(void **state)
{
    expect_bad_length(3, 49);
}

static void rng_11_used_len_with_the_sign_bit_poisons(void **state)
{
    expect_bad_length(1, 0x80000010u);
}

static void rng_11_used_len_of_all_ones_poisons(void **state)
{
    expect_bad_length(2, 0xFFFFFFFFu);
}

static void rng_11_used_len_of_a_readable_chain_poisons(void **state)
{
    assert_int_equal(player_add(&player, 64, false, 0), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_put(&player, player_take(&player), 1);
    player_publish(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedLengthTooLong, 1, 1);
}

static void test_used_len_of_every_byte_and_of_none_is_taken(void **state)
{
    AERO_VIRTIO_SEGMENT segments[3] = {{0x1000, 100, 0}, {0x2000, 7, 0}, {0x3000, 9, 0}};

    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 1, 2, player_cookie(0)), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_put(&player, player_take(&player), 16);
    player_publish(&player);
    player_expect(&player, 0, 16);
    assert_int_equal(AeroVirtioSplitRingAdd(&player.ring, segments, 3, 0, player_cookie(1)), STATUS_SUCCESS);
    AeroVirtioSplitRingPublish(&player.ring);
    player_put(&player, player_take(&player), 0);
    player_publish(&player);
    player_expect(&player, 1, 0);
}

/* ---- Batches, scribbles, the end ---- */

static void test_reap_many_hands_out_what_came_before_the_lie(void **state)
{
    AERO_VIRTIO_COMPLETION done[4];
    NTSTATUS status;

    send_chains(4, 1);
    player_put(&player, player_take(&player), 1);
    player_put(&player, player_take(&player), 2);
    player_put(&player, 0, 0);
    player_put(&player, player_take(&player), 3);
    player_publish(&player);
    assert_int_equal(AeroVirtioSplitRingReapMany(&player.ring, done, 4, &status), 2);
    assert_int_equal(status, STATUS_DEVICE_PROTOCOL_ERROR);
    assert_ptr_equal(done[0].Cookie, player_cookie(0));
    assert_ptr_equal(done[1].Cookie, player_cookie(1));
    assert_int_equal(done[1].Length, 2);
    expect_poisoned(AeroVirtioRingUsedIdNotInFlight, 0, 2);
}

/* Quirk 32: what the device makes of the descriptors, avail.ring and its own flags changes nothing. */
static void test_scribbled_descriptors_have_no_effect(void **state)
{
    send_chains(1, 4);
    memset(player.shared + player.layout.DescOffset, 0xFF, 16 * player.size);
    AERO_VIRTIO_SHARED_WRITE16(player_used(&player, 0), 0xFFFF);
    player_put(&player, 0, 64);
    player_publish(&player);
    player_expect(&player, 0, 64);
    player_expect_free(&player, 4, 0);
    player.avail_idx++;
    for (uint32_t round = 0; round < 10; round++) {
        send_chains(2, 2);
        for (uint16_t i = 0; i < 4; i++) /* loops, and links out of the table */
            AERO_VIRTIO_SHARED_WRITE64(
                (ULONGLONG *)(void *)(player.shared + player.layout.DescOffset + 16 * i + 8),
                (uint64_t)AERO_VIRTIO_DESC_NEXT << 32 | (uint64_t)(round & 1 ? i : 0x7000) << 48);
        player_serve(&player);
        player_expect(&player, 0, 0);
        player_expect(&player, 1, 0);
        player_expect_free(&player, 4, 0);
    }
}

/* Quirk 33: as long as the head is out, its table isn't given to another. */
static void test_indirect_table_of_a_chain_in_flight_is_left_alone(void **state)
{
    uint8_t copy[4 * 16];
    struct player_desc desc;
    const uint8_t *table;
    uint16_t held;

    send_chains(1, 3);
    held = player_take(&player);
    desc = player_desc(&player, held);
    table = player_table(&player, desc);
    memcpy(copy, table, sizeof copy);
    for (uint32_t round = 0; round < 50; round++) {
        send_chains(1 + round % 7, 2 + round % 3);
        player_serve(&player);
        for (unsigned i = 0; i < 1 + round % 7; i++)
            player_expect(&player, i, 0);
    }
    assert_memory_equal(copy, table, sizeof copy);
    assert_true(player_desc(&player, held).addr == desc.addr && player_desc(&player, held).len == 48);
    player_put(&player, held, 48);
    player_publish(&player);
    player_expect(&player, 0, 48);
}

static void test_take_back_returns_each_cookie_exactly_once(void **state)
{
    unsigned seen[4] = {0};
    void *cookie;

    player_send(&player, 0);
    player_send(&player, 1);
    player_send(&player, 2);
    player_put(&player, player_take(&player), 0);
    player_publish(&player);
    player_expect(&player, 0, 0);
    assert_int_equal(player_add(&player, 16, true, 3), STATUS_SUCCESS); /* not published */
    player_serve(&player);                                              /* done, not reaped */
    assert_true(AeroVirtioSplitRingNeedsKick(&player.ring));
    AeroVirtioSplitRingPublish(&player.ring);
    for (unsigned left = 3; left; left--) {
        assert_int_equal(AeroVirtioSplitRingInFlightCount(&player.ring), left);
        assert_true(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
        seen[(uintptr_t)cookie]++;
        /* No doorbell follows, and nothing comes by the other door. */
        assert_false(AeroVirtioSplitRingNeedsKick(&player.ring));
        player_expect_status(&player, STATUS_DEVICE_NOT_READY);
        assert_int_equal(player_add(&player, 1, true, 9), STATUS_DEVICE_NOT_READY);
    }
    assert_false(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
    assert_false(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
    assert_null(cookie);
    assert_true(!seen[0] && seen[1] == 1 && seen[2] == 1 && seen[3] == 1);
    player_expect_free(&player, 4, 0);
    assert_false(AeroVirtioSplitRingIsPoisoned(&player.ring));
}

static void test_take_back_of_chains_frees_all_their_descriptors(void **state)
{
    void *cookie;

    send_chains(1, 3);
    assert_int_equal(player_add(&player, 16, true, 1), STATUS_SUCCESS);
    assert_true(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
    assert_true(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
    assert_false(AeroVirtioSplitRingTakeBack(&player.ring, &cookie));
    player_expect_free(&player, 4, 0);
}

/* Quirk 22: the device goes on where it was before the reset. */
static void test_device_that_kept_its_index_over_reset_poisons(void **state)
{
    send_chains(2, 1);
    player_serve(&player);
    player_expect(&player, 0, 0);
    player_expect(&player, 1, 0);
    player_reopen(&player);
    player.used_idx = 2;
    send_chains(2, 1);
    player_serve(&player);
    player_expect_status(&player, STATUS_DEVICE_PROTOCOL_ERROR);
    expect_poisoned(AeroVirtioRingUsedIndexJumped, 4, 2);
}

#define TEST_ON(open, test) cmocka_unit_test_setup_teardown(test, open, close_queue)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST_ON(open_4, rng_11_used_id_of_queue_size_poisons),
        TEST_ON(open_4, rng_11_used_id_of_16_ones_poisons),
        TEST_ON(open_4, rng_11_used_id_valid_in_its_low_half_poisons),
        TEST_ON(open_4, rng_11_used_id_of_32_ones_poisons),
        TEST_ON(open_4, rng_11_used_id_replayed_poisons_without_a_second_cookie),
        TEST_ON(open_4, rng_11_used_id_never_issued_poisons),
        TEST_ON(open_4, rng_11_used_id_added_but_not_published_poisons),
        TEST_ON(open_4, rng_11_used_id_second_in_chain_poisons),
        TEST_ON(open_4, rng_11_used_id_last_in_chain_poisons),
        TEST_ON(open_4, rng_11_used_idx_by_one_more_than_in_flight_poisons),
        TEST_ON(open_4, rng_11_used_idx_by_queue_size_plus_one_poisons),
        TEST_ON(open_4, rng_11_used_idx_backwards_poisons),
        TEST_ON(open_4, rng_11_used_idx_far_ahead_poisons),
        TEST_ON(open_4, rng_11_used_idx_of_nothing_in_flight_poisons),
        TEST_ON(open_4, rng_11_used_idx_by_what_is_unpublished_poisons),
        TEST_ON(open_1, rng_11_used_idx_by_two_on_a_queue_of_one_poisons),
        TEST_ON(open_4, rng_11_used_idx_before_its_element_poisons),
        TEST_ON(open_4, rng_11_used_len_one_above_the_writable_bytes_poisons),
        TEST_ON(open_8_indirect, rng_11_used_len_above_an_indirect_chains_bytes_poisons),
        TEST_ON(open_4, rng_11_used_len_with_the_sign_bit_poisons),
        TEST_ON(open_4, rng_11_used_len_of_all_ones_poisons),
        TEST_ON(open_4, rng_11_used_len_of_a_readable_chain_poisons),
        TEST_ON(open_4, test_used_len_of_every_byte_and_of_none_is_taken),
        TEST_ON(open_4, test_reap_many_hands_out_what_came_before_the_lie),
        TEST_ON(open_4, test_scribbled_descriptors_have_no_effect),
        TEST_ON(open_8_indirect, test_indirect_table_of_a_chain_in_flight_is_left_alone),
        TEST_ON(open_4, test_take_back_returns_each_cookie_exactly_once),
        TEST_ON(open_4, test_take_back_of_chains_frees_all_their_descriptors),
        TEST_ON(open_4, test_device_that_kept_its_index_over_reset_poisons),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("split_ring_hostile", tests, NULL, NULL);
}

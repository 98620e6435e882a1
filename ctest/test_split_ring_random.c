/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Properties of the driver's split ring under random use: beside an honest device, beside one that writes
 * anything, and with the device on a thread of its own. The seed is printed first; AERO_TEST_SEED=N runs that
 * one again.
 */
#include "test_split_ring_player.h"

#include <time.h>

#include "os.h"
#include "test_program.h"

#define COOKIES      4096u
#define SEGMENTS_MAX 6u

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static uint64_t seed;

static int print_seed(void **state)
{
    const char *given = getenv("AERO_TEST_SEED");

    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u ^ (uint64_t)clock();
    print_message("AERO_TEST_SEED=%llu\n", (unsigned long long)seed);
    return 0;
}

/* What the test knows of the chains, by cookie. */
struct book {
    struct player player;
    uint16_t heads[64]; /* taken by the device, not completed */
    uint32_t head_count;
    struct {
        bool out;
        uint32_t descriptors, writable, completed;
        AERO_VIRTIO_SEGMENT segments[SEGMENTS_MAX]; /* the empty ones left out */
        uint32_t segment_count, readable_count;
    } chain[COOKIES];
    uint32_t next_cookie;
    uint32_t out_chains, out_descriptors;
    uint32_t cookie_of_head[64];
};

static void check_conserved(const struct book *book)
{
    player_expect_free(&book->player, book->player.size - book->out_descriptors, book->out_chains);
}

static void random_add(struct book *book)
{
    AERO_VIRTIO_SEGMENT segments[SEGMENTS_MAX];
    uint32_t count = 1 + random_below(SEGMENTS_MAX), readable = random_below(count + 1), filled = 0, needed;
    uint32_t cookie = book->next_cookie % COOKIES;
    NTSTATUS status;

    if (book->chain[cookie].out)
        return;
    memset(&book->chain[cookie], 0, sizeof book->chain[cookie]);
    for (uint32_t i = 0; i < count; i++) {
        segments[i] =
            (AERO_VIRTIO_SEGMENT){random_below(1u << 31), random_below(4) ? 1 + random_below(3000) : 0, 0};
        if (!segments[i].Length)
            continue;
        book->chain[cookie].segments[filled++] = segments[i];
        book->chain[cookie].readable_count += i < readable;
        book->chain[cookie].writable += i < readable ? 0 : segments[i].Length;
    }
    book->chain[cookie].segment_count = filled;
    needed = filled >= 2 && filled <= book->player.ring.IndirectEntries ? 1 : filled;
    status = AeroVirtioSplitRingAdd(&book->player.ring, segments, (USHORT)readable,
                                    (USHORT)(count - readable), player_cookie(cookie));
    if (!filled || filled > book->player.size) {
        assert_int_equal(status, STATUS_INVALID_PARAMETER);
    } else if (needed > book->player.size - book->out_descriptors) {
        assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
    } else {
        assert_int_equal(status, STATUS_SUCCESS);
        book->chain[cookie].out = true;
        book->chain[cookie].descriptors = needed;
        book->out_chains++;
        book->out_descriptors += needed;
        book->next_cookie++;
    }
    check_conserved(book);
}

/*
 * Takes a chain as the device sees it and compares it with what was added. Chains become visible in the order
 * of adding.
 */
static void take_and_compare(struct book *book, uint32_t cookie)
{
    struct player *p = &book->player;
    uint16_t head = player_take(p);
    struct player_desc desc = player_desc(p, head);
    const uint8_t *table = p->shared + p->layout.DescOffset;

    if (desc.flags & AERO_VIRTIO_DESC_INDIRECT) {
        assert_int_equal(desc.flags, AERO_VIRTIO_DESC_INDIRECT);
        assert_int_equal(desc.len, 16 * book->chain[cookie].segment_count);
        table = player_table(p, desc);
        desc = player_desc_at(table, 0);
    }
    for (uint32_t i = 0; i < book->chain[cookie].segment_count; i++) {
        bool last = i + 1 == book->chain[cookie].segment_count;

        assert_true(desc.addr == book->chain[cookie].segments[i].Address);
        assert_int_equal(desc.len, book->chain[cookie].segments[i].Length);
        assert_int_equal(desc.flags,
                         (last ? 0 : AERO_VIRTIO_DESC_NEXT) |
                             (i < book->chain[cookie].readable_count ? 0 : AERO_VIRTIO_DESC_WRITE));
        if (!last)
            desc = player_desc_at(table, desc.next);
    }
    book->heads[book->head_count++] = head;
    book->cookie_of_head[head] = cookie;
}

static void complete_any(struct book *book)
{
    uint32_t which, cookie, length;
    uint16_t head;

    if (!book->head_count)
        return;
    which = random_below(3) ? 0 : random_below(book->head_count);
    head = book->heads[which];
    cookie = book->cookie_of_head[head];
    length = random_below(book->chain[cookie].writable + 1);
    memmove(&book->heads[which], &book->heads[which + 1],
            (--book->head_count - which) * sizeof book->heads[0]);
    book->chain[cookie].completed = length;
    player_put(&book->player, head, length);
}

static void note_returned(struct book *book, void *cookie)
{
    uint32_t index = (uint32_t)(uintptr_t)cookie;

    assert_in_range(index, 0, COOKIES - 1);
    assert_true(book->chain[index].out);
    book->chain[index].out = false;
    book->out_chains--;
    book->out_descriptors -= book->chain[index].descriptors;
}

static void reap_some(struct book *book)
{
    AERO_VIRTIO_COMPLETION done[8];
    uint32_t max = 1 + random_below(8);
    NTSTATUS status;
    ULONG count = AeroVirtioSplitRingReapMany(&book->player.ring, done, max, &status);

    assert_int_equal(status, count == max ? STATUS_SUCCESS : STATUS_NO_MORE_ENTRIES);
    for (ULONG i = 0; i < count; i++) {
        note_returned(book, done[i].Cookie);
        assert_int_equal(done[i].Length, book->chain[(uintptr_t)done[i].Cookie].completed);
    }
    check_conserved(book);
}

static void take_all_back(struct book *book)
{
    void *cookie;

    while (AeroVirtioSplitRingTakeBack(&book->player.ring, &cookie)) {
        note_returned(book, cookie);
        check_conserved(book);
    }
    assert_int_equal(book->out_chains, 0);
    assert_int_equal(AeroVirtioSplitRingFreeCount(&book->player.ring), book->player.size);
}

static struct book *open_book(uint16_t size, uint16_t indirect)
{
    struct book *book = calloc(1, sizeof *book);

    assert_non_null(book);
    player_open(&book->player, size, indirect);
    return book;
}

static void close_book(struct book *book)
{
    player_close(&book->player);
    free(book);
}

static void run_honest(uint16_t size, uint16_t indirect)
{
    struct book *book = open_book(size, indirect);
    uint32_t taken = 0;

    for (uint32_t step = 0; step < 150000; step++) {
        switch (random_below(6)) {
        case 0:
        case 1:
            random_add(book);
            break;
        case 2:
            AeroVirtioSplitRingPublish(&book->player.ring);
            break;
        case 3:
            while (player_has(&book->player))
                take_and_compare(book, taken++ % COOKIES);
            break;
        case 4:
            complete_any(book);
            break;
        default:
            player_publish(&book->player);
            reap_some(book);
        }
    }
    take_all_back(book);
    close_book(book);
}

static void test_random_use_beside_an_honest_device_loses_and_doubles_nothing(void **state)
{
    static const uint16_t plans[][2] = {{1, 0}, {2, 0}, {4, 0}, {4, 4}, {16, 0}, {16, 3}, {64, 5}};

    random_state = seed | 1;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        run_honest(plans[i][0], plans[i][1]);
}

/* Anything may be written into the shared part at any time: nothing but refusal may come of it. */
static void scribble(struct player *p)
{
    USHORT *words = (USHORT *)(void *)p->shared;
    uint32_t count = p->layout.SharedBytes / 2;
    uint32_t where =
        random_below(2) ? random_below(count) : p->layout.UsedOffset / 2 + random_below(2 + 4 * p->size);

    AERO_VIRTIO_SHARED_WRITE16(&words[where],
                               random_below(2) ? random_below(2u * p->size) : random_below(0x10000));
}

static void run_hostile(uint16_t size, uint16_t indirect)
{
    struct book *book = open_book(size, indirect);
    AERO_VIRTIO_COMPLETION done[4];
    NTSTATUS status = STATUS_SUCCESS;
    ULONG count;

    for (uint32_t step = 0; step < 400 && status != STATUS_DEVICE_PROTOCOL_ERROR; step++) {
        random_add(book);
        AeroVirtioSplitRingPublish(&book->player.ring);
        AeroVirtioSplitRingRearmInterrupts(&book->player.ring);
        while (random_below(3))
            scribble(&book->player);
        count = AeroVirtioSplitRingReapMany(&book->player.ring, done, 4, &status);
        for (ULONG i = 0; i < count; i++) {
            assert_in_range(done[i].Length, 0, book->chain[(uintptr_t)done[i].Cookie].writable);
            note_returned(book, done[i].Cookie);
        }
        check_conserved(book);
    }
    take_all_back(book);
    close_book(book);
}

static void test_random_scribbles_bring_no_cookie_twice_and_lose_none(void **state)
{
    static const uint16_t plans[][2] = {{1, 0}, {2, 0}, {4, 0}, {8, 4}, {64, 0}};

    random_state = seed | 1;
    for (uint32_t round = 0; round < 2000; round++)
        run_hostile(plans[round % 5][0], plans[round % 5][1]);
}

/* ---- The device on a thread of its own ---- */

struct machine {
    struct player player;
    uint8_t *buffers; /* one of 8 bytes for each descriptor */
    _Atomic uint32_t stop;
    _Atomic uint32_t bad; /* what the device's thread found wrong */
};

/* Bumps the number in each buffer, in order, in batches of its own taste. No CMocka in here. */
static void device_thread(void *context)
{
    struct machine *m = context;
    struct player *p = &m->player;

    while (!atomic_load(&m->stop)) {
        uint16_t idx = player_published(p), done = 0; /* P1 */

        while (idx != p->avail_idx && done++ < 24) {
            uint16_t head = AERO_VIRTIO_SHARED_READ16(player_avail(p, 2u + p->avail_idx % p->size));
            struct player_desc desc;
            uint64_t value;

            if (head >= p->size) {
                atomic_store(&m->bad, 1);
                return;
            }
            desc = player_desc(p, head);
            if (desc.addr % 8 || desc.addr >= 8u * p->size || desc.len != 8 ||
                desc.flags != AERO_VIRTIO_DESC_WRITE) {
                atomic_store(&m->bad, 2);
                return;
            }
            memcpy(&value, m->buffers + desc.addr, 8); /* plain: P1 and P2 alone order them */
            value++;
            memcpy(m->buffers + desc.addr, &value, 8);
            p->avail_idx++;
            player_put(p, head, 8);
        }
        if (done)
            player_publish(p); /* P2 */
        else
            sim_os_yield();
    }
}

static void test_device_on_another_thread_sees_whole_chains_and_gives_them_back(void **state)
{
    struct machine machine;
    struct sim_os_thread *thread;
    uint64_t next_value[64] = {0}, total = 0;
    bool out[64] = {false};
    bool wrong = false;

    memset(&machine, 0, sizeof machine);
    player_open(&machine.player, 64, 0);
    machine.buffers = calloc(64, 8);
    assert_non_null(machine.buffers);
    thread = sim_os_thread_start(device_thread, &machine, -1);
    assert_non_null(thread);
    while (total < 150000 && !wrong && !atomic_load(&machine.bad)) {
        AERO_VIRTIO_COMPLETION done[16];
        NTSTATUS status;
        ULONG count;

        for (uint32_t i = 0; i < 64; i++) {
            AERO_VIRTIO_SEGMENT segment = {8u * i, 8, 0};

            if (out[i] || AeroVirtioSplitRingFreeCount(&machine.player.ring) == 0)
                continue;
            next_value[i] = total * 64 + i;
            memcpy(machine.buffers + 8 * i, &next_value[i], 8);
            wrong |= AeroVirtioSplitRingAdd(&machine.player.ring, &segment, 0, 1, player_cookie(i)) !=
                     STATUS_SUCCESS;
            out[i] = true;
            if (i % 7 == 0)
                AeroVirtioSplitRingPublish(&machine.player.ring); /* P1 */
        }
        AeroVirtioSplitRingPublish(&machine.player.ring);
        count = AeroVirtioSplitRingReapMany(&machine.player.ring, done, 16, &status); /* P2 */
        if (!count)
            sim_os_yield();
        for (ULONG i = 0; i < count; i++) {
            uintptr_t which = (uintptr_t)done[i].Cookie;
            uint64_t value;

            memcpy(&value, machine.buffers + 8 * which, 8);
            wrong |= !out[which] || done[i].Length != 8 || value != next_value[which] + 1;
            out[which] = false;
            total++;
        }
        wrong |= status == STATUS_DEVICE_PROTOCOL_ERROR;
    }
    atomic_store(&machine.stop, 1);
    sim_os_thread_join(thread);
    assert_int_equal(atomic_load(&machine.bad), 0);
    assert_false(wrong);
    player_close(&machine.player);
    free(machine.buffers);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_use_beside_an_honest_device_loses_and_doubles_nothing),
        cmocka_unit_test(test_random_scribbles_bring_no_cookie_twice_and_lose_none),
        cmocka_unit_test(test_device_on_another_thread_sees_whole_chains_and_gives_them_back),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("split_ring_random", tests, print_seed, NULL);
}

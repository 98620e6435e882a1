/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The host's floor, os.h, but for its files: threads, wait and wake, the lock, the clock, address space. The
 * same tests on Linux and on Windows. Threads other than the test's only record what they saw.
 */
#ifndef _WIN32
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os.h"
#include "temp_file.h"
#include "test_program.h"

#ifndef _WIN32
#include <sched.h>
#endif

static uint32_t load(_Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void store(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* ---- Threads ---- */

static void note_that_it_ran(void *context)
{
    store(context, 1);
}

static void test_thread_joined_has_run(void **state)
{
    _Atomic uint32_t ran = 0;
    struct sim_os_thread *thread = sim_os_thread_start(note_that_it_ran, &ran, -1);

    assert_non_null(thread);
    sim_os_thread_join(thread);
    assert_int_equal(load(&ran), 1);
}

static int a_usable_cpu(void)
{
    int cpu = 0;

    while (!sim_os_cpu_usable(cpu))
        cpu++;
    return cpu;
}

static void test_thread_pinned_to_a_usable_cpu_runs(void **state)
{
    _Atomic uint32_t ran = 0;
    struct sim_os_thread *thread = sim_os_thread_start(note_that_it_ran, &ran, a_usable_cpu());

    assert_non_null(thread);
    sim_os_thread_join(thread);
    assert_int_equal(load(&ran), 1);
}

static void test_thread_for_a_cpu_that_is_not_there_is_refused(void **state)
{
    _Atomic uint32_t ran = 0;

    assert_null(sim_os_thread_start(note_that_it_ran, &ran, INT_MAX));
    assert_null(sim_os_thread_start(note_that_it_ran, &ran, 8191));
    assert_int_equal(load(&ran), 0);
}

static void test_pin_to_a_cpu_that_is_not_there_is_refused(void **state)
{
    assert_false(sim_os_pin(-1));
    assert_false(sim_os_pin(INT_MIN));
    assert_false(sim_os_pin(8191));
    assert_false(sim_os_pin(8192));
    assert_false(sim_os_pin(INT_MAX));
}

static void test_cpu_count_is_that_of_the_usable_ones(void **state)
{
    int usable = 0;

    for (int cpu = -8; cpu < 10000; cpu++)
        usable += sim_os_cpu_usable(cpu);
    assert_true(usable >= 1);
    assert_int_equal(sim_os_cpu_count(), usable);
    assert_false(sim_os_cpu_usable(-1));
    assert_false(sim_os_cpu_usable(INT_MIN));
    assert_false(sim_os_cpu_usable(INT_MAX));
}

/* What a pinned thread sees of its process, and what a thread that it starts may run on. */
struct pinned_look {
    int cpu;
    bool pinned;
    int count;
    int allowed, child_allowed; /* CPUs; Linux alone tells */
};

static void count_allowed(void *context)
{
#ifdef _WIN32
    *(int *)context = sim_os_cpu_count();
#else
    cpu_set_t set;

    *(int *)context = sched_getaffinity(0, sizeof set, &set) ? -1 : CPU_COUNT(&set);
#endif
}

static void look_pinned(void *context)
{
    struct pinned_look *look = context;
    struct sim_os_thread *child;

    look->pinned = sim_os_pin(look->cpu);
    look->count = sim_os_cpu_count();
    count_allowed(&look->allowed);
    child = sim_os_thread_start(count_allowed, &look->child_allowed, -1);
    if (child)
        sim_os_thread_join(child);
}

static void test_pinned_thread_neither_hides_cpus_nor_hands_its_pin_on(void **state)
{
    struct pinned_look look = {.cpu = a_usable_cpu()};
    struct sim_os_thread *thread = sim_os_thread_start(look_pinned, &look, -1);

    assert_non_null(thread);
    sim_os_thread_join(thread);
    assert_true(look.pinned);
    assert_int_equal(look.count, sim_os_cpu_count());
    assert_int_equal(look.child_allowed, sim_os_cpu_count());
#ifndef _WIN32
    assert_int_equal(look.allowed, 1);
#endif
}

/* ---- The thread-local pointer ---- */

struct tls_look {
    void *first, *second;
};

static void look_at_tls(void *context)
{
    struct tls_look *look = context;

    look->first = sim_os_tls_get();
    sim_os_tls_set(look);
    look->second = sim_os_tls_get();
}

static void test_tls_is_null_at_first_and_each_threads_own(void **state)
{
    struct tls_look looks[3];
    struct sim_os_thread *threads[3];
    int mine;

    sim_os_tls_set(&mine);
    for (int i = 0; i < 3; i++) {
        threads[i] = sim_os_thread_start(look_at_tls, &looks[i], -1);
        assert_non_null(threads[i]);
    }
    for (int i = 0; i < 3; i++) {
        sim_os_thread_join(threads[i]);
        assert_null(looks[i].first);
        assert_ptr_equal(looks[i].second, &looks[i]);
    }
    assert_ptr_equal(sim_os_tls_get(), &mine);
    sim_os_tls_set(NULL);
    assert_null(sim_os_tls_get());
}

/* ---- Wait and wake ---- */

static void test_wait_for_another_value_returns(void **state)
{
    _Atomic uint32_t word = 5;

    sim_os_wait(&word, 4, UINT64_MAX);
    sim_os_wait(&word, 0, UINT64_MAX);
}

static void test_wait_with_a_timeout_returns(void **state)
{
    const uint64_t timeouts[] = {0, 1, 999, 1000000, 1000001};
    _Atomic uint32_t word = 5;

    for (int i = 0; i < 5; i++)
        sim_os_wait(&word, 5, timeouts[i]);
}

struct sleeper {
    _Atomic uint32_t *word, *asleep, *awake;
    uint64_t timeout_ns;
};

static void sleep_on_word(void *context)
{
    struct sleeper *sleeper = context;

    atomic_fetch_add(sleeper->asleep, 1);
    sim_os_wake_all(sleeper->asleep);
    while (load(sleeper->word) == 0)
        sim_os_wait(sleeper->word, 0, sleeper->timeout_ns);
    atomic_fetch_add(sleeper->awake, 1);
    sim_os_wake_all(sleeper->awake);
}

static void await_count(_Atomic uint32_t *word, uint32_t count)
{
    uint32_t now;

    while ((now = load(word)) < count)
        sim_os_wait(word, now, UINT64_MAX);
}

static void wake_sleepers(uint64_t timeout_ns)
{
    _Atomic uint32_t word = 0, asleep = 0, awake = 0;
    struct sleeper sleeper = {&word, &asleep, &awake, timeout_ns};
    struct sim_os_thread *threads[4];

    for (int i = 0; i < 4; i++) {
        threads[i] = sim_os_thread_start(sleep_on_word, &sleeper, -1);
        assert_non_null(threads[i]);
    }
    await_count(&asleep, 4);
    for (int i = 0; i < 100; i++)
        sim_os_yield(); /* so that most of them are truly asleep */
    assert_int_equal(load(&awake), 0);
    store(&word, 1);
    sim_os_wake_all(&word);
    await_count(&awake, 4);
    for (int i = 0; i < 4; i++)
        sim_os_thread_join(threads[i]);
}

static void test_wake_all_wakes_every_sleeper(void **state)
{
    wake_sleepers(UINT64_MAX);
}

/* A timeout that a host can't express must not become a short one, or an error that has the caller spin. */
static void test_wait_with_a_vast_timeout_is_woken(void **state)
{
    wake_sleepers(UINT64_MAX - 1);
    wake_sleepers(1ull << 62);
}

static void test_wake_of_a_word_that_nobody_waits_for_is_harmless(void **state)
{
    _Atomic uint32_t word = 0;

    sim_os_wake_one(&word);
    sim_os_wake_all(&word);
}

/* A ball that each side returns: one lost wake, and it lies still until ctest's time limit. */
#define ROUNDS 5000u

static void return_ball(void *context)
{
    _Atomic uint32_t *ball = context;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (load(ball) != 2 * round + 1)
            sim_os_wait(ball, 2 * round, UINT64_MAX);
        store(ball, 2 * round + 2);
        sim_os_wake_one(ball);
    }
}

static void test_wake_one_is_never_lost(void **state)
{
    _Atomic uint32_t ball = 0;
    struct sim_os_thread *thread = sim_os_thread_start(return_ball, &ball, -1);

    assert_non_null(thread);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        store(&ball, 2 * round + 1);
        sim_os_wake_one(&ball);
        while (load(&ball) != 2 * round + 2)
            sim_os_wait(&ball, 2 * round + 1, UINT64_MAX);
    }
    sim_os_thread_join(thread);
}

/* ---- The lock ---- */

static void test_lock_says_what_it_is(void **state)
{
    struct sim_os_lock lock = {0};

    sim_os_lock_acquire(&lock);
    assert_int_equal(load(&lock.state), 1);
    sim_os_lock_release(&lock);
    assert_int_equal(load(&lock.state), 0);
}

struct counted {
    struct sim_os_lock lock;
    uint32_t value; /* not atomic on purpose: the lock protects it, or ThreadSanitizer says so */
};

static void count_up(void *context)
{
    struct counted *counted = context;

    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t value;

        sim_os_lock_acquire(&counted->lock);
        value = counted->value;
        if (i % 64 == 0)
            sim_os_yield(); /* have the others find it held */
        counted->value = value + 1;
        sim_os_lock_release(&counted->lock);
    }
}

static void test_lock_lets_one_in_at_a_time(void **state)
{
    struct counted counted = {0};
    struct sim_os_thread *threads[4];

    for (int i = 0; i < 4; i++) {
        threads[i] = sim_os_thread_start(count_up, &counted, -1);
        assert_non_null(threads[i]);
    }
    for (int i = 0; i < 4; i++)
        sim_os_thread_join(threads[i]);
    assert_int_equal(counted.value, 80000);
    assert_int_equal(load(&counted.lock.state), 0);
}

/* ---- The barrier ---- */

/*
 * Two threads count up, each its own counter, and look at the other's behind each step. A look that misses
 * the other's next step must have been taken before it, so the look behind that step finds ours. Without the
 * barrier both looks may miss, on x86 as well: a store waits in its buffer while the load behind it is done.
 */
#define STEPS 1000000u
struct race {
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t
        counter[2 * SIM_LINE_BYTES / 4]; /* [0] and the first of the next line */
    _Alignas(SIM_LINE_BYTES) _Atomic uint32_t ready;
    uint32_t seen[2][STEPS + 2]; /* seen[me][i]: the other's counter, behind my step i */
};

static void run_race(struct race *race, uint32_t me)
{
    _Atomic uint32_t *mine = &race->counter[me * SIM_LINE_BYTES / 4];
    _Atomic uint32_t *others = &race->counter[(1 - me) * SIM_LINE_BYTES / 4];

    atomic_fetch_add(&race->ready, 1);
    while (load(&race->ready) < 2)
        sim_os_yield();
    for (uint32_t i = 1; i <= STEPS; i++) {
        atomic_store_explicit(mine, i, memory_order_relaxed);
        sim_os_full_barrier();
        race->seen[me][i] = atomic_load_explicit(others, memory_order_relaxed);
    }
}

static void run_race_as_one(void *context)
{
    run_race(context, 1);
}

static void test_full_barrier_lets_one_of_two_see_the_other(void **state)
{
    static struct race race;
    struct sim_os_thread *thread = sim_os_thread_start(run_race_as_one, &race, -1);
    uint32_t blind = 0;

    assert_non_null(thread);
    run_race(&race, 0);
    sim_os_thread_join(thread);
    for (uint32_t i = 1; i <= STEPS; i++) {
        uint32_t missed = race.seen[0][i] + 1;

        blind += missed <= STEPS && race.seen[1][missed] < i;
    }
    assert_int_equal(blind, 0);
}

/* ---- The clock ---- */

static void test_clock_never_goes_back(void **state)
{
    uint64_t last = sim_os_now_ns(), start = last;

    for (int i = 0; i < 100000 || last == start; i++) {
        uint64_t now = sim_os_now_ns();

        assert_true(now >= last);
        last = now;
    }
}

/* ---- Address space ---- */

static void test_memory_is_zeroed_aligned_and_writable(void **state)
{
    const size_t bytes = 100000;
    uint8_t *memory = sim_os_memory_map(bytes);

    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(memory[i], 0);
    memset(memory, 0xFF, bytes);
    sim_os_memory_unmap(memory, bytes);
}

static void test_memory_of_no_size_or_any_size_is_refused(void **state)
{
    assert_null(sim_os_memory_map(0));
    assert_null(sim_os_memory_map(SIZE_MAX - 0xFFFF)); /* half of it a 32-bit host may have */
    sim_os_memory_unmap(NULL, 4096);
}

/* Does an access to that byte fault? The host's own file calls say so without a signal. */
static bool is_inaccessible(struct sim_os_file *file, uint8_t *byte)
{
    return !sim_os_file_read(file, 0, byte, 1) && !sim_os_file_write(file, 0, byte, 1);
}

static void test_range_is_aligned_and_inaccessible(void **state)
{
    const size_t alignments[] = {0, 4096, 0x4000, 0x10000, 0x100000, 0x1000000};
    const size_t sizes[] = {0x4000, 4096, 0x20000, 5000, 0x4000, 0x4000};
    char path[TEMP_FILE_PATH_MAX], error[256];
    uint8_t accessible = 0;
    struct sim_os_file *file;

    temp_file_path(path, "test_os_range");
    assert_true(temp_file_create(path, 1));
    file = sim_os_file_open(path, false, error, sizeof error);
    assert_non_null(file);
    assert_false(is_inaccessible(file, &accessible));
    for (int i = 0; i < 6; i++) {
        uint8_t *range = sim_os_range_reserve(sizes[i], alignments[i]);

        assert_non_null(range);
        if (alignments[i])
            assert_int_equal((uintptr_t)range % alignments[i], 0);
        assert_true(is_inaccessible(file, range));
        assert_true(is_inaccessible(file, range + sizes[i] / 2));
        assert_true(is_inaccessible(file, range + sizes[i] - 1));
        sim_os_range_release(range, sizes[i]);
    }
    sim_os_file_close(file);
    temp_file_remove(path);
}

static void test_ranges_do_not_overlap(void **state)
{
    uint8_t *ranges[16];

    for (int i = 0; i < 16; i++) {
        ranges[i] = sim_os_range_reserve(0x4000, 0x4000);
        assert_non_null(ranges[i]);
        for (int j = 0; j < i; j++)
            assert_true(ranges[j] + 0x4000 <= ranges[i] || ranges[i] + 0x4000 <= ranges[j]);
    }
    for (int i = 0; i < 16; i++)
        sim_os_range_release(ranges[i], 0x4000);
}

static void test_range_impossible_is_refused(void **state)
{
    assert_null(sim_os_range_reserve(0, 4096));
    assert_null(sim_os_range_reserve(0x4000, 3 * 4096)); /* no power of two */
    assert_null(sim_os_range_reserve(SIZE_MAX, 0));
    assert_null(sim_os_range_reserve(SIZE_MAX - 4096, 0x100000));
    sim_os_range_release(NULL, 4096);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_joined_has_run),
        cmocka_unit_test(test_thread_pinned_to_a_usable_cpu_runs),
        cmocka_unit_test(test_thread_for_a_cpu_that_is_not_there_is_refused),
        cmocka_unit_test(test_pin_to_a_cpu_that_is_not_there_is_refused),
        cmocka_unit_test(test_cpu_count_is_that_of_the_usable_ones),
        cmocka_unit_test(test_pinned_thread_neither_hides_cpus_nor_hands_its_pin_on),
        cmocka_unit_test(test_tls_is_null_at_first_and_each_threads_own),
        cmocka_unit_test(test_wait_for_another_value_returns),
        cmocka_unit_test(test_wait_with_a_timeout_returns),
        cmocka_unit_test(test_wake_all_wakes_every_sleeper),
        cmocka_unit_test(test_wait_with_a_vast_timeout_is_woken),
        cmocka_unit_test(test_wake_of_a_word_that_nobody_waits_for_is_harmless),
        cmocka_unit_test(test_wake_one_is_never_lost),
        cmocka_unit_test(test_lock_says_what_it_is),
        cmocka_unit_test(test_lock_lets_one_in_at_a_time),
        cmocka_unit_test(test_full_barrier_lets_one_of_two_see_the_other),
        cmocka_unit_test(test_clock_never_goes_back),
        cmocka_unit_test(test_memory_is_zeroed_aligned_and_writable),
        cmocka_unit_test(test_memory_of_no_size_or_any_size_is_refused),
        cmocka_unit_test(test_range_is_aligned_and_inaccessible),
        cmocka_unit_test(test_ranges_do_not_overlap),
        cmocka_unit_test(test_range_impossible_is_refused),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}

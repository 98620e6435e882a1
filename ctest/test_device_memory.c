/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a device costs that is started and idle, beyond guest memory. It is the host that is asked, so this is
 * for Linux, and for builds whose memory is the program's own and not half a sanitizer's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "aero_sim.h"
#include "test_program.h"

#define DEVICES   AERO_SIM_DEVICES_MAX
#define KIB_LIMIT 64

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_TELL 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#undef CAN_TELL
#define CAN_TELL 0
#endif
#endif
#else
#define CAN_TELL 0
#endif

/* KiB of this process in the host's memory; 0 where the host doesn't tell. */
static unsigned long resident_kib(void)
{
    FILE *stream = CAN_TELL ? fopen("/proc/self/status", "r") : NULL;
    unsigned long kib = 0;
    char line[256];

    if (stream == NULL)
        return 0;
    while (fgets(line, sizeof line, stream) != NULL) {
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1)
            break;
    }
    fclose(stream);
    return kib;
}

static void test_device_memory_of_an_idle_one_is_64_kib_at_most(void **state)
{
    static struct aero_sim_device *devices[DEVICES];
    const struct aero_sim_model *model = aero_sim_model_find("loopback");
    unsigned long before, after;
    struct aero_sim_memory *memory;
    struct aero_sim_worker *worker;
    uint32_t i;

    if (resident_kib() == 0)
        skip();
    assert_int_equal(aero_sim_memory_create(&memory), AERO_SIM_OK);
    assert_int_equal(aero_sim_memory_map(memory, 0x100000, 1 << 20, NULL), AERO_SIM_OK);
    assert_int_equal(aero_sim_worker_create(NULL, &worker), AERO_SIM_OK);
    before = resident_kib();
    for (i = 0; i < DEVICES; i++) {
        assert_int_equal(aero_sim_device_create(model, memory, worker, &devices[i]), AERO_SIM_OK);
        assert_int_equal(aero_sim_device_start(devices[i]), AERO_SIM_OK);
    }
    after = resident_kib();
    print_message("%s: %.1f KiB a device\n", aero_sim_model_name(model), (double)(after - before) / DEVICES);
    assert_true(after > before); /* or nothing was measured */
    assert_true(after - before <= KIB_LIMIT * DEVICES);
    for (i = 0; i < DEVICES; i++)
        aero_sim_device_destroy(devices[i]);
    aero_sim_worker_destroy(worker);
    aero_sim_memory_destroy(memory);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_memory_of_an_idle_one_is_64_kib_at_most),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A device's life from outside: what is refused when, with which status and which words, and that it can be
 * destroyed in every state. Also the list of models and the rules that a model must keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"
#include "test_program.h"

#include <string.h>

static struct aero_sim_memory *memory;
static struct aero_sim_worker *worker;
static struct aero_sim_device *device;

static int set_up(void **state)
{
    if (aero_sim_memory_create(&memory) || aero_sim_memory_map(memory, 0x100000, 0x100000, NULL) ||
        aero_sim_worker_create(NULL, &worker))
        return -1;
    return aero_sim_device_create(aero_sim_model_find("loopback"), memory, worker, &device);
}

static int tear_down(void **state)
{
    aero_sim_device_destroy(device);
    aero_sim_worker_destroy(worker);
    aero_sim_memory_destroy(memory);
    device = NULL;
    return 0;
}

static void expect_error(const char *part)
{
    if (!strstr(aero_sim_device_error(device), part))
        fail_msg("'%s' doesn't say '%s'", aero_sim_device_error(device), part);
    assert_null(strchr(aero_sim_device_error(device), '\n'));
}

static uint32_t serve_nothing(void *state, const struct aero_sim_chain *chain)
{
    return 0;
}

static void do_nothing(void *state)
{
}

/* ---- Models ---- */

static void test_models_are_found_by_index_and_by_name(void **state)
{
    size_t count = 0;
    const struct aero_sim_model *model;

    for (; (model = aero_sim_model_at(count)); count++) {
        assert_ptr_equal(aero_sim_model_find(aero_sim_model_name(model)), model);
        assert_int_not_equal(strlen(aero_sim_model_summary(model)), 0);
    }
    assert_true(count >= 2);
    assert_null(aero_sim_model_at(SIZE_MAX));
    assert_null(aero_sim_model_find("loop"));
    assert_null(aero_sim_model_find(""));
    assert_null(aero_sim_model_find(NULL));
}

static enum aero_sim_status create_status(const struct aero_sim_model *model)
{
    struct aero_sim_device *made = (struct aero_sim_device *)(void *)&made;
    enum aero_sim_status status = aero_sim_device_create(model, memory, NULL, &made);

    if (status)
        assert_null(made);
    else
        aero_sim_device_destroy(made);
    return status;
}

static void test_model_that_breaks_a_rule_is_refused(void **state)
{
    struct aero_sim_queue_spec queues[AERO_SIM_QUEUES_MAX + 1];
    const struct aero_sim_model good = {.name = "good",
                                        .queue_count = AERO_SIM_QUEUES_MAX,
                                        .queues = queues,
                                        .config_bytes = 256,
                                        .class_code = 0xFFFFFF};
    struct aero_sim_model bad;

    for (uint32_t i = 0; i <= AERO_SIM_QUEUES_MAX; i++)
        queues[i] = (struct aero_sim_queue_spec){"q", 1, serve_nothing};
    assert_int_equal(create_status(&good), AERO_SIM_OK);
    bad = good, bad.name = NULL;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.queues = NULL;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.queue_count = 0;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.queue_count = AERO_SIM_QUEUES_MAX + 1;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.config_bytes = 257;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.class_code = 0x1000000;
    assert_int_equal(create_status(&bad), AERO_SIM_BAD_ARGUMENT);
    queues[63].serve = NULL; /* and no event to take its chains */
    assert_int_equal(create_status(&good), AERO_SIM_BAD_ARGUMENT);
    bad = good, bad.event = do_nothing;
    assert_int_equal(create_status(&bad), AERO_SIM_OK);
}

static void rng_04_model_that_offers_event_idx_or_packed_is_refused(void **state)
{
    struct aero_sim_queue_spec queue = {"q", 1, serve_nothing};
    struct aero_sim_model model = {.name = "m", .queue_count = 1, .queues = &queue};

    model.features = 1ull << 29;
    assert_int_equal(create_status(&model), AERO_SIM_BAD_ARGUMENT);
    model.features = 1ull << 34;
    assert_int_equal(create_status(&model), AERO_SIM_BAD_ARGUMENT);
    model.features = ~(1ull << 29 | 1ull << 34);
    assert_int_equal(create_status(&model), AERO_SIM_OK);
}

static void test_model_with_a_queue_size_that_is_none_is_refused(void **state)
{
    static const uint16_t sizes[] = {0, 3, 6, 255, 257, 32767, 32769, 65535};
    struct aero_sim_queue_spec queue = {"q", 1, serve_nothing};
    const struct aero_sim_model model = {.name = "m", .queue_count = 1, .queues = &queue};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        queue.size = sizes[i];
        assert_int_equal(create_status(&model), AERO_SIM_BAD_ARGUMENT);
    }
    for (uint32_t size = 1; size <= 32768; size *= 2) {
        queue.size = (uint16_t)size;
        assert_int_equal(create_status(&model), AERO_SIM_OK);
    }
}

static void test_create_of_bad_arguments_is_refused(void **state)
{
    struct aero_sim_device *made = device;

    assert_int_equal(aero_sim_device_create(NULL, memory, NULL, &made), AERO_SIM_BAD_ARGUMENT);
    assert_null(made);
    made = device;
    assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), NULL, NULL, &made),
                     AERO_SIM_BAD_ARGUMENT);
    assert_null(made);
    assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), memory, NULL, NULL),
                     AERO_SIM_BAD_ARGUMENT);
}

static void test_status_names_are_the_constants(void **state)
{
    assert_string_equal(aero_sim_status_name(AERO_SIM_OK), "AERO_SIM_OK");
    assert_string_equal(aero_sim_status_name(AERO_SIM_BAD_STATE), "AERO_SIM_BAD_STATE");
    assert_string_equal(aero_sim_status_name(AERO_SIM_IO), "AERO_SIM_IO");
    assert_non_null(aero_sim_status_name((enum aero_sim_status)99));
    assert_non_null(aero_sim_status_name((enum aero_sim_status) - 1));
}

/* ---- Configure ---- */

static void test_configure_refuses_what_no_device_has(void **state)
{
    assert_string_equal(aero_sim_device_error(device), "");
    assert_int_equal(aero_sim_device_set_queue_size(device, 4, 8), AERO_SIM_NOT_FOUND);
    expect_error("queue 4");
    assert_int_equal(aero_sim_device_set_queue_size(device, 0, 24), AERO_SIM_BAD_ARGUMENT);
    expect_error("24");
    assert_int_equal(aero_sim_device_set_queue_size(device, 0, 0), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_queue_size(device, 0, 65535), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_backend(device, NULL, false), AERO_SIM_BAD_ARGUMENT);
    expect_error("path");
    assert_int_equal(aero_sim_device_set_backend(device, "", false), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_trace(device, 0), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_trace(device, 100), AERO_SIM_BAD_ARGUMENT);
    expect_error("100");
    assert_int_equal(aero_sim_device_set_trace(device, 1u << 21), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_trace(device, 1u << 20), AERO_SIM_OK);
    assert_string_equal(aero_sim_device_error(device), "");
}

static void test_configure_of_null_is_refused(void **state)
{
    assert_int_equal(aero_sim_device_set_queue_size(NULL, 0, 8), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_backend(NULL, "x", false), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_poll_mode(NULL, true), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_intx(NULL, NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_intx_line(NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_breach(NULL, NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_trace(NULL, 4), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_start(NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_stop(NULL), AERO_SIM_BAD_ARGUMENT);
    assert_string_equal(aero_sim_device_error(NULL), "");
    aero_sim_device_destroy(NULL);
}

static void ignore_level(void *context, bool asserted)
{
}

static void test_configured_intx_callback_can_be_asked_for(void **state)
{
    void *context = &memory;

    assert_null(aero_sim_device_intx(NULL, &context));
    assert_null(context);
    context = &memory;
    assert_null(aero_sim_device_intx(device, &context));
    assert_null(context);
    assert_int_equal(aero_sim_device_set_intx(device, ignore_level, &worker), AERO_SIM_OK);
    assert_ptr_equal(aero_sim_device_intx(device, &context), ignore_level);
    assert_ptr_equal(context, &worker);
    assert_int_equal(aero_sim_device_set_intx(device, NULL, NULL), AERO_SIM_OK);
    assert_null(aero_sim_device_intx(device, &context));
    assert_null(context);
}

static void test_configure_poll_mode_without_a_worker_is_refused(void **state)
{
    struct aero_sim_device *stepped;

    assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), memory, NULL, &stepped),
                     AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_poll_mode(stepped, true), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_sim_device_set_poll_mode(stepped, false), AERO_SIM_OK);
    aero_sim_device_destroy(stepped);
}

static void expect_no_configuration(void)
{
    assert_int_equal(aero_sim_device_set_queue_size(device, 0, 8), AERO_SIM_BAD_STATE);
    expect_error("loopback");
    assert_int_equal(aero_sim_device_set_backend(device, "x", false), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_poll_mode(device, true), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_intx(device, NULL, NULL), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_intx_line(device, NULL), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_breach(device, NULL, NULL), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_quirk(device, "lost-intx", NULL), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_set_trace(device, 4), AERO_SIM_BAD_STATE);
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_BAD_STATE);
}

static void test_configure_after_start_and_after_stop_is_refused(void **state)
{
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
    expect_no_configuration();
    aero_sim_pci_write(device, 0x04, 2, 0x0002);
    aero_sim_bar_write(device, 0x16, 2, 0);
    assert_int_equal(aero_sim_bar_read(device, 0x18, 2), 256); /* nothing of it happened */
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_OK);
    expect_no_configuration();
}

/* ---- Start and stop ---- */

static void test_stop_without_a_start_is_refused(void **state)
{
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_BAD_STATE);
    expect_error("not running");
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
    assert_string_equal(aero_sim_device_error(device), "");
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_BAD_STATE);
}

static void test_error_text_is_gone_after_a_call_that_was_not_refused(void **state)
{
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_set_trace(device, 4), AERO_SIM_BAD_STATE);
    assert_string_not_equal(aero_sim_device_error(device), "");
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_OK);
    assert_string_equal(aero_sim_device_error(device), "");
}

static void test_start_that_failed_can_be_tried_again(void **state)
{
    aero_sim_device_destroy(device);
    assert_int_equal(aero_sim_device_create(aero_sim_model_find("blk"), memory, worker, &device),
                     AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_IO);
    expect_error("image");
    assert_int_equal(aero_sim_device_set_backend(device, "no/such/image", false), AERO_SIM_OK);
    assert_int_equal(aero_sim_device_start(device), AERO_SIM_IO);
    expect_error("no/such/image");
    assert_int_equal(aero_sim_bar_read(device, 0x14, 1), 0xFF);
    assert_int_equal(aero_sim_device_stop(device), AERO_SIM_BAD_STATE);
    /* Nothing has started on this memory: it may still grow. */
    assert_int_equal(aero_sim_memory_map(memory, 0x1000000, 4096, NULL), AERO_SIM_OK);
}

static void test_bus_before_start_and_after_stop_answers_nothing(void **state)
{
    struct aero_sim_counters counters;

    for (uint32_t round = 0; round < 2; round++) {
        assert_int_equal(aero_sim_pci_read(device, 0x00, 4), UINT32_MAX);
        aero_sim_pci_write(device, 0x04, 2, 0x0006);
        assert_true(aero_sim_bar_read(device, 0x14, 8) == UINT64_MAX);
        aero_sim_bar_write(device, 0x1000, 2, 0);
        assert_false(aero_sim_device_intx_level(device));
        assert_false(aero_sim_device_step(device));
        aero_sim_device_counters(device, &counters);
        assert_int_equal(counters.doorbells, 0);
        assert_int_equal(counters.chains, 0);
        if (round == 0) {
            assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
            assert_int_equal(aero_sim_pci_read(device, 0x04, 2), 0); /* the write was nobody's */
            assert_int_equal(aero_sim_device_stop(device), AERO_SIM_OK);
        }
    }
}

static void test_destroy_works_in_every_state(void **state)
{
    for (uint32_t life = 0; life < 6; life++) {
        struct target *target;
        struct ring_driver_queue queue;

        aero_sim_device_destroy(device); /* created and no more; configured; started */
        device = NULL;
        assert_int_equal(aero_sim_device_create(aero_sim_model_find("loopback"), memory,
                                                life % 2 ? worker : NULL, &device),
                         0);
        if (life >= 2)
            assert_int_equal(aero_sim_device_set_backend(device, "a path to free", true), AERO_SIM_OK);
        if (life >= 4) {
            assert_int_equal(aero_sim_device_set_trace(device, 16), AERO_SIM_OK);
            assert_int_equal(aero_sim_device_start(device), AERO_SIM_OK);
        }
        /* With DRIVER_OK set and a chain waiting. */
        target = target_open(&(struct target_options){.stepped = life % 2 == 0});
        target_bring_up(target, &queue, 0);
        target_desc(&queue, 0, RING_DRIVER_HIGH_GPA, 8, 0, 0);
        target_offer(&queue, 0);
        ring_driver_kick(&queue);
        ring_driver_queue_destroy(&queue);
        target_close(target);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_models_are_found_by_index_and_by_name),
        TEST(test_model_that_breaks_a_rule_is_refused),
        TEST(rng_04_model_that_offers_event_idx_or_packed_is_refused),
        TEST(test_model_with_a_queue_size_that_is_none_is_refused),
        TEST(test_create_of_bad_arguments_is_refused),
        TEST(test_status_names_are_the_constants),
        TEST(test_configure_refuses_what_no_device_has),
        TEST(test_configure_of_null_is_refused),
        TEST(test_configured_intx_callback_can_be_asked_for),
        TEST(test_configure_poll_mode_without_a_worker_is_refused),
        TEST(test_configure_after_start_and_after_stop_is_refused),
        TEST(test_stop_without_a_start_is_refused),
        TEST(test_error_text_is_gone_after_a_call_that_was_not_refused),
        TEST(test_start_that_failed_can_be_tried_again),
        TEST(test_bus_before_start_and_after_stop_answers_nothing),
        TEST(test_destroy_works_in_every_state),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests_name("lifecycle", tests, NULL, NULL);
}

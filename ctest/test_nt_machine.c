/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine: options, virtual CPUs, slots, mappings and register access, PCI configuration space, counters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_fixture.h"
#include "os.h"
#include "test_program.h"

static struct nt_fixture machine;

static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.cpu_count = 2;
    plan.device_count = 2;
    plan.attach[1].line = 5;
    plan.attach[1].slot = 9;
    plan.attach[1].function = 2;
    return nt_fixture_open(&machine, &plan) ? 0 : -1;
}

static int tear_down(void **state)
{
    return nt_fixture_close(&machine) == 0 ? 0 : -1;
}

static PHYSICAL_ADDRESS physical(uint64_t gpa)
{
    PHYSICAL_ADDRESS address;

    address.QuadPart = (LONGLONG)gpa;
    return address;
}

static void test_create_with_bad_options_is_refused(void **state)
{
    struct aero_nt_options options = aero_nt_options_default();
    struct aero_nt *nt;

    options.cpu_count = 0;
    assert_int_equal(aero_nt_create(&options, &nt), AERO_SIM_BAD_ARGUMENT);
    options.cpu_count = AERO_NT_CPUS_MAX + 1;
    assert_int_equal(aero_nt_create(&options, &nt), AERO_SIM_BAD_ARGUMENT);
    options.cpu_count = 1;
    options.ram_low_bytes = 4095;
    assert_int_equal(aero_nt_create(&options, &nt), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_nt_create(NULL, NULL), AERO_SIM_BAD_ARGUMENT);
}

static void test_machine_without_ram_has_none(void **state)
{
    struct aero_nt_options options = aero_nt_options_default();
    struct aero_nt *nt;

    options.ram_low_bytes = 0;
    options.ram_high_bytes = 0;
    assert_int_equal(aero_nt_create(&options, &nt), AERO_SIM_OK);
    assert_null(aero_sim_memory_at(aero_nt_memory(nt), AERO_NT_RAM_LOW_GPA, 1));
    assert_int_equal(aero_nt_destroy(nt), 0);
}

static void test_cpu_is_one_thread_and_a_thread_one_cpu(void **state)
{
    struct aero_nt *second;

    assert_int_equal(KeGetCurrentProcessorNumber(), 0);
    assert_int_equal(KeNumberProcessors, 2);
    assert_false(aero_nt_cpu_enter(machine.nt, 1)); /* this thread is CPU 0 */
    assert_int_equal(aero_nt_create(NULL, &second), AERO_SIM_OK);
    assert_false(aero_nt_cpu_enter(second, 0));
    aero_nt_cpu_leave(machine.nt);
    assert_false(aero_nt_cpu_enter(machine.nt, 2));
    assert_true(aero_nt_cpu_enter(machine.nt, 1));
    assert_int_equal(KeGetCurrentProcessorNumber(), 1);
    aero_nt_cpu_leave(machine.nt);
    assert_true(aero_nt_cpu_enter(second, 0));
    aero_nt_cpu_leave(second);
    assert_int_equal(aero_nt_destroy(second), 0);
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
}

static _Atomic uint32_t entered;

static void enter_cpu_0(void *context)
{
    atomic_store(&entered, aero_nt_cpu_enter(machine.nt, 0));
}

static void test_cpu_taken_by_another_thread_is_refused(void **state)
{
    struct sim_os_thread *thread;

    atomic_store(&entered, 2);
    thread = sim_os_thread_start(enter_cpu_0, NULL, -1);
    assert_non_null(thread);
    sim_os_thread_join(thread);
    assert_int_equal(atomic_load(&entered), 0);
}

static void test_kernel_call_by_a_stray_thread_is_counted_and_harmless(void **state)
{
    uint32_t strays = aero_nt_stray_count();

    aero_nt_cpu_leave(machine.nt);
    assert_int_equal(READ_REGISTER_UCHAR(machine.bars[0] + 0x14), 0xFF);
    assert_null(ExAllocatePoolWithTag(NonPagedPool, 1, 1));
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
    assert_int_equal(aero_nt_stray_count(), strays + 3);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_cpu_left_at_raised_irql_is_reported(void **state)
{
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    aero_nt_cpu_leave(machine.nt);
    assert_true(nt_fixture_broke(&machine, "CPU-LEFT"));
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void test_machine_destroyed_with_a_cpu_entered_is_reported(void **state)
{
    struct aero_nt_options options = aero_nt_options_default();
    struct aero_nt *nt;

    options.quiet = true;
    aero_nt_cpu_leave(machine.nt);
    assert_int_equal(aero_nt_create(&options, &nt), AERO_SIM_OK);
    assert_true(aero_nt_cpu_enter(nt, 0));
    assert_int_equal(aero_nt_destroy(nt), 1);
    assert_true(aero_nt_cpu_enter(machine.nt, 0));
}

static void test_attach_gives_slot_address_and_vector(void **state)
{
    const struct aero_nt_device_info *first = &machine.infos[0];
    const struct aero_nt_device_info *second = &machine.infos[1];

    assert_int_equal(first->slot_number, 1);
    assert_int_equal(second->slot_number, 9 | 2 << 5);
    assert_true(first->bar0_gpa != second->bar0_gpa);
    assert_int_equal(first->interrupt_irql, 4);
    assert_int_equal(second->interrupt_irql, 9);
    assert_int_equal(second->interrupt_vector, 9 * 16);
    assert_int_equal(aero_sim_pci_read(machine.devices[0], 0x10, 4) & ~0xFu, first->bar0_gpa);
    assert_int_equal(aero_sim_pci_read(machine.devices[0], 0x04, 2) & 0x0406, 0x0006);
}

/* What a harness hands levels on to when it watches the line itself. */
static void test_attach_takes_each_devices_intx_callback(void **state)
{
    void *first = NULL, *second = NULL;

    assert_non_null(aero_sim_device_intx(machine.devices[0], &first));
    assert_ptr_equal(aero_sim_device_intx(machine.devices[0], &first),
                     aero_sim_device_intx(machine.devices[1], &second));
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
}

static void test_attach_where_it_cannot_go_is_refused(void **state)
{
    struct aero_nt_attach_options options = {0, 0, 9, 2}; /* a slot that is taken */
    struct aero_sim_device *device;

    assert_int_equal(aero_nt_attach(machine.nt, machine.devices[0], NULL, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(
        aero_sim_device_create(aero_sim_model_find("loopback"), aero_nt_memory(machine.nt), NULL, &device),
        AERO_SIM_OK);
    assert_int_equal(aero_nt_attach(machine.nt, device, &options, NULL), AERO_SIM_BAD_ARGUMENT);
    options.slot = 0;
    options.cpu = 1; /* line 0 goes to CPU 0 already */
    assert_int_equal(aero_nt_attach(machine.nt, device, &options, NULL), AERO_SIM_BAD_ARGUMENT);
    options.cpu = 2;
    assert_int_equal(aero_nt_attach(machine.nt, device, &options, NULL), AERO_SIM_BAD_ARGUMENT);
    options.cpu = 0;
    options.line = AERO_NT_LINES_MAX;
    assert_int_equal(aero_nt_attach(machine.nt, device, &options, NULL), AERO_SIM_BAD_ARGUMENT);
    assert_int_equal(aero_nt_enable(machine.nt, device), AERO_SIM_NOT_FOUND);
    assert_int_equal(aero_nt_detach(machine.nt, device), AERO_SIM_NOT_FOUND);
    aero_sim_device_destroy(device);
}

static void test_register_access_reaches_the_device_and_is_counted(void **state)
{
    UCHAR *bar = machine.bars[0];
    UCHAR bytes[4] = {1, 2, 3, 4};
    struct aero_nt_counters counters;

    WRITE_REGISTER_UCHAR(bar + 0x14, 1);
    assert_int_equal(READ_REGISTER_UCHAR(bar + 0x14), 1);
    assert_int_equal(READ_REGISTER_UCHAR(machine.bars[1] + 0x14), 0);
    WRITE_REGISTER_ULONG((ULONG *)(bar + 0x00), 1);
    assert_int_equal(READ_REGISTER_ULONG((ULONG *)(bar + 0x04)) & 1, 1); /* VERSION_1 */
    WRITE_REGISTER_USHORT((USHORT *)(bar + 0x16), 3);
    assert_int_equal(READ_REGISTER_USHORT((USHORT *)(bar + 0x16)), 3);
    READ_REGISTER_BUFFER_UCHAR(bar + 0x3000, bytes, 4);
    assert_int_equal(bytes[0] | bytes[1] | bytes[2] | bytes[3], 0);
    WRITE_REGISTER_BUFFER_UCHAR(bar + 0x3000, bytes, 4);
    aero_nt_counters(machine.nt, &counters);
    assert_int_equal(counters.register_reads, 8);
    assert_int_equal(counters.register_writes, 7);
    WRITE_REGISTER_UCHAR(bar + 0x14, 0);
}

static void test_register_access_outside_mappings_is_reported(void **state)
{
    assert_int_equal(READ_REGISTER_UCHAR(machine.bars[0] + AERO_SIM_BAR0_SIZE), 0xFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    assert_int_equal(READ_REGISTER_ULONG((ULONG *)(machine.bars[0] + AERO_SIM_BAR0_SIZE - 2)), 0xFFFFFFFFu);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    assert_int_equal(READ_REGISTER_USHORT((USHORT *)(machine.bars[0] - 2)), 0xFFFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    WRITE_REGISTER_UCHAR((UCHAR *)&machine, 0xFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    assert_non_null(machine.nt); /* and wrote nothing */
}

static void test_mapping_of_a_part_ends_where_it_was_asked_to(void **state)
{
    UCHAR *isr = MmMapIoSpace(physical(machine.infos[0].bar0_gpa + 0x2000), 1, MmNonCached);

    assert_non_null(isr);
    assert_int_equal(READ_REGISTER_UCHAR(isr), 0);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    assert_int_equal(READ_REGISTER_UCHAR(isr + 1), 0xFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    assert_int_equal(READ_REGISTER_UCHAR(isr - 1), 0xFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
    MmUnmapIoSpace(isr, 1);
    assert_int_equal(READ_REGISTER_UCHAR(isr), 0xFF);
    assert_true(nt_fixture_broke(&machine, "REGISTER-ADDRESS"));
}

static void test_mapping_of_no_bar_is_reported(void **state)
{
    assert_null(MmMapIoSpace(physical(AERO_NT_RAM_LOW_GPA), 4096, MmNonCached));
    assert_true(nt_fixture_broke(&machine, "IO-MAPPING"));
    assert_null(MmMapIoSpace(physical(machine.infos[0].bar0_gpa + 1), AERO_SIM_BAR0_SIZE, MmNonCached));
    assert_true(nt_fixture_broke(&machine, "IO-MAPPING"));
}

static void test_unmapping_what_is_not_mapped_is_reported(void **state)
{
    MmUnmapIoSpace(machine.bars[0], AERO_SIM_BAR0_SIZE - 1);
    assert_true(nt_fixture_broke(&machine, "IO-MAPPING"));
    MmUnmapIoSpace(&machine, 1);
    assert_true(nt_fixture_broke(&machine, "IO-MAPPING"));
}

static void test_mapping_left_is_a_leak(void **state)
{
    assert_non_null(MmMapIoSpace(physical(machine.infos[0].bar0_gpa), 16, MmNonCached));
    assert_int_equal(nt_fixture_close(&machine), 1);
}

static void test_mappings_run_out_without_a_breach(void **state)
{
    static UCHAR *mappings[AERO_NT_MAPPINGS_MAX];
    uint32_t count = 0;

    while (count < AERO_NT_MAPPINGS_MAX &&
           (mappings[count] = MmMapIoSpace(physical(machine.infos[0].bar0_gpa), 1, MmNonCached)) != NULL) {
        count++;
    }
    assert_int_equal(count, AERO_NT_MAPPINGS_MAX - machine.device_count);
    while (count > 0) {
        MmUnmapIoSpace(mappings[--count], 1);
    }
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_detached_device_reads_all_ones(void **state)
{
    aero_sim_device_stop(machine.devices[1]);
    assert_int_equal(aero_nt_detach(machine.nt, machine.devices[1]), AERO_SIM_OK);
    assert_int_equal(READ_REGISTER_UCHAR(machine.bars[1] + 0x14), 0xFF);
    WRITE_REGISTER_UCHAR(machine.bars[1] + 0x14, 1);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_pci_config_is_read_and_written_through_the_hal(void **state)
{
    const struct aero_nt_device_info *info = &machine.infos[1];
    USHORT ids[2];
    UCHAR bytes[7];
    UCHAR line = 0x42;

    assert_int_equal(HalGetBusDataByOffset(PCIConfiguration, 0, info->slot_number, ids, 0, sizeof ids),
                     sizeof ids);
    assert_int_equal(ids[0], 0x1AF4);
    assert_int_equal(ids[1], 0x107F);
    assert_int_equal(HalGetBusDataByOffset(PCIConfiguration, 0, info->slot_number, bytes, 1, sizeof bytes),
                     sizeof bytes);
    assert_int_equal(bytes[0], 0x1A); /* an odd offset: cut into aligned accesses */
    assert_int_equal(bytes[1], 0x7F);
    assert_int_equal(HalSetBusDataByOffset(PCIConfiguration, 0, info->slot_number, &line, 0x3C, 1), 1);
    assert_int_equal(aero_sim_pci_read(machine.devices[1], 0x3C, 1), 0x42);
}

static void test_pci_config_of_an_empty_slot_says_so(void **state)
{
    USHORT vendor = 0;

    assert_int_equal(HalGetBusDataByOffset(PCIConfiguration, 0, 31, &vendor, 0, sizeof vendor), 2);
    assert_int_equal(vendor, 0xFFFF);
    assert_int_equal(HalGetBusDataByOffset(PCIConfiguration, 1, 1, &vendor, 0, sizeof vendor), 0);
    assert_int_equal(HalSetBusDataByOffset(PCIConfiguration, 0, 31, &vendor, 0, sizeof vendor), 0);
}

static void test_breaches_beyond_those_kept_are_counted(void **state)
{
    uint32_t round;

    for (round = 0; round < AERO_NT_BREACHES_KEPT + 5; round++) {
        KeStallExecutionProcessor(51);
    }
    assert_int_equal(aero_nt_breach_count(machine.nt), AERO_NT_BREACHES_KEPT + 5);
    assert_non_null(aero_nt_breach_at(machine.nt, AERO_NT_BREACHES_KEPT - 1));
    assert_null(aero_nt_breach_at(machine.nt, AERO_NT_BREACHES_KEPT));
    aero_nt_breach_forget(machine.nt);
    assert_null(aero_nt_breach_at(machine.nt, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_with_bad_options_is_refused),
        cmocka_unit_test(test_machine_without_ram_has_none),
        TEST(test_cpu_is_one_thread_and_a_thread_one_cpu),
        TEST(test_cpu_taken_by_another_thread_is_refused),
        TEST(test_kernel_call_by_a_stray_thread_is_counted_and_harmless),
        TEST(test_cpu_left_at_raised_irql_is_reported),
        TEST(test_machine_destroyed_with_a_cpu_entered_is_reported),
        TEST(test_attach_gives_slot_address_and_vector),
        TEST(test_attach_takes_each_devices_intx_callback),
        TEST(test_attach_where_it_cannot_go_is_refused),
        TEST(test_register_access_reaches_the_device_and_is_counted),
        TEST(test_register_access_outside_mappings_is_reported),
        TEST(test_mapping_of_a_part_ends_where_it_was_asked_to),
        TEST(test_mapping_of_no_bar_is_reported),
        TEST(test_unmapping_what_is_not_mapped_is_reported),
        TEST(test_mapping_left_is_a_leak),
        TEST(test_mappings_run_out_without_a_breach),
        TEST(test_detached_device_reads_all_ones),
        TEST(test_pci_config_is_read_and_written_through_the_hal),
        TEST(test_pci_config_of_an_empty_slot_says_so),
        TEST(test_breaches_beyond_those_kept_are_counted),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Contiguous memory, pool, and what destroy finds of them; allocation failures on demand. One CPU, no device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nt_fixture.h"
#include "test_program.h"

#define TAG 0x6F726541u /* "Aero" */

static struct nt_fixture machine;

static int set_up(void **state)
{
    struct nt_fixture_plan plan = nt_fixture_plan_default();

    plan.options.ram_low_bytes = 8 * PAGE_SIZE;
    plan.options.ram_high_bytes = 8 * PAGE_SIZE;
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

static UCHAR *allocate(SIZE_T bytes, uint64_t highest)
{
    return MmAllocateContiguousMemory(bytes, physical(highest));
}

static uint64_t gpa_of(void *address)
{
    return (uint64_t)MmGetPhysicalAddress(address).QuadPart;
}

static void test_contiguous_addresses_are_deterministic_and_reach_devices(void **state)
{
    UCHAR *first = allocate(1, UINT64_MAX);
    UCHAR *second = allocate(PAGE_SIZE + 1, UINT64_MAX);

    assert_int_equal(gpa_of(first), AERO_NT_RAM_LOW_GPA);
    assert_int_equal(gpa_of(second), AERO_NT_RAM_LOW_GPA + PAGE_SIZE);
    assert_int_equal(gpa_of(second + PAGE_SIZE + 5), AERO_NT_RAM_LOW_GPA + 2 * PAGE_SIZE + 5);
    assert_ptr_equal(aero_sim_memory_at(aero_nt_memory(machine.nt), gpa_of(second), 2 * PAGE_SIZE), second);
    assert_int_equal(second[PAGE_SIZE], 0xA5); /* nobody gets zeros for nothing */
    MmFreeContiguousMemory(first);
    assert_ptr_equal(allocate(PAGE_SIZE, UINT64_MAX), first); /* first fit */
    MmFreeContiguousMemory(first);
    MmFreeContiguousMemorySpecifyCache(second, PAGE_SIZE + 1, MmCached);
    assert_int_equal(aero_nt_live_count(machine.nt), 0);
}

static void test_contiguous_guest_address_is_never_the_pointer(void **state)
{
    UCHAR *memory = allocate(PAGE_SIZE, UINT64_MAX);

    assert_true(gpa_of(memory) != (uintptr_t)memory);
    MmFreeContiguousMemory(memory);
}

static void test_contiguous_highest_address_is_honoured(void **state)
{
    UCHAR *low = allocate(8 * PAGE_SIZE, 0xFFFFFFFFu);
    UCHAR *high;

    assert_int_equal(gpa_of(low), AERO_NT_RAM_LOW_GPA);
    assert_null(allocate(PAGE_SIZE, 0xFFFFFFFFu));
    high = allocate(PAGE_SIZE, UINT64_MAX);
    assert_int_equal(gpa_of(high), AERO_NT_RAM_HIGH_GPA);
    MmFreeContiguousMemory(low);
    assert_null(allocate(PAGE_SIZE, AERO_NT_RAM_LOW_GPA + PAGE_SIZE - 2)); /* the last byte counts */
    low = allocate(PAGE_SIZE, AERO_NT_RAM_LOW_GPA + PAGE_SIZE - 1);
    assert_non_null(low);
    MmFreeContiguousMemory(low);
    MmFreeContiguousMemory(high);
}

static void test_contiguous_lowest_address_and_boundary_are_honoured(void **state)
{
    UCHAR *first = allocate(PAGE_SIZE, UINT64_MAX);
    UCHAR *bounded = MmAllocateContiguousMemorySpecifyCache(2 * PAGE_SIZE, physical(0), physical(UINT64_MAX),
                                                            physical(2 * PAGE_SIZE), MmCached);
    UCHAR *high = MmAllocateContiguousMemorySpecifyCache(PAGE_SIZE, physical(UINT64_C(0x100000001)),
                                                         physical(UINT64_MAX), physical(0), MmCached);

    assert_int_equal(gpa_of(bounded), AERO_NT_RAM_LOW_GPA + 2 * PAGE_SIZE);
    assert_int_equal(gpa_of(high), AERO_NT_RAM_HIGH_GPA + PAGE_SIZE);
    MmFreeContiguousMemory(first);
    MmFreeContiguousMemory(bounded);
    MmFreeContiguousMemory(high);
}

static void test_contiguous_boundary_smaller_than_the_run_is_reported(void **state)
{
    assert_null(MmAllocateContiguousMemorySpecifyCache(2 * PAGE_SIZE, physical(0), physical(UINT64_MAX),
                                                       physical(PAGE_SIZE), MmCached));
    assert_true(nt_fixture_broke(&machine, "ARGUMENT"));
}

static void test_contiguous_exhausted_answers_null(void **state)
{
    assert_null(allocate(9 * PAGE_SIZE, UINT64_MAX));
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_contiguous_at_raised_irql_is_reported(void **state)
{
    UCHAR *memory;
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    memory = allocate(PAGE_SIZE, UINT64_MAX);
    KeLowerIrql(old);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    MmFreeContiguousMemory(memory);
}

static void test_contiguous_freed_twice_is_reported(void **state)
{
    UCHAR *memory = allocate(PAGE_SIZE, UINT64_MAX);

    MmFreeContiguousMemory(memory);
    MmFreeContiguousMemory(memory);
    assert_non_null(strstr(aero_nt_breach_at(machine.nt, 0)->text, "freed already"));
    assert_true(nt_fixture_broke(&machine, "CONTIGUOUS-FREE"));
}

static void test_contiguous_freed_by_inner_pointer_or_wrong_size_is_reported(void **state)
{
    UCHAR *memory = allocate(2 * PAGE_SIZE, UINT64_MAX);

    MmFreeContiguousMemory(memory + PAGE_SIZE);
    assert_true(nt_fixture_broke(&machine, "CONTIGUOUS-FREE"));
    MmFreeContiguousMemorySpecifyCache(memory, PAGE_SIZE, MmCached);
    assert_true(nt_fixture_broke(&machine, "CONTIGUOUS-FREE"));
    MmFreeContiguousMemory(memory);
}

static void test_physical_address_of_pool_stack_or_freed_memory_is_reported(void **state)
{
    UCHAR *memory = allocate(PAGE_SIZE, UINT64_MAX);
    UCHAR on_stack;

    assert_int_equal(gpa_of(&on_stack), 0);
    assert_true(nt_fixture_broke(&machine, "PHYSICAL-ADDRESS"));
    MmFreeContiguousMemory(memory);
    assert_int_equal(gpa_of(memory), 0);
    assert_true(nt_fixture_broke(&machine, "PHYSICAL-ADDRESS"));
}

static void test_contiguous_leak_is_reported_by_destroy(void **state)
{
    assert_non_null(allocate(PAGE_SIZE, UINT64_MAX));
    assert_int_equal(aero_nt_live_count(machine.nt), 1);
    assert_int_equal(nt_fixture_close(&machine), 1);
}

static void test_pool_allocated_is_filled_and_freed(void **state)
{
    UCHAR *block = ExAllocatePoolWithTag(NonPagedPool, 100, TAG);

    assert_non_null(block);
    assert_int_equal(block[0], 0xA5);
    assert_int_equal(block[99], 0xA5);
    assert_int_equal((uintptr_t)block % (2 * sizeof(PVOID)), 0); /* 8 on x86, as in Windows */
    ExFreePoolWithTag(block, TAG);
    assert_int_equal(aero_nt_live_count(machine.nt), 0);
}

static void test_pool_zero_tag_is_reported(void **state)
{
    PVOID block = ExAllocatePoolWithTag(NonPagedPool, 1, 0);

    assert_true(nt_fixture_broke(&machine, "POOL-TAG"));
    ExFreePoolWithTag(block, 0);
}

static void test_pool_freed_with_other_tag_is_reported(void **state)
{
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 1, TAG), TAG + 1);
    assert_true(nt_fixture_broke(&machine, "POOL-TAG"));
}

static void test_pool_freed_twice_is_reported(void **state)
{
    PVOID block = ExAllocatePoolWithTag(NonPagedPool, 1, TAG);

    ExFreePoolWithTag(block, TAG);
    ExFreePoolWithTag(block, TAG);
    assert_non_null(strstr(aero_nt_breach_at(machine.nt, 0)->text, "freed already"));
    assert_true(nt_fixture_broke(&machine, "POOL-FREE"));
}

static void test_pool_freed_by_wrong_pointer_is_reported(void **state)
{
    UCHAR on_stack[64];

    ExFreePoolWithTag(on_stack, TAG);
    assert_true(nt_fixture_broke(&machine, "POOL-FREE"));
}

static void test_pool_overrun_is_reported(void **state)
{
    UCHAR *block = ExAllocatePoolWithTag(NonPagedPool, 10, TAG);

    block[10] = 0;
    ExFreePoolWithTag(block, TAG);
    assert_true(nt_fixture_broke(&machine, "POOL-OVERRUN"));
}

static void test_pool_at_dispatch_level_is_allowed_for_nonpaged_alone(void **state)
{
    PVOID block;
    KIRQL old;

    KeRaiseIrql(DISPATCH_LEVEL, &old);
    block = ExAllocatePoolWithTag(NonPagedPool, 1, TAG);
    ExFreePoolWithTag(block, TAG);
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
    block = ExAllocatePoolWithTag(PagedPool, 1, TAG);
    assert_true(nt_fixture_broke(&machine, "IRQL"));
    KeLowerIrql(old);
    ExFreePoolWithTag(block, TAG);
}

static void test_pool_leak_is_reported_by_destroy(void **state)
{
    assert_non_null(ExAllocatePoolWithTag(NonPagedPool, 1, TAG));
    assert_non_null(ExAllocatePoolWithTag(PagedPool, 2, TAG));
    assert_int_equal(nt_fixture_close(&machine), 2);
}

static void test_allocation_that_is_to_fail_fails_once(void **state)
{
    PVOID blocks[3];
    uint32_t before = aero_nt_allocation_count(machine.nt);
    uint32_t index;

    aero_nt_fail_allocation_after(machine.nt, 1);
    blocks[0] = ExAllocatePoolWithTag(NonPagedPool, 1, TAG);
    blocks[1] = allocate(PAGE_SIZE, UINT64_MAX);
    blocks[2] = ExAllocatePoolWithTag(NonPagedPool, 1, TAG);
    assert_int_equal(aero_nt_allocation_count(machine.nt) - before, 3);
    assert_non_null(blocks[0]);
    assert_null(blocks[1]);
    assert_non_null(blocks[2]);
    for (index = 0; index < 3; index += 2) {
        ExFreePoolWithTag(blocks[index], TAG);
    }
    aero_nt_fail_allocation_after(machine.nt, 0);
    aero_nt_fail_allocation_never(machine.nt);
    MmFreeContiguousMemory(allocate(PAGE_SIZE, UINT64_MAX));
    assert_int_equal(aero_nt_breach_count(machine.nt), 0);
}

static void test_rtl_compare_memory_counts_equal_bytes(void **state)
{
    assert_int_equal(RtlCompareMemory("abcd", "abxd", 4), 2);
    assert_int_equal(RtlCompareMemory("abcd", "abcd", 4), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_contiguous_addresses_are_deterministic_and_reach_devices),
        TEST(test_contiguous_guest_address_is_never_the_pointer),
        TEST(test_contiguous_highest_address_is_honoured),
        TEST(test_contiguous_lowest_address_and_boundary_are_honoured),
        TEST(test_contiguous_boundary_smaller_than_the_run_is_reported),
        TEST(test_contiguous_exhausted_answers_null),
        TEST(test_contiguous_at_raised_irql_is_reported),
        TEST(test_contiguous_freed_twice_is_reported),
        TEST(test_contiguous_freed_by_inner_pointer_or_wrong_size_is_reported),
        TEST(test_physical_address_of_pool_stack_or_freed_memory_is_reported),
        TEST(test_contiguous_leak_is_reported_by_destroy),
        TEST(test_pool_allocated_is_filled_and_freed),
        TEST(test_pool_zero_tag_is_reported),
        TEST(test_pool_freed_with_other_tag_is_reported),
        TEST(test_pool_freed_twice_is_reported),
        TEST(test_pool_freed_by_wrong_pointer_is_reported),
        TEST(test_pool_overrun_is_reported),
        TEST(test_pool_at_dispatch_level_is_allowed_for_nonpaged_alone),
        TEST(test_pool_leak_is_reported_by_destroy),
        TEST(test_allocation_that_is_to_fail_fails_once),
        TEST(test_rtl_compare_memory_counts_equal_bytes),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

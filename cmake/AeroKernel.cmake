# SPDX-License-Identifier: MIT OR Apache-2.0
#
# aero_kernel_objects(NAME SOURCES x.c... [OPTIONS o...])
#     an object library, compiled as drivers are: C90, the DDK's headers behind the bridge in ctest/kernel, no
#     floating-point or vector instruction.
# aero_kernel_image(NAME OBJECTS name...)
#     NAME.sys, linked from such libraries, for Windows 7's kernel. One of them has DriverEntry.
#
# For presets kernel64 and kernel32 alone: a kernel image needs none of the libraries that programs get.

math(EXPR AERO_KERNEL_BITS "8 * ${CMAKE_SIZEOF_VOID_P}")

# Where the compiler looks first, ddk is a directory beneath; but its headers name each other without it.
unset(AERO_DDK_INCLUDE_DIR CACHE)
find_path(AERO_DDK_INCLUDE_DIR wdm.h PATH_SUFFIXES ddk PATHS ${CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES})
mark_as_advanced(AERO_DDK_INCLUDE_DIR)
if(NOT AERO_DDK_INCLUDE_DIR)
    message(FATAL_ERROR "MinGW-w64's DDK headers aren't here: install what provides ddk/wdm.h"
        " (Debian: mingw-w64-x86-64-dev, mingw-w64-i686-dev).")
endif()

# No library is linked unasked: an unresolved symbol shall show.
set(CMAKE_C_STANDARD_LIBRARIES "")

set(AERO_KERNEL_OPTIONS
    # A kernel has no library to call into for what a builtin stands for, memset and its like excepted.
    -ffreestanding -fno-stack-protector
    # The floating-point state belongs to whoever was interrupted.
    -mgeneral-regs-only
    # Windows' inlines read fixed addresses (shared data, the processor's block), which gcc 12 takes for null pointers.
    -Wno-array-bounds)
if(AERO_KERNEL_BITS EQUAL 32)
    # Its stack is aligned to 4; and nothing on it wants more without vectors.
    list(APPEND AERO_KERNEL_OPTIONS -mno-mmx -mno-sse -mno-80387 -mpreferred-stack-boundary=2)
    set(AERO_KERNEL_ENTRY _DriverEntry@8)
    set(AERO_KERNEL_PROCESSOR x86)
else()
    set(AERO_KERNEL_ENTRY DriverEntry)
    set(AERO_KERNEL_PROCESSOR x64)
endif()

# No time stamp: the same sources give the same image.
set(AERO_KERNEL_LINK_OPTIONS -nostdlib -Wl,--subsystem,native:6.1 -Wl,--entry,${AERO_KERNEL_ENTRY}
    -Wl,--major-os-version,6 -Wl,--minor-os-version,1 -Wl,--image-base,0x10000 -Wl,--wdmdriver
    -Wl,--exclude-all-symbols -Wl,--no-insert-timestamp)

function(aero_kernel_objects name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;OPTIONS")
    add_library(${name} OBJECT ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES C_STANDARD 90 C_EXTENSIONS OFF POSITION_INDEPENDENT_CODE OFF)
    aero_warnings(${name} -pedantic -Wno-long-long -Wdeclaration-after-statement)
    target_compile_options(${name} PRIVATE ${AERO_KERNEL_OPTIONS} ${arg_OPTIONS})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/transport/include)
    target_include_directories(${name} SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/ctest/kernel ${AERO_DDK_INCLUDE_DIR})
endfunction()

function(aero_kernel_image name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "OBJECTS")
    set(sources)
    foreach(objects IN LISTS arg_OBJECTS)
        list(APPEND sources $<TARGET_OBJECTS:${objects}>)
    endforeach()
    add_library(${name} MODULE ${sources})
    set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX .sys LINKER_LANGUAGE C)
    target_link_options(${name} PRIVATE ${AERO_KERNEL_LINK_OPTIONS})
    target_link_libraries(${name} PRIVATE ntoskrnl hal)
endfunction()

# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Target aero_build_info: generated/aero_build_info.h, which says what was built, from what and how.
# Asked at build time, since a commit needs no new configure; rewritten only when it says something new.

set(AERO_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
string(TOUPPER "${CMAKE_BUILD_TYPE}" aero_build_type_upper)
string(STRIP "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${aero_build_type_upper}}" aero_build_flags)
find_package(Git QUIET)

add_custom_target(aero_build_info_header
    COMMAND ${CMAKE_COMMAND}
        "-DGIT=${GIT_EXECUTABLE}"
        "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}"
        "-DTEMPLATE=${PROJECT_SOURCE_DIR}/cmake/aero_build_info.h.in"
        "-DOUTPUT=${AERO_GENERATED_DIR}/aero_build_info.h"
        "-DAERO_BUILD_VERSION=${PROJECT_VERSION}"
        "-DAERO_BUILD_COMPILER=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}"
        "-DAERO_BUILD_TARGET=${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}"
        "-DAERO_BUILD_TYPE=${CMAKE_BUILD_TYPE}"
        "-DAERO_BUILD_FLAGS=${aero_build_flags}"
        -P ${PROJECT_SOURCE_DIR}/cmake/write_build_info.cmake
    BYPRODUCTS ${AERO_GENERATED_DIR}/aero_build_info.h
    COMMENT "Writing aero_build_info.h"
    VERBATIM)

add_library(aero_build_info INTERFACE)
target_include_directories(aero_build_info INTERFACE ${AERO_GENERATED_DIR})
add_dependencies(aero_build_info aero_build_info_header)

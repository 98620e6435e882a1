# SPDX-License-Identifier: MIT OR Apache-2.0
#
# aero_header_alone(STANDARD c11 HEADERS h... [INCLUDES dir...] [SYSTEM_INCLUDES dir...])
# For each header a test that it compiles with nothing before it, and twice, so that its guard is tried as well.

function(aero_header_alone)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "STANDARD" "HEADERS;INCLUDES;SYSTEM_INCLUDES")
    set(flags -std=${arg_STANDARD} -pedantic -Wall -Wextra -Wundef -Wstrict-prototypes -Werror)
    if(arg_STANDARD STREQUAL "c90")
        # 64-bit integers: not in C90, but in every compiler that builds drivers.
        list(APPEND flags -Wno-long-long)
    endif()
    separate_arguments(toolchain_flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
    foreach(dir IN LISTS arg_INCLUDES)
        list(APPEND flags -I${dir})
    endforeach()
    foreach(dir IN LISTS arg_SYSTEM_INCLUDES)
        list(APPEND flags -isystem ${dir})
    endforeach()
    foreach(header IN LISTS arg_HEADERS)
        get_filename_component(stem ${header} NAME_WE)
        set(name header_alone_${stem}_${arg_STANDARD})
        set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
        file(CONFIGURE OUTPUT ${source} CONTENT
            "#include \"@header@\"\n#include \"@header@\"\ntypedef int translation_unit_not_empty;\n" @ONLY)
        add_test(NAME ${name} COMMAND ${CMAKE_C_COMPILER} ${toolchain_flags} ${flags} -fsyntax-only ${source})
        set_tests_properties(${name} PROPERTIES TIMEOUT 60 LABELS header)
    endforeach()
endfunction()

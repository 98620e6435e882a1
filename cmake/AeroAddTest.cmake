# SPDX-License-Identifier: MIT OR Apache-2.0
#
# aero_add_test(NAME test_x SOURCES x.c... [LABELS l...] [TIMEOUT seconds] [RUN_SERIAL] [LIBRARIES t...])
#     a CMocka program and its ctest entry. Exit status 77 means skipped.
# aero_add_command_test(NAME n COMMAND target args... [LABELS l...] [TIMEOUT seconds] [RUN_SERIAL])
#     a ctest entry for a program that is built anyway.
#
# Wine needs no care here: the command is a target, so ctest puts CMAKE_CROSSCOMPILING_EMULATOR before it.
# RUN_SERIAL is for programs that spin on a clock or on another thread.

function(aero_set_test_properties name labels timeout serial)
    if(NOT timeout)
        set(timeout 60)
    endif()
    math(EXPR timeout "${timeout} * ${AERO_TEST_TIMEOUT_FACTOR}")
    set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} SKIP_RETURN_CODE 77 LABELS "${labels}")
    if(serial)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()

function(aero_add_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "RUN_SERIAL" "NAME;TIMEOUT" "SOURCES;LABELS;LIBRARIES")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_SOURCES)
        message(FATAL_ERROR "aero_add_test: needs NAME and SOURCES; not understood: \"${arg_UNPARSED_ARGUMENTS}\"")
    endif()
    add_executable(${arg_NAME} ${arg_SOURCES})
    # CMocka hands every test a state that few of them want.
    aero_warnings(${arg_NAME} -Wno-unused-parameter)
    target_include_directories(${arg_NAME} PRIVATE ${PROJECT_SOURCE_DIR}/simulator/src)
    target_link_libraries(${arg_NAME} PRIVATE
        aero_test_support ${arg_LIBRARIES} aero_transport aero_nt aero_sim aero_build_info aero_cmocka)
    add_test(NAME ${arg_NAME} COMMAND ${arg_NAME})
    aero_set_test_properties(${arg_NAME} "${arg_LABELS}" "${arg_TIMEOUT}" "${arg_RUN_SERIAL}")
endfunction()

function(aero_add_command_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "RUN_SERIAL" "NAME;TIMEOUT" "COMMAND;LABELS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_COMMAND)
        message(FATAL_ERROR
            "aero_add_command_test: needs NAME and COMMAND; not understood: \"${arg_UNPARSED_ARGUMENTS}\"")
    endif()
    add_test(NAME ${arg_NAME} COMMAND ${arg_COMMAND})
    aero_set_test_properties(${arg_NAME} "${arg_LABELS}" "${arg_TIMEOUT}" "${arg_RUN_SERIAL}")
endfunction()

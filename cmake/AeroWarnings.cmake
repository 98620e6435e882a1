# SPDX-License-Identifier: MIT OR Apache-2.0
#
# aero_warnings(TARGET [option...]): the project's warnings, which all the compilers know, and then the target's own
# options: after them, so that a -Wno-something among these has the last word.

set(AERO_WARNINGS
    -Wall -Wextra -Wshadow -Wundef -Wvla -Wpointer-arith -Wwrite-strings -Wformat=2 -Wno-format-nonliteral
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wmissing-declarations)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND AERO_WARNINGS -Wlogical-op -Wduplicated-cond)
endif()
if(AERO_WERROR)
    list(APPEND AERO_WARNINGS -Werror)
endif()

function(aero_warnings target)
    target_compile_options(${target} PRIVATE ${AERO_WARNINGS} ${ARGN})
endfunction()

# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Target aero_cmocka. Searched by hand, since CMocka's own package file only knows the shared library.
# For Windows it is the static one that cmake/mingw-cmocka builds, for 32-bit Linux the one that cmake/debian-i386
# fetches; AERO_CMOCKA_PREFIX says where.

unset(AERO_CMOCKA_INCLUDE_DIR CACHE)
unset(AERO_CMOCKA_LIBRARY CACHE)
set(where)
if(AERO_CMOCKA_PREFIX OR CMAKE_CROSSCOMPILING)
    # Never the machine's own: it would be found, and wouldn't fit.
    set(where PATHS "${AERO_CMOCKA_PREFIX}" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
endif()
find_path(AERO_CMOCKA_INCLUDE_DIR cmocka.h PATH_SUFFIXES include ${where})
find_library(AERO_CMOCKA_LIBRARY NAMES cmocka-static cmocka PATH_SUFFIXES lib lib/i386-linux-gnu ${where})
mark_as_advanced(AERO_CMOCKA_INCLUDE_DIR AERO_CMOCKA_LIBRARY)

if(NOT AERO_CMOCKA_INCLUDE_DIR OR NOT AERO_CMOCKA_LIBRARY)
    if(MINGW)
        math(EXPR bits "8 * ${CMAKE_SIZEOF_VOID_P}")
        message(FATAL_ERROR "No CMocka for MinGW-w64. \"ctest/run mingw${bits}\" builds one; or set the environment"
            " variable AERO_MINGW${bits}_CMOCKA to what \"cmake/mingw-cmocka ${CMAKE_SYSTEM_PROCESSOR}\" prints.")
    elseif(CMAKE_SIZEOF_VOID_P EQUAL 4)
        message(FATAL_ERROR "No CMocka for i386. \"ctest/run m32\" fetches one; or set the environment variable"
            " AERO_I386_CMOCKA to what \"cmake/debian-i386 cmocka\" prints.")
    endif()
    message(FATAL_ERROR "No CMocka: install libcmocka-dev, run \"ctest/run\", which does so, or set AERO_TESTS=OFF.")
endif()

add_library(aero_cmocka INTERFACE)
target_include_directories(aero_cmocka SYSTEM INTERFACE ${AERO_CMOCKA_INCLUDE_DIR})
target_link_libraries(aero_cmocka INTERFACE ${AERO_CMOCKA_LIBRARY})

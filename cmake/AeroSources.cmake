# SPDX-License-Identifier: MIT OR Apache-2.0
#
# aero_host_sources(VARIABLE): takes the other host's files out of a list of sources: x_linux.c and x_windows.c are two
# halves of one floor.
# aero_add_library(NAME sources...): a static library of this host's sources; warnings are the caller's to choose.
# aero_public_headers(NAME FLOOR): the library's users see its include/, and once installed a directory of that floor's
# own: so nobody finds ntddk.h who hasn't asked for it.

function(aero_host_sources variable)
    if(WIN32)
        list(FILTER ${variable} EXCLUDE REGEX "_linux\\.c$")
    else()
        list(FILTER ${variable} EXCLUDE REGEX "_windows\\.c$")
    endif()
    set(${variable} ${${variable}} PARENT_SCOPE)
endfunction()

function(aero_add_library name)
    set(sources ${ARGN})
    aero_host_sources(sources)
    add_library(${name} STATIC ${sources})
endfunction()

function(aero_public_headers name floor)
    set(installed ${CMAKE_INSTALL_INCLUDEDIR}/aero-virtio/${floor})
    target_include_directories(${name} PUBLIC
        $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${installed}>)
    install(DIRECTORY include/ DESTINATION ${installed} FILES_MATCHING PATTERN "*.h")
endfunction()

# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What toolchain-mingw64.cmake and toolchain-mingw32.cmake share: AERO_MINGW is the processor as MinGW-w64 names it.
# Programs link statically, so that one file runs anywhere.

set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR ${AERO_MINGW})
set(CMAKE_C_COMPILER ${AERO_MINGW}-w64-mingw32-gcc)
set(CMAKE_RC_COMPILER ${AERO_MINGW}-w64-mingw32-windres)

# 0x0602: WaitOnAddress is Windows 8's. This is the host of the simulator; drivers are bound to Windows 7 elsewhere.
# ANSI stdio: msvcrt's printf doesn't know %zu, and prints long double as something else.
set(CMAKE_C_FLAGS_INIT "-D_WIN32_WINNT=0x0602 -D__USE_MINGW_ANSI_STDIO=1")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# Where the user says that Windows packages lie counts as well: CMake would look for it inside the first root only.
set(CMAKE_FIND_ROOT_PATH /usr/${AERO_MINGW}-w64-mingw32 ${CMAKE_PREFIX_PATH})

set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/wine-run)

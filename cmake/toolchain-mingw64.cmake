# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Windows x64 through MinGW-w64.

set(AERO_MINGW x86_64)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-mingw.cmake)

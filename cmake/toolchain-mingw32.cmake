# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Windows x86 through MinGW-w64.

set(AERO_MINGW i686)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-mingw.cmake)

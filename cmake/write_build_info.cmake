# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Run by target aero_build_info_header (cmake -P). A tree without git still builds: its commit is "unknown".

set(AERO_BUILD_COMMIT unknown)
if(GIT AND EXISTS "${SOURCE_DIR}/.git")
    execute_process(COMMAND ${GIT} describe --always --dirty
        WORKING_DIRECTORY ${SOURCE_DIR}
        OUTPUT_VARIABLE described ERROR_QUIET RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT failed)
        set(AERO_BUILD_COMMIT "${described}")
    endif()
endif()
configure_file(${TEMPLATE} ${OUTPUT} @ONLY ESCAPE_QUOTES)

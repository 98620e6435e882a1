# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What "cmake --install" installs: libraries, headers, aero-bench, a CMake package and pkg-config files, the transport's
# sources, documents and an example. Nothing of it names the build tree or the prefix, so the installed tree can be
# moved. ctest/package lists every file.

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/AeroVirtio)
set(doc_dir ${CMAKE_INSTALL_DATAROOTDIR}/doc/aero-virtio)
set(transport_dir ${CMAKE_INSTALL_DATAROOTDIR}/aero-virtio/transport)
set(package_build_dir ${CMAKE_BINARY_DIR}/package)

# ---- Libraries, headers (see aero_public_headers), programs ----

set_target_properties(aero_transport PROPERTIES EXPORT_NAME transport)
set_target_properties(aero_nt PROPERTIES EXPORT_NAME nt)
set_target_properties(aero_sim PROPERTIES EXPORT_NAME simulator)
# The names that an outside project uses, where it has this one as a subdirectory.
add_library(aero::transport ALIAS aero_transport)
add_library(aero::nt ALIAS aero_nt)
add_library(aero::simulator ALIAS aero_sim)

install(TARGETS aero_transport aero_nt aero_sim EXPORT AeroVirtioTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS aero-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# A kernel driver compiles the transport itself, against the real DDK; and its sources are all that it needs.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/transport/ DESTINATION ${transport_dir} FILES_MATCHING PATTERN "*.[ch]")

# ---- CMake package ----

include(CMakePackageConfigHelpers)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/AeroVirtioConfig.cmake.in
    ${package_build_dir}/AeroVirtioConfig.cmake INSTALL_DESTINATION ${package_dir} PATH_VARS transport_dir)
# While the first number is 0, the second one changes with the interface.
write_basic_package_version_file(${package_build_dir}/AeroVirtioConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT AeroVirtioTargets NAMESPACE aero:: DESTINATION ${package_dir})
install(FILES ${package_build_dir}/AeroVirtioConfig.cmake ${package_build_dir}/AeroVirtioConfigVersion.cmake
    DESTINATION ${package_dir})

# ---- pkg-config ----

# Absolute directories are as their author wants them; the usual relative ones are found from where the file lies.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
endif()
set(pc_libdir "\${prefix}")
cmake_path(APPEND pc_libdir ${CMAKE_INSTALL_LIBDIR})
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})

# Libs and no Libs.private: the libraries are static only, and need all of it whatever pkg-config is asked.
function(aero_pkg_config pc_name floor library requires system description)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/aero.pc.in ${package_build_dir}/${pc_name}.pc @ONLY)
    install(FILES ${package_build_dir}/${pc_name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
if(WIN32)
    set(system_libraries -lsynchronization)
else()
    set(system_libraries -pthread)
endif()
aero_pkg_config(aero-transport transport aero_transport aero-nt ""
    "Aero's virtio-pci transport and split ring, compiled for user mode")
aero_pkg_config(aero-nt nt aero_nt aero-simulator "" "The Windows kernel that Aero's drivers see in user mode: ntddk.h")
aero_pkg_config(aero-simulator simulator aero_sim "" ${system_libraries}
    "Simulator of AERO-W7-VIRTIO contract-v1 devices")

# ---- Documents and examples ----

file(GLOB documents CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
file(GLOB examples CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.[ch])
set(outside ${PROJECT_SOURCE_DIR}/ctest/outside)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE-MIT ${PROJECT_SOURCE_DIR}/LICENSE-APACHE
    DESTINATION ${doc_dir})
install(FILES ${documents} DESTINATION ${doc_dir}/docs)
install(FILES ${examples} DESTINATION ${doc_dir}/examples)
install(FILES ${outside}/CMakeLists.txt ${outside}/device.c DESTINATION ${doc_dir}/examples/echo)
install(FILES ${PROJECT_SOURCE_DIR}/ctest/test_readme_driver.c DESTINATION ${doc_dir}/examples/echo RENAME driver.c)

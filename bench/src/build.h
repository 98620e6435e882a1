/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How this program was compiled, as far as that bears on its figures.
 */
#ifndef BENCH_BUILD_H
#define BENCH_BUILD_H

#include "aero_build_info.h"

#ifdef __OPTIMIZE__
#define BUILD_OPTIMIZED 1
#else
#define BUILD_OPTIMIZED 0
#endif

/* gcc has macros for its sanitizers, clang a question. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUILD_SANITIZER "ThreadSanitizer"
#elif __has_feature(address_sanitizer)
#define BUILD_SANITIZER "AddressSanitizer"
#endif
#endif
#if !defined(BUILD_SANITIZER) && defined(__SANITIZE_THREAD__)
#define BUILD_SANITIZER "ThreadSanitizer"
#elif !defined(BUILD_SANITIZER) && defined(__SANITIZE_ADDRESS__)
#define BUILD_SANITIZER "AddressSanitizer"
#endif
#ifndef BUILD_SANITIZER
#define BUILD_SANITIZER ""
#endif

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Header, table and progress: see table.h. Lines are at most 110 columns wide.
 */
#include "table.h"

#include "build.h"
#include "machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* ---- Figures ---- */

/* Four significant digits below 1000, whole nanoseconds above. */
void table_format_ns(double ns, char *text, size_t bytes)
{
    int decimals = ns < 9.995 ? 2 : ns < 999.95 ? 1 : 0;

    snprintf(text, bytes, "%.*f", decimals, ns);
}

void table_format_rate(double per_second, char *text, size_t bytes)
{
    static const char units[] = {' ', 'k', 'M', 'G'};
    size_t unit = 0;

    if (per_second < 0) {
        snprintf(text, bytes, "-");
        return;
    }
    while (per_second >= 999.5 && unit < 3) {
        per_second /= 1000;
        unit++;
    }
    snprintf(text, bytes, "%.*f %c",
             per_second < 9.995   ? 2
             : per_second < 99.95 ? 1
                                  : 0,
             per_second, units[unit]);
}

void table_format_ratio(double ratio, char *text, size_t bytes)
{
    if (ratio < 0)
        snprintf(text, bytes, "-");
    else if (ratio < 1e6 && ratio == (double)(long)ratio)
        snprintf(text, bytes, "%.0f", ratio);
    else
        snprintf(text, bytes, ratio >= 0.9995 ? "%.3f" : "%.4f", ratio);
}

/* ---- Header ---- */

/* As snprintf, behind what text holds already. */
static void append(char *text, size_t bytes, const char *format, ...) HOST_PRINTF(3, 4);
static void append(char *text, size_t bytes, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + used, bytes - used, format, arguments);
    va_end(arguments);
}

void table_cpu(char *text, size_t bytes)
{
    struct machine machine = machine_ask();
    size_t i;

    snprintf(text, bytes, "%s%s%s, %d usable", machine.model, machine.hypervisor[0] != '\0' ? ", under " : "",
             machine.hypervisor, sim_os_cpu_count());
    for (i = 0; i < machine.cache_count; i++) {
        const struct machine_cache *cache = &machine.caches[i];
        bool large = cache->bytes >= 1u << 20;

        append(text, bytes, "%s L%u%s %u %s", i == 0 ? ";" : ",", cache->level,
               cache->type[0] == 'D'   ? "d"
               : cache->type[0] == 'I' ? "i"
                                       : "",
               large ? cache->bytes >> 20 : cache->bytes >> 10, large ? "MiB" : "KiB");
    }
}

static void print_clock(void)
{
    if (bench_clock.tsc)
        printf("clock    TSC (invariant), fenced, %.1f MHz by the host's clock", bench_clock.tsc_mhz);
    else
        printf("clock    the host's, since this CPU has no invariant TSC");
    printf("; in steps of %.3g ns; each sample contains\n"
           "         one reading of it, %.0f ns, which isn't subtracted\n",
           bench_clock.step_ns, bench_clock.reading_ns);
}

bool table_warning(const struct bench_options *options, size_t index, char *text, size_t bytes)
{
    double loads[3];
    size_t found = 0;

    text[0] = '\0';
    if (!BUILD_OPTIMIZED && found++ == index)
        snprintf(text, bytes, "built without optimisation: the figures say nothing about the code");
    if (BUILD_SANITIZER[0] != '\0' && found++ == index)
        snprintf(text, bytes, "built with %s: the figures say nothing about the code", BUILD_SANITIZER);
    if (options->driver_cpu < 0 && found++ == index)
        snprintf(text, bytes, "one usable CPU: where two threads spin, the figures are the scheduler's");
    if (host_load(loads) > 0 && loads[0] > 0.5 * sim_os_cpu_count() && found++ == index)
        snprintf(text, bytes,
                 "load average %.2f: other programs want these CPUs, too, or did so a minute ago", loads[0]);
    if (options->smoke && found++ == index)
        snprintf(text, bytes, "smoke run: too few samples for the figures to mean much");
    return text[0] != '\0';
}

static void print_warnings(const struct bench_options *options)
{
    char text[128];
    size_t i;

    for (i = 0; table_warning(options, i, text, sizeof text); i++)
        printf("WARNING  %s\n", text);
}

void table_print_header(const struct bench_session *session)
{
    const struct bench_options *options = &session->options;
    char cpu[512];
    size_t i;

    printf("aero-bench %s, commit %s\n", AERO_BUILD_VERSION, AERO_BUILD_COMMIT);
    printf("build    %s, %s, %s; %s\n", AERO_BUILD_COMPILER, AERO_BUILD_TARGET, AERO_BUILD_TYPE,
           AERO_BUILD_FLAGS);
    table_cpu(cpu, sizeof cpu);
    printf("cpu      %s\n", cpu);
    if (options->driver_cpu >= 0)
        printf("pinning  driver on CPU %d, device on CPU %d: %s\n", options->driver_cpu, options->device_cpu,
               machine_relation(options->driver_cpu, options->device_cpu));
    else
        printf("pinning  none\n");
    print_clock();
    printf("run      seed %" PRIu64 ", device %s, quirks", options->seed, options->device);
    for (i = 0; i < options->quirk_count; i++)
        printf(" %s", options->quirks[i]);
    printf("%s\n", options->quirk_count == 0 ? " none" : "");
    print_warnings(options);
    printf("\n");
    fflush(stdout);
}

/* ---- Table ---- */

#define NAME_WIDTH 24

static int name_width(const struct bench_session *session)
{
    return session->name_length > NAME_WIDTH ? (int)session->name_length : NAME_WIDTH;
}

void table_print_heading(const struct bench_session *session)
{
    int width = name_width(session);

    if (session->options.repetitions > 1)
        printf("Medians over %" PRIu32 " repetitions; max over all of them.\n", session->options.repetitions);
    printf("%-*s %8s %5s %8s %8s %8s %8s %9s %7s %7s %7s\n", width, "", "", "", "", "", "", "", "", "",
           "doorbls", "intrpts");
    printf("%-*s %8s %5s %8s %8s %8s %8s %9s %7s %7s %7s\n", width, "benchmark (times in ns)", "n", "batch",
           "p50", "p90", "p99", "p99.9", "max", "items/s", "/item", "/item");
}

static double greatest(const double *values, size_t n)
{
    double most = values[0];
    size_t i;

    for (i = 1; i < n; i++) {
        if (values[i] > most)
            most = values[i];
    }
    return most;
}

struct bench_figures table_figures(const struct bench_result *result)
{
    struct bench_figures figures = stats_fold(result->figures, result->count, stats_median);

    figures.spread.max = stats_fold(result->figures, result->count, greatest).spread.max;
    return figures;
}

void table_print_row(const struct bench_session *session, const struct bench_result *result)
{
    char p50[16], p90[16], p99[16], p999[16], max[16], rate[16], doorbells[16], interrupts[16];
    struct bench_figures figures;

    if (result->failure[0] != '\0') {
        printf("%-*s failed: %s\n", name_width(session), result->row->name, result->failure);
        fflush(stdout);
        return;
    }
    figures = table_figures(result);
    table_format_ns(figures.spread.p50, p50, sizeof p50);
    table_format_ns(figures.spread.p90, p90, sizeof p90);
    table_format_ns(figures.spread.p99, p99, sizeof p99);
    table_format_ns(figures.spread.p999, p999, sizeof p999);
    table_format_ns(figures.spread.max, max, sizeof max);
    table_format_rate(figures.items_per_second, rate, sizeof rate);
    table_format_ratio(figures.doorbells_per_item, doorbells, sizeof doorbells);
    table_format_ratio(figures.interrupts_per_item, interrupts, sizeof interrupts);
    printf("%-*s %8" PRIu32 " %5" PRIu32 " %8s %8s %8s %8s %9s %7s %7s %7s\n", name_width(session),
           result->row->name, figures.samples, figures.batch, p50, p90, p99, p999, max, rate, doorbells,
           interrupts);
    fflush(stdout);
}

void table_print_footing(const struct bench_session *session)
{
    printf("\nn samples, of batch items each; percentiles by nearest rank. Digest of the work: %016" PRIx64
           "\n",
           session->digest);
    if (session->failures > 0)
        printf("%" PRIu32 " failed.\n", session->failures);
}

void table_progress(const char *what, size_t done, size_t total)
{
    static bool shown;

    if (!host_is_terminal(stderr))
        return;
    if (what == NULL) {
        if (shown)
            fprintf(stderr, "\r\033[K");
        shown = false;
    } else {
        fprintf(stderr, "\r\033[K[%zu/%zu] %s", done, total, what);
        shown = true;
    }
    fflush(stderr);
}

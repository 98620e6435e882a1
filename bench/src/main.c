/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * aero-bench: reads the command line, runs the image job and the benchmarks asked for, prints and writes what
 * came of it. Exit status: 0 all well, 1 something failed, 2 the command line asked for what can't be.
 */
#include "bench.h"
#include "build.h"
#include "choose.h"
#include "image_job.h"
#include "json.h"
#include "report.h"
#include "table.h"
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_WELL = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define ROWS_MAX 256u

struct bench_main {
    struct bench_session session;
    struct bench_result results[ROWS_MAX]; /* of the rows asked for */
    size_t result_count;
    struct host_output json;
    struct report report;
    struct timeline timeline; /* for the report */
    int argc;
    const char *const *argv;
    char error[512];
};

static int usage_error(const char *error)
{
    fprintf(stderr, "aero-bench: %s\n", error);
    return EXIT_USAGE;
}

/* ---- list ---- */

struct listed {
    const char *name, *summary, *clause; /* clause NULL: none to show */
};

static bool benchmark_listed(size_t index, struct listed *listed)
{
    const struct bench_row *row = bench_row_at(index);

    if (row == NULL)
        return false;
    *listed = (struct listed){row->name, row->summary, NULL};
    return true;
}

static bool device_listed(size_t index, struct listed *listed)
{
    const struct aero_sim_model *model = aero_sim_model_at(index);

    if (model == NULL)
        return false;
    *listed = (struct listed){aero_sim_model_name(model), aero_sim_model_summary(model), NULL};
    return true;
}

static bool quirk_listed(size_t index, struct listed *listed)
{
    const struct aero_sim_quirk_info *quirk = aero_sim_quirk_at(index);

    if (quirk == NULL)
        return false;
    *listed = (struct listed){quirk->name, quirk->summary, quirk->clause};
    return true;
}

static void list_all(const char *heading, bool (*at)(size_t index, struct listed *listed))
{
    struct listed listed;
    size_t i, width = 0;

    if (heading != NULL)
        printf("%s\n", heading);
    for (i = 0; at(i, &listed); i++) {
        if (strlen(listed.name) > width)
            width = strlen(listed.name);
    }
    for (i = 0; at(i, &listed); i++)
        printf("%-*s  %s%s%s%s\n", (int)width, listed.name, listed.summary, listed.clause != NULL ? " (" : "",
               listed.clause != NULL ? listed.clause : "", listed.clause != NULL ? ")" : "");
}

static int list(enum bench_list what)
{
    bool all = what == LIST_ALL;

    if (all || what == LIST_BENCHMARKS)
        list_all(all ? "benchmarks" : NULL, benchmark_listed);
    if (all || what == LIST_DEVICES)
        list_all(all ? "\ndevices" : NULL, device_listed);
    if (all || what == LIST_QUIRKS)
        list_all(all ? "\nquirks" : NULL, quirk_listed);
    return fflush(stdout) == 0 ? EXIT_WELL : EXIT_FAILED;
}

/* ---- Preparing a run ---- */

static bool allocate(struct bench_main *bench)
{
    struct bench_session *session = &bench->session;
    size_t most = 1, i;

    for (i = 0; i < bench->result_count; i++) {
        size_t name_length = strlen(bench->results[i].row->name);
        uint32_t samples = bench_samples(session, bench->results[i].row);

        if (samples > most)
            most = samples;
        if (name_length > session->name_length)
            session->name_length = name_length;
        bench->results[i].figures = calloc(session->options.repetitions, sizeof *bench->results[i].figures);
        if (session->options.report != NULL)
            bench->results[i].histogram = calloc(1, sizeof *bench->results[i].histogram);
        if (bench->results[i].figures == NULL ||
            (session->options.report != NULL && bench->results[i].histogram == NULL))
            return false;
    }
    session->ticks = malloc(most * sizeof *session->ticks);
    if (session->ticks == NULL)
        return false;
    /* Touched now, so that no sample pays for a page. */
    memset(session->ticks, 0xFF, most * sizeof *session->ticks);
    return true;
}

/* ---- Running ---- */

static void keep_figures(const struct bench_run *run, struct bench_figures *figures)
{
    const struct bench_row *row = run->row;

    memset(figures, 0, sizeof *figures);
    figures->samples = run->samples;
    figures->batch = run->batch;
    figures->items = (uint64_t)run->samples * run->batch;
    figures->real_ns = stats_mean_ns(run->ticks, run->samples, bench_clock.ns_per_tick, run->batch);
    figures->cpu_ns = run->cpu_ns > 0 ? (double)run->cpu_ns / (double)figures->items : figures->real_ns;
    figures->items_per_second = row->throughput ? 1e9 / figures->real_ns : -1;
    figures->doorbells_per_item = figures->interrupts_per_item = -1;
    if (run->device != NULL) {
        figures->doorbells_per_item = (double)run->doorbells / (double)figures->items;
        figures->interrupts_per_item = (double)run->interrupts / (double)figures->items;
    }
    figures->spread = stats_spread(run->ticks, run->samples, bench_clock.ns_per_tick, run->batch);
}

/* One repetition of one row. */
static void run_row(struct bench_main *bench, struct bench_result *result)
{
    struct bench_run run = {.row = result->row, .session = &bench->session, .batch = result->row->batch};
    bool ok = run.row->run(&run);

    bench->session.digest = bench->session.digest * 31 + run.digest;
    if (host_interrupted)
        return;
    if (ok && run.samples == 0)
        ok = bench_fail(&run, "its time was up before the first sample");
    if (ok) {
        keep_figures(&run, &result->figures[result->count++]);
        if (result->histogram != NULL)
            histogram_add(result->histogram, run.ticks, run.samples);
        return;
    }
    snprintf(result->failure, sizeof result->failure, "%s", run.failure);
    bench->session.failures++;
}

/* All rows in turn, again and again, so that a machine that changes its mind does so to all alike. */
static void run_rows(struct bench_main *bench)
{
    uint32_t repetitions = bench->session.options.repetitions, repetition;
    size_t i;

    for (repetition = 1; repetition <= repetitions && !host_interrupted; repetition++) {
        for (i = 0; i < bench->result_count && !host_interrupted; i++) {
            struct bench_result *result = &bench->results[i];

            table_progress(result->row->name, (repetition - 1) * bench->result_count + i + 1,
                           repetitions * bench->result_count);
            if (result->failure[0] == '\0')
                run_row(bench, result);
            table_progress(NULL, 0, 0);
            if (repetition == repetitions && !host_interrupted)
                table_print_row(&bench->session, result);
        }
    }
}

static void run_all(struct bench_main *bench)
{
    struct bench_session *session = &bench->session;

    if (session->options.driver_cpu >= 0)
        sim_os_pin(session->options.driver_cpu);
    clock_calibrate(session->options.smoke ? 20000000 : 200000000);
    session->row_ns = session->options.smoke ? 200000000 : 5000000000;
    table_print_header(session);
    if (session->options.filter == NULL || session->options.image != NULL) {
        table_progress("image", 0, bench->result_count);
        if (!image_job_run(session))
            session->failures++;
        table_progress(NULL, 0, 0);
    }
    if (host_interrupted)
        return;
    table_print_heading(session);
    run_rows(bench);
    if (session->options.report != NULL && !host_interrupted) {
        table_progress("timeline", bench->result_count, bench->result_count);
        if (!timeline_measure(session, &bench->timeline))
            session->failures++;
        table_progress(NULL, 0, 0);
    }
    if (!host_interrupted)
        table_print_footing(session);
}

/* ---- What is written ---- */

static bool open_outputs(struct bench_main *bench)
{
    const struct bench_options *options = &bench->session.options;
    const char *option = "--report";
    bool opened = options->report == NULL ||
                  report_open(&bench->report, options->report, bench->error, sizeof bench->error);

    if (opened && options->json != NULL) {
        option = "--json";
        opened = host_output_open(&bench->json, options->json, bench->error, sizeof bench->error);
    }
    if (!opened)
        fprintf(stderr, "aero-bench: %s: %s\n", option, bench->error);
    return opened;
}

static bool finish_report(struct bench_main *bench)
{
    const struct report_source source = {.session = &bench->session,
                                         .results = bench->results,
                                         .count = bench->result_count,
                                         .timeline = &bench->timeline,
                                         .argc = bench->argc,
                                         .argv = bench->argv};

    return report_finish(&bench->report, &source, bench->error, sizeof bench->error);
}

static bool finish_json(struct bench_main *bench)
{
    json_write(bench->json.stream, &bench->session, bench->argc > 0 ? bench->argv[0] : "aero-bench",
               bench->results, bench->result_count);
    return host_output_finish(&bench->json, bench->error, sizeof bench->error);
}

static void finish_outputs(struct bench_main *bench)
{
    struct bench_session *session = &bench->session;

    if (session->options.json != NULL && !finish_json(bench)) {
        fprintf(stderr, "aero-bench: --json: %s\n", bench->error);
        session->failures++;
    }
    if (session->options.report != NULL && !finish_report(bench)) {
        fprintf(stderr, "aero-bench: --report: %s\n", bench->error);
        session->failures++;
    }
}

static void abandon_outputs(struct bench_main *bench)
{
    if (bench->session.options.json != NULL)
        host_output_abandon(&bench->json);
    if (bench->session.options.report != NULL)
        report_abandon(&bench->report);
}

static int run(struct bench_main *bench)
{
    struct bench_session *session = &bench->session;

    if (!options_check(&session->options, bench->error, sizeof bench->error) ||
        !choose_rows(&session->options, bench->results, ROWS_MAX, &bench->result_count,
                     bench->error, sizeof bench->error))
        return usage_error(bench->error);
    host_catch_signals();
    if (!open_outputs(bench)) {
        abandon_outputs(bench);
        return EXIT_USAGE;
    }
    if (!allocate(bench)) {
        abandon_outputs(bench);
        fprintf(stderr, "aero-bench: no memory\n");
        return EXIT_FAILED;
    }
    run_all(bench);
    if (host_interrupted)
        abandon_outputs(bench);
    else
        finish_outputs(bench);
    if (fflush(stdout) != 0 || ferror(stdout))
        session->failures++;
    return session->failures == 0 && !host_interrupted ? EXIT_WELL : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static struct bench_main bench;
    size_t i;
    int status;

    if (!options_parse(argc, (const char *const *)argv, &bench.session.options, bench.error,
                       sizeof bench.error))
        return usage_error(bench.error);
    switch (bench.session.options.verb) {
    case VERB_HELP:
        return fputs(options_help, stdout) < 0 ? EXIT_FAILED : EXIT_WELL;
    case VERB_VERSION:
        printf("aero-bench %s (commit %s, %s, %s)\n", AERO_BUILD_VERSION, AERO_BUILD_COMMIT,
               AERO_BUILD_COMPILER, AERO_BUILD_TYPE);
        return EXIT_WELL;
    case VERB_LIST:
        return list(bench.session.options.list);
    case VERB_RUN:
    default:
        break;
    }
    bench.argc = argc;
    bench.argv = (const char *const *)argv;
    status = run(&bench);
    host_cleanup();
    for (i = 0; i < bench.result_count; i++) {
        free(bench.results[i].figures);
        free(bench.results[i].histogram);
    }
    free(bench.session.ticks);
    if (host_interrupted) {
        fprintf(stderr, "aero-bench: interrupted\n");
        host_die_of(host_interrupted);
    }
    return status;
}

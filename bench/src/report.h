/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * --report: one page of HTML on a run, with its plots inside it as SVG; no network, no script. report.c
 * runs gnuplot and writes the file; report_plot.c says what to plot and writes gnuplot's input,
 * report_svg.c takes its output into the page, report_page.c writes the page. The main thread's alone.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "table.h"
#include "timeline.h"

/* What a page is about; all of it outlives the page's writing. */
struct report_source {
    const struct bench_session *session;
    const struct bench_result *results;
    size_t count;
    const struct timeline *timeline;
    int argc; /* the command line */
    const char *const *argv;
};

/* ---- The file ---- */

struct report {
    struct host_output page;
    char gnuplot[HOST_PATH_MAX];
};

/*
 * Before anything is measured: makes the directory where there is none, opens DIRECTORY/index.html beside
 * its name, and tries gnuplot. false with one line of reason; report_abandon is due all the same, and
 * host_cleanup then removes a directory that was made.
 */
bool report_open(struct report *report, const char *directory, char *error, size_t error_bytes);

/* Draws, writes, and names the page. false with one line of reason: there is none, or the old one. */
bool report_finish(struct report *report, const struct report_source *source, char *error,
                   size_t error_bytes);

void report_abandon(struct report *report);

/* ---- Plots ---- */

#define PLOT_SERIES_MAX 48u
#define PLOT_POINTS_MAX 40u
#define PLOTS_MAX       24u

enum plot_kind { PLOT_DISTRIBUTION, PLOT_THROUGHPUT, PLOT_TIMELINE };

struct plot_point {
    double x, y;
};

struct plot_series {
    char name[64];
    const struct bench_result *result; /* of a distribution; else NULL */
    struct plot_point points[PLOT_POINTS_MAX];
    size_t point_count;
};

struct plot {
    enum plot_kind kind;
    const char *title; /* of PLOT_THROUGHPUT what it is plotted against, "the size of the ring" */
    const char *x_label, *y_label;
    struct plot_series series[PLOT_SERIES_MAX];
    size_t series_count;
    double reference; /* a level to compare with; 0: none */
    const char *reference_name;
    char *svg; /* gnuplot's, or NULL until it's drawn */
};

/* The plots of one page, and what would have been one but for its points. */
struct plots {
    struct plot all[PLOTS_MAX];
    size_t count;
    const char *left_out[PLOTS_MAX]; /* titles */
    size_t left_out_count;
};

/*
 * Chooses what is plotted from what the run has: distributions of the rows with latencies, by kind;
 * throughput against each parameter that ring/ rows of two values or more have in their names
 * ("ring/poll/256/chain:4", and the size itself); the timeline where there is one.
 */
void plots_choose(const struct report_source *source, struct plots *plots);

/* gnuplot's input, which makes it write SVG to the file at svg_path. */
void plot_write_script(FILE *stream, const struct plot *plot, const struct timeline *timeline,
                       const char *svg_path);

void plots_free(struct plots *plots);

/* ---- Writing ---- */

/*
 * Writes gnuplot's SVG as a part of a page: ids begin with prefix, so that no two pictures share one; no
 * prologue, title or fonts; colours in #rrggbb, which the page's style maps to its own. false: this is no
 * SVG.
 */
bool report_write_svg(FILE *stream, const char *svg, const char *prefix, const char *title);

void report_write_page(FILE *stream, const struct report_source *source, const struct plots *plots);

/* Text, with what HTML reserves escaped. */
void report_write_text(FILE *stream, const char *text);

#endif

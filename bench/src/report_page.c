/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The page itself: see report.h. It is HTML5 that is XML, too, so that xmllint can judge it.
 */
#include "report.h"

#include "build.h"
#include "machine.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* The colours of report_script.c are mapped to the page's own, which know day from night. */
static const char style[] =
    ":root{color-scheme:light "
    "dark;--page:#fcfcfb;--text:#0b0b0b;--soft:#52514e;--line:#e1e0d9;--axis:#898781;"
    "--warn:#fdf3dc;--s1:#2a78d6;--s2:#eb6834;--s3:#1baf7a;--s4:#eda100;--s5:#4a3aa7;--s6:#e34948;"
    "--s7:#e87ba4;--s8:#008300}\n"
    "@media screen and (prefers-color-scheme:dark){:root{"
    "--page:#1a1a19;--text:#fff;--soft:#c3c2b7;--line:#2c2c2a;"
    "--warn:#3b2f12;--s1:#3987e5;--s2:#d95926;--s3:#199e70;--s4:#c98500;--s5:#9085e9;--s6:#e66767;"
    "--s7:#d55181;--s8:#3fa33f}}\n"
    "body{margin:0 auto;padding:2.5rem 1.5rem;max-width:74rem;background:var(--page);color:var(--text);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\n"
    "h1{margin:0;font-size:1.7rem;line-height:1.25}h2{margin:3rem 0 .5rem;font-size:1.25rem}"
    "h3{margin:2rem 0 .25rem;font-size:1rem}p{margin:.5rem 0;max-width:48rem}.soft{color:var(--soft)}\n"
    ".warning{margin:.5rem 0;padding:.4rem .8rem;background:var(--warn);border-left:4px solid var(--s4)}\n"
    ".wide{overflow-x:auto}"
    "table{border-collapse:collapse;font-size:.78rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.22rem .4rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);"
    "vertical-align:top}th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}"
    "th:first-child,td:first-child,.left{text-align:left}td:first-child{font-weight:500}"
    "tr.family td{border-top:2px solid var(--axis)}.failed{color:var(--s6);white-space:normal}"
    "td.failed,td.side{text-align:left}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.25rem;margin:.5rem 0;font-size:.9rem}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}code{font-size:.9em}\n"
    "figure{margin:.5rem 0 1rem}svg{display:block;width:100%;height:auto}"
    "svg text,svg tspan{font-family:inherit}\n"
    "[stroke='#2a78d6']{stroke:var(--s1)}[color='#2a78d6']{color:var(--s1)}[fill='#2a78d6']{fill:var(--s1)}"
    "[stroke='#eb6834']{stroke:var(--s2)}[color='#eb6834']{color:var(--s2)}[fill='#eb6834']{fill:var(--s2)}"
    "[stroke='#1baf7a']{stroke:var(--s3)}[color='#1baf7a']{color:var(--s3)}"
    "[stroke='#eda100']{stroke:var(--s4)}[color='#eda100']{color:var(--s4)}"
    "[stroke='#4a3aa7']{stroke:var(--s5)}[color='#4a3aa7']{color:var(--s5)}"
    "[stroke='#e34948']{stroke:var(--s6)}[color='#e34948']{color:var(--s6)}"
    "[stroke='#e87ba4']{stroke:var(--s7)}[color='#e87ba4']{color:var(--s7)}"
    "[stroke='#008300']{stroke:var(--s8)}[color='#008300']{color:var(--s8)}"
    "[stroke='#e1e0d9']{stroke:var(--line)}[stroke='#898781']{stroke:var(--axis)}"
    "[fill='#898781']{fill:var(--axis)}"
    "[fill='#52514e']{fill:var(--soft)}\n"
    "@media print{:root{--page:#fff}body{padding:0;max-width:none;font-size:10pt}"
    "h3,figure,tr,dl{break-inside:avoid}"
    "h2,h3{break-after:avoid}table{font-size:6.5pt}.wide{overflow:visible}th,td{padding:.1rem .3rem}}\n";

void report_write_text(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char character = (unsigned char)*text;

        if (character == '&')
            fputs("&amp;", stream);
        else if (character == '<')
            fputs("&lt;", stream);
        else if (character == '>')
            fputs("&gt;", stream);
        else if (character == '"')
            fputs("&quot;", stream);
        else if ((character < 0x20 && character != '\n') || character >= 0x7F)
            fputc('?', stream); /* a command line may hold anything, and not all of it is UTF-8 */
        else
            fputc(character, stream);
    }
}

/* ---- The table ---- */

/* What a row is read against: docs/performance.md, "Compare within a run". */
static const struct limit {
    const char *rows; /* how their names begin */
    const char *limit;
    bool same_bytes; /* only where both move as many */
} limits[] = {
    {"roundtrip/poll", "limit/line", false},
    {"roundtrip/poll", "limit/two-lines", false},
    {"roundtrip/kick-isr-spin", "limit/two-lines", false},
    {"roundtrip/kick-isr-sleep", "limit/wake", false},
    {"ring/poll/", "limit/line", false},
    {"ring/poll/", "limit/two-lines", false},
    {"ring/poll/", "limit/bare-ring", false},
    {"ring/kick/", "limit/bare-ring", false},
    {"blk/read/", "limit/pread", true},
    {"blk/read/", "limit/pread-apart", true},
};

static const struct bench_result *find_result(const struct report_source *source, const char *name)
{
    size_t i;

    for (i = 0; i < source->count; i++) {
        const struct bench_result *result = &source->results[i];

        if (strcmp(result->row->name, name) == 0 && result->count > 0 && result->failure[0] == '\0')
            return result;
    }
    return NULL;
}

/* A column each, of those that this run has. */
static const char *const limit_names[] = {"limit/line",      "limit/two-lines", "limit/wake",
                                          "limit/bare-ring", "limit/pread",     "limit/pread-apart"};
#define LIMIT_COUNT (sizeof limit_names / sizeof limit_names[0])

static size_t limits_present(const struct report_source *source)
{
    size_t i, present = 0;

    for (i = 0; i < LIMIT_COUNT; i++)
        present += find_result(source, limit_names[i]) != NULL;
    return present;
}

static bool is_limit_of(const struct bench_row *row, const struct bench_row *limit)
{
    size_t i;

    for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (strcmp(limits[i].limit, limit->name) == 0 &&
            strncmp(row->name, limits[i].rows, strlen(limits[i].rows)) == 0)
            return !limits[i].same_bytes || row->with.bytes == limit->with.bytes;
    }
    return false;
}

static void write_ratios(FILE *stream, const struct report_source *source, const struct bench_result *result)
{
    double p50 = table_figures(result).spread.p50, of;
    size_t i;

    for (i = 0; i < LIMIT_COUNT; i++) {
        const struct bench_result *limit = find_result(source, limit_names[i]);

        if (limit == NULL)
            continue;
        of = table_figures(limit).spread.p50;
        fprintf(stream, "<td>");
        if (is_limit_of(result->row, limit->row) && of > 0)
            fprintf(stream, "%.2f", p50 / of);
        fprintf(stream, "</td>");
    }
}

/* Do the names differ in front of their first slash? */
static bool new_family(const struct report_source *source, size_t index)
{
    const char *name = source->results[index].row->name;
    const char *before = index > 0 ? source->results[index - 1].row->name : name;

    return strncmp(name, before, strcspn(name, "/") + 1) != 0;
}

static void write_row(FILE *stream, const struct report_source *source, size_t index)
{
    const struct bench_result *result = &source->results[index];
    char cells[8][32];
    struct bench_figures figures;
    size_t i;

    fprintf(stream, "<tr%s><td title=\"", new_family(source, index) ? " class=\"family\"" : "");
    report_write_text(stream, result->row->summary != NULL ? result->row->summary : "");
    fprintf(stream, "\">%s</td>", result->row->name);
    if (result->failure[0] != '\0' || result->count == 0) {
        fprintf(stream, "<td class=\"failed\" colspan=\"%zu\">failed: ", 10 + limits_present(source));
        report_write_text(stream, result->failure);
        fprintf(stream, "</td></tr>\n");
        return;
    }
    figures = table_figures(result);
    table_format_ns(figures.spread.p50, cells[0], sizeof cells[0]);
    table_format_ns(figures.spread.p90, cells[1], sizeof cells[1]);
    table_format_ns(figures.spread.p99, cells[2], sizeof cells[2]);
    table_format_ns(figures.spread.p999, cells[3], sizeof cells[3]);
    table_format_ns(figures.spread.max, cells[4], sizeof cells[4]);
    table_format_rate(figures.items_per_second, cells[5], sizeof cells[5]);
    table_format_ratio(figures.doorbells_per_item, cells[6], sizeof cells[6]);
    table_format_ratio(figures.interrupts_per_item, cells[7], sizeof cells[7]);
    fprintf(stream, "<td>%" PRIu32 "</td><td>%" PRIu32 "</td>", figures.samples, figures.batch);
    for (i = 0; i < 8; i++)
        fprintf(stream, "<td>%s</td>", cells[i]);
    write_ratios(stream, source, result);
    fprintf(stream, "</tr>\n");
}

static void write_headings(FILE *stream, const struct report_source *source)
{
    size_t i;

    fprintf(stream,
            "<thead><tr><th>benchmark</th><th>n</th><th>batch</th><th>p50</th><th>p90</th><th>p99</th>"
            "<th>p99.9</th><th>max</th><th>items/s</th><th>doorbells<br/>/item</th>"
            "<th>interrupts<br/>/item</th>");
    for (i = 0; i < LIMIT_COUNT; i++) {
        if (find_result(source, limit_names[i]) != NULL)
            fprintf(stream, "<th>p50 /<br/>%s</th>", strchr(limit_names[i], '/') + 1);
    }
    fprintf(stream, "</tr></thead>\n");
}

static void section_table(FILE *stream, const struct report_source *source)
{
    uint32_t repetitions = source->session->options.repetitions;
    size_t i;

    fprintf(stream,
            "<h2 id=\"table\">Benchmarks and limits</h2>\n<p class=\"soft\">Times in ns an item. n samples, "
            "of batch items each; percentiles are of samples, by nearest rank, divided by batch.");
    if (repetitions > 1)
        fprintf(stream, " Medians over %" PRIu32 " repetitions; max over all of them.", repetitions);
    fprintf(stream,
            " The last columns are ratios of a row's p50 to that of its limits in this run: what two threads "
            "of this host take for the least that such a row has to do. A row of which many items travel at "
            "once may be below 1.</p>\n<div class=\"wide\"><table>\n");
    write_headings(stream, source);
    fprintf(stream, "<tbody>\n");
    for (i = 0; i < source->count; i++)
        write_row(stream, source, i);
    fprintf(stream, "</tbody></table></div>\n");
}

/* ---- Plots ---- */

static void write_plot(FILE *stream, const struct plots *plots, size_t index)
{
    const struct plot *plot = &plots->all[index];
    char prefix[32], title[100];

    snprintf(title, sizeof title, "%s%s", plot->kind == PLOT_THROUGHPUT ? "Throughput against " : "",
             plot->title);
    snprintf(prefix, sizeof prefix, "plot%zu", index + 1);
    fprintf(stream, "<h3>");
    report_write_text(stream, title);
    fprintf(stream, "</h3>\n<figure>");
    if (plot->svg == NULL || !report_write_svg(stream, plot->svg, prefix, title))
        fprintf(stream, "<p>Not drawn.</p>");
    fprintf(stream, "</figure>\n");
}

/* How many there were. */
static size_t write_plots(FILE *stream, const struct plots *plots, enum plot_kind kind)
{
    size_t i, found = 0;

    for (i = 0; i < plots->count; i++) {
        if (plots->all[i].kind == kind) {
            write_plot(stream, plots, i);
            found++;
        }
    }
    return found;
}

static void section_distributions(FILE *stream, const struct plots *plots)
{
    fprintf(
        stream,
        "<h2 id=\"latency\">Latency distributions</h2>\n<p class=\"soft\">How many of the samples took at "
        "most so long, over all repetitions; both axes logarithmic, so that the tail shows. A line that "
        "stands upright is a steady time. Where batch isn't 1 a sample is the mean of a batch. ring/ rows "
        "aren't here: their items overlap, and their samples are no latencies.</p>\n");
    if (write_plots(stream, plots, PLOT_DISTRIBUTION) == 0)
        fprintf(stream, "<p>This run has no row with latencies.</p>\n");
}

static void section_throughput(FILE *stream, const struct plots *plots)
{
    size_t found, i;

    fprintf(
        stream,
        "<h2 id=\"throughput\">Throughput</h2>\n<p class=\"soft\">Items a second, by what varies from row to "
        "row (N in the names); a row that says nothing of it stands where its own value is.</p>\n");
    found = write_plots(stream, plots, PLOT_THROUGHPUT);
    if (plots->left_out_count == 0)
        return;
    fprintf(stream, "<p class=\"soft\">%s for want of two rows that differ in it: ",
            found > 0 ? "Left out," : "Nothing to draw,");
    for (i = 0; i < plots->left_out_count; i++) {
        fprintf(stream, "%s", i > 0 ? "; " : "");
        report_write_text(stream, plots->left_out[i]);
    }
    fprintf(stream, ".</p>\n");
}

static void write_steps(FILE *stream, const struct timeline *timeline)
{
    static const char *const sides[] = {
        [TIMELINE_DRIVER] = "driver", [TIMELINE_DEVICE] = "device", [TIMELINE_BETWEEN] = "between"};
    double at = 0;
    size_t i;

    fprintf(stream,
            "<div class=\"wide\"><table>\n<thead><tr><th>step</th><th class=\"left\">whose</th><th>takes, ns"
            "</th><th>share</th><th>ends at, ns</th></tr></thead>\n<tbody>\n");
    for (i = 0; i < TIMELINE_PLACES; i++) {
        const struct timeline_step *step = &timeline->steps[i];

        at += step->ns;
        fprintf(stream, "<tr><td>");
        report_write_text(stream, step->name);
        fprintf(stream, "</td><td class=\"side\">%s</td><td>%.1f</td><td>%.1f %%</td><td>%.1f</td></tr>\n",
                sides[step->side], step->ns, timeline->whole_ns > 0 ? 100 * step->ns / timeline->whole_ns : 0,
                at);
    }
    fprintf(
        stream,
        "<tr class=\"family\"><td>the whole cycle</td><td></td><td>%.1f</td><td>100 %%</td><td></td></tr>\n"
        "</tbody></table></div>\n",
        timeline->whole_ns);
}

static void section_timeline(FILE *stream, const struct plots *plots, const struct timeline *timeline)
{
    fprintf(stream, "<h2 id=\"timeline\">One cycle, step by step</h2>\n");
    if (timeline->failure[0] != '\0' || timeline->cycles == 0) {
        fprintf(stream, "<p class=\"failed\">Not measured: ");
        report_write_text(stream, timeline->failure);
        fprintf(stream, "</p>\n");
        return;
    }
    fprintf(stream,
            "<p class=\"soft\">One chain of 13 bytes by doorbell, INTx, ISR, DPC and event, both sides "
            "spinning, as in "
            "roundtrip/kick-isr-spin. A cycle is stamped at its start, its end and at no more than one place "
            "between, "
            "each place in %" PRIu32
            " cycles of its own; a step is the difference of two places' times, each the mean "
            "of the middle half. So steps add up to the whole cycle, and what a stamp costs (%.0f ns) is in "
            "the first "
            "step alone. The device here is one that takes its chains in its event function, where each step "
            "can be "
            "stamped; its way is a little longer than a serve function's.</p>\n",
            timeline->cycles, bench_clock.reading_ns);
    write_plots(stream, plots, PLOT_TIMELINE);
    write_steps(stream, timeline);
    fprintf(stream, "<p class=\"soft\">What can't be told apart from outside: the doorbell's fence from its "
                    "write, and both from "
                    "the look at whether the worker sleeps; reading avail.idx from walking and vetting the "
                    "chain; storing "
                    "used.idx, the fence behind it, the look at avail.flags and the ISR bit. The doorbell's "
                    "write returns while "
                    "its line is on the way already, so \"reaches the worker\" is what is left of that way "
                    "by then. A step of "
                    "0 ns lies within the noise of its two places.</p>\n");
}

/* ---- Machine and run ---- */

static void write_fact(FILE *stream, const char *key, const char *text)
{
    fprintf(stream, "<dt>%s</dt><dd>", key);
    report_write_text(stream, text);
    fprintf(stream, "</dd>\n");
}

static void write_clock(FILE *stream)
{
    char text[200];

    if (bench_clock.tsc)
        snprintf(text, sizeof text, "TSC (invariant), fenced, %.1f MHz by the host's clock",
                 bench_clock.tsc_mhz);
    else
        snprintf(text, sizeof text, "the host's, since this CPU has no invariant TSC");
    snprintf(text + strlen(text), sizeof text - strlen(text),
             "; in steps of %.3g ns; each sample contains one reading of it, %.0f ns, which isn't subtracted",
             bench_clock.step_ns, bench_clock.reading_ns);
    write_fact(stream, "clock", text);
}

static void write_options(FILE *stream, const struct report_source *source)
{
    const struct bench_options *options = &source->session->options;
    char text[512];
    size_t i;
    int argument;

    fprintf(stream, "<dt>command</dt><dd><code>aero-bench");
    for (argument = 1; argument < source->argc; argument++) {
        fputc(' ', stream);
        report_write_text(stream, source->argv[argument]);
    }
    fprintf(stream, "</code></dd>\n");
    snprintf(text, sizeof text, "%s; repetitions %" PRIu32 "; device %s; quirks",
             options->smoke ? "smoke run" : "full run", options->repetitions, options->device);
    for (i = 0; i < options->quirk_count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), " %s", options->quirks[i]);
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s", options->quirk_count == 0 ? " none" : "");
    write_fact(stream, "options", text);
    snprintf(text, sizeof text, "%" PRIu64, options->seed);
    write_fact(stream, "seed", text);
    snprintf(text, sizeof text, "%016" PRIx64, source->session->digest);
    write_fact(stream, "digest of the work", text);
}

static void section_machine(FILE *stream, const struct report_source *source)
{
    const struct bench_options *options = &source->session->options;
    char text[512];

    fprintf(stream, "<h2 id=\"run\">Machine and run</h2>\n<dl>\n");
    host_name(text, sizeof text);
    write_fact(stream, "host", text);
    table_cpu(text, sizeof text);
    write_fact(stream, "cpu", text);
    snprintf(text, sizeof text, "none");
    if (options->driver_cpu >= 0)
        snprintf(text, sizeof text, "driver on CPU %d, device on CPU %d: %s", options->driver_cpu,
                 options->device_cpu, machine_relation(options->driver_cpu, options->device_cpu));
    write_fact(stream, "pinning", text);
    write_clock(stream);
    write_fact(stream, "version", AERO_BUILD_VERSION);
    write_fact(stream, "commit", AERO_BUILD_COMMIT);
    write_fact(stream, "compiler", AERO_BUILD_COMPILER);
    write_fact(stream, "flags", AERO_BUILD_TYPE ": " AERO_BUILD_FLAGS);
    write_fact(stream, "target", AERO_BUILD_TARGET);
    write_options(stream, source);
    fprintf(stream, "</dl>\n");
}

/* ---- All of it ---- */

static void write_beginning(FILE *stream, const struct report_source *source)
{
    time_t now = time(NULL);
    char date[40] = "", warning[128];
    size_t i;

    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    fprintf(
        stream,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<title>Aero virtio transport bench, commit %s</title>\n<style>\n%s</style>\n</head>\n<body>\n"
        "<h1>Aero virtio transport bench</h1>\n<p class=\"soft\">Version %s, commit %s, measured %s</p>\n",
        AERO_BUILD_COMMIT, style, AERO_BUILD_VERSION, AERO_BUILD_COMMIT, date);
    for (i = 0; table_warning(&source->session->options, i, warning, sizeof warning); i++) {
        fprintf(stream, "<p class=\"warning\">");
        report_write_text(stream, warning);
        fprintf(stream, "</p>\n");
    }
    if (source->session->failures > 0)
        fprintf(stream, "<p class=\"warning\">%" PRIu32 " failed.</p>\n", source->session->failures);
}

void report_write_page(FILE *stream, const struct report_source *source, const struct plots *plots)
{
    write_beginning(stream, source);
    section_table(stream, source);
    section_distributions(stream, plots);
    section_throughput(stream, plots);
    section_timeline(stream, plots, source->timeline);
    section_machine(stream, source);
    fprintf(stream, "</body>\n</html>\n");
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * gnuplot's input for a plot: see report.h. Colours are marks that the page's style replaces
 * (report_page.c), so that a picture is readable on paper and in the dark.
 */
#include "report.h"

#include <math.h>
#include <string.h>

#define WIDTH 900

/* The series' colours as they are on a light page; report_page.c has those of a dark one. */
static const char *const colours[] = {"#2a78d6", "#eb6834", "#1baf7a", "#eda100",
                                      "#4a3aa7", "#e34948", "#e87ba4", "#008300"};
#define COLOUR_COUNT (sizeof colours / sizeof colours[0])

/* A single quote in gnuplot's single quotes stands twice. */
static void write_quoted(FILE *stream, const char *text)
{
    fputc('\'', stream);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputc('\'', stream);
        fputc(*text, stream);
    }
    fputc('\'', stream);
}

static void write_head(FILE *stream, int height, const char *svg_path)
{
    fprintf(stream,
            "set terminal svg size %d,%d dynamic noenhanced font 'sans-serif,13'\n"
            "set encoding utf8\n"
            "set border 3 linecolor rgb '#898781'\n"
            "set tics nomirror textcolor rgb '#52514e'\n"
            "set grid linecolor rgb '#e1e0d9' linetype 1\n"
            "set lmargin at screen 0.125\nset rmargin at screen 0.75\n"
            "set output ",
            WIDTH, height);
    write_quoted(stream, svg_path);
    fprintf(stream, "\n");
}

static void write_labels(FILE *stream, const struct plot *plot)
{
    fprintf(stream, "set xlabel ");
    write_quoted(stream, plot->x_label);
    fprintf(stream, " textcolor rgb '#52514e'\nset ylabel ");
    write_quoted(stream, plot->y_label);
    fprintf(stream, " offset 1,0 textcolor rgb '#52514e'\n");
}

/* Past the last colour they begin again, dashed. */
static void write_style(FILE *stream, size_t series)
{
    fprintf(stream, " linewidth 2 dashtype %u linecolor rgb '%s' title ",
            (unsigned)(series / COLOUR_COUNT) + 1, colours[series % COLOUR_COUNT]);
}

/* ---- Distributions ---- */

/* How many nines: 0.9 is 1, 0.99 is 2. All of n samples stand half a sample below n of n. */
static double nines(uint64_t below, uint64_t total)
{
    double above = below < total ? (double)(total - below) : 0.5;

    return -log10(above / (double)total);
}

/* x in seconds, y in nines; what would move the line by less than half a pixel is left out. */
static void write_distribution_data(FILE *stream, size_t index, const struct bench_result *result)
{
    const struct histogram *histogram = result->histogram;
    double scale = bench_clock.ns_per_tick * 1e-9 / result->figures[0].batch, y, last = -1;
    uint64_t value, below = 0;
    size_t bucket = 0;

    fprintf(stream, "$data%zu << EOD\n", index);
    while ((below = histogram_next(histogram, &bucket, &value, below)) != 0) {
        y = nines(below, histogram->total);
        if (last < 0)
            fprintf(stream, "%.5g 0\n", (double)value * scale);
        if (last >= 0 && y - last < 0.01 && below < histogram->total)
            continue;
        fprintf(stream, "%.5g %.3f\n", (double)value * scale, y);
        last = y;
    }
    fprintf(stream, "EOD\n");
}

static void write_distribution(FILE *stream, const struct plot *plot, const char *svg_path)
{
    size_t rows = plot->series_count > 9 ? plot->series_count : 9, i;

    write_head(stream, (int)(60 + 38 * rows), svg_path);
    write_labels(stream, plot);
    fprintf(
        stream,
        "set logscale x 10\n"
        "set format x '%%.0s %%cs'\n"
        "set yrange [0:*]\n"
        "set ytics ('0 %%%%' 0, '50 %%%%' 0.30103, '90 %%%%' 1, '99 %%%%' 2, '99.9 %%%%' 3, '99.99 %%%%' 4, "
        "'99.999 %%%%' 5, '99.9999 %%%%' 6, '99.99999 %%%%' 7)\n"
        "set key at screen 0.77, screen 0.95 left top Left reverse samplen 2 textcolor rgb '#52514e'\n");
    for (i = 0; i < plot->series_count; i++)
        write_distribution_data(stream, i, plot->series[i].result);
    fprintf(stream, "plot");
    for (i = 0; i < plot->series_count; i++) {
        fprintf(stream, "%s $data%zu using 1:2 with steps", i > 0 ? ", \\\n    " : "", i);
        write_style(stream, i);
        write_quoted(stream, plot->series[i].name);
    }
    fprintf(stream, "\n");
}

/* ---- Throughput ---- */

/* 4096 is "4Ki": sizes of rings go up to 32768, and stand close to each other. */
static void write_tick(FILE *stream, bool first, double x)
{
    bool binary = x >= 1024 && fmod(x, 1024) == 0;

    fprintf(stream, "%s'%.0f%s' %.0f", first ? "" : ", ", binary ? x / 1024 : x, binary ? "Ki" : "", x);
}

static void write_throughput(FILE *stream, const struct plot *plot, const char *svg_path)
{
    const struct plot_series *series;
    bool first = true;
    size_t i, j;

    write_head(stream, 360, svg_path);
    write_labels(stream, plot);
    fprintf(stream,
            "set logscale x 2\n"
            "set format x '%%.0f'\n"
            "set offsets graph 0.03, graph 0.03, 0, 0\n"
            "set yrange [0:*]\n"
            "set key at screen 0.77, screen 0.95 left top Left reverse samplen 2 textcolor rgb '#52514e'\n"
            "set xtics (");
    for (i = 0; i < plot->series_count; i++) {
        series = &plot->series[i];
        for (j = 0; j < series->point_count; j++, first = false)
            write_tick(stream, first, series->points[j].x);
    }
    fprintf(stream, ")\n");
    for (i = 0; i < plot->series_count; i++) {
        series = &plot->series[i];
        fprintf(stream, "$data%zu << EOD\n", i);
        for (j = 0; j < series->point_count; j++)
            fprintf(stream, "%.0f %.6g\n", series->points[j].x, series->points[j].y);
        fprintf(stream, "EOD\n");
    }
    fprintf(stream, "plot");
    for (i = 0; i < plot->series_count; i++) {
        fprintf(stream, "%s $data%zu using 1:2 with linespoints pointtype 7 pointsize 0.6",
                i > 0 ? ", \\\n    " : "", i);
        write_style(stream, i);
        write_quoted(stream, plot->series[i].name);
    }
    if (plot->reference > 0) {
        fprintf(stream, ", \\\n     %.6g with lines linewidth 1.5 dashtype 2 linecolor rgb '#898781' title ",
                plot->reference);
        write_quoted(stream, plot->reference_name);
    }
    fprintf(stream, "\n");
}

/* ---- The timeline ---- */

static void write_timeline(FILE *stream, const struct timeline *timeline, const char *svg_path)
{
    static const struct {
        const char *name, *colour;
    } sides[] = {
        [TIMELINE_DRIVER] = {"the driver's CPU", "#2a78d6"},
        [TIMELINE_DEVICE] = {"the device's worker", "#eb6834"},
        [TIMELINE_BETWEEN] = {"on the way between the two", "#898781"},
    };
    double at = 0;
    size_t side, i;

    write_head(stream, 400, svg_path);
    fprintf(stream,
            "set lmargin at screen 0.27\nset rmargin at screen 0.98\n"
            "set xlabel 'ns since the start of the cycle' textcolor rgb '#52514e'\n"
            "set yrange [%d.6:-0.6]\nset xrange [0:%.6g]\nunset grid\nset grid xtics linecolor rgb '#e1e0d9' "
            "linetype 1\n"
            "set border 1\nset style fill solid 1 noborder\nset key inside right top Left reverse samplen "
            "1.5 textcolor rgb '#52514e'\n"
            "set ytics scale 0 (",
            TIMELINE_PLACES - 1, timeline->whole_ns * 1.12);
    for (i = 0; i < TIMELINE_PLACES; i++) {
        fprintf(stream, "%s", i > 0 ? ", " : "");
        write_quoted(stream, timeline->steps[i].name);
        fprintf(stream, " %zu", i);
    }
    fprintf(stream, ")\n");
    for (i = 0; i < TIMELINE_PLACES; i++) {
        at += timeline->steps[i].ns;
        fprintf(stream, "set label '%.0f ns' at %.6g,%zu offset character 0.6,0 textcolor rgb '#52514e'\n",
                timeline->steps[i].ns, at, i);
    }
    for (side = 0; side < sizeof sides / sizeof sides[0]; side++) {
        fprintf(stream, "$side%zu << EOD\n", side);
        for (i = 0, at = 0; i < TIMELINE_PLACES; at += timeline->steps[i++].ns) {
            if ((size_t)timeline->steps[i].side == side)
                fprintf(stream, "%.6g %zu %.6g %.6g\n", at, i, at, at + timeline->steps[i].ns);
        }
        fprintf(stream, "EOD\n");
    }
    fprintf(stream, "plot");
    for (side = 0; side < sizeof sides / sizeof sides[0]; side++) {
        /* x, y, and the box: a third of a line up and down from y */
        fprintf(stream,
                "%s $side%zu using 1:2:3:4:($2-0.33):($2+0.33) with boxxyerror linecolor rgb '%s' title ",
                side > 0 ? ", \\\n    " : "", side, sides[side].colour);
        write_quoted(stream, sides[side].name);
    }
    fprintf(stream, "\n");
}

void plot_write_script(FILE *stream, const struct plot *plot, const struct timeline *timeline,
                       const char *svg_path)
{
    switch (plot->kind) {
    case PLOT_DISTRIBUTION:
        write_distribution(stream, plot, svg_path);
        break;
    case PLOT_THROUGHPUT:
        write_throughput(stream, plot, svg_path);
        break;
    case PLOT_TIMELINE:
        write_timeline(stream, timeline, svg_path);
        break;
    }
}

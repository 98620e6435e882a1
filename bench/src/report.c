/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The report's file, and gnuplot: see report.h.
 */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More than any picture: what gnuplot writes is read into memory. */
#define SVG_BYTES_MAX (32u << 20)

/* gnuplot with the script at that path, and nobody's own settings; false with one line of reason. */
static bool run_gnuplot(const struct report *report, const char *script, char *error, size_t error_bytes)
{
    const char *const arguments[] = {report->gnuplot, "-d", script, NULL};
    char messages[HOST_PATH_MAX], line[200] = "";
    FILE *stream;
    int status;

    if (!host_temp_path("gnuplot.txt", messages, error, error_bytes) ||
        !host_run(arguments, messages, &status, error, error_bytes))
        return false;
    if (status == 0)
        return true;
    stream = fopen(messages, "r");
    while (stream != NULL && strspn(line, " \t^\n") == strlen(line) &&
           fgets(line, sizeof line, stream) != NULL)
        ;
    if (stream != NULL)
        fclose(stream);
    line[strcspn(line, "\n")] = '\0';
    snprintf(error, error_bytes, "gnuplot ended with status %d: %s", status, line);
    return false;
}

/* Writes the plot's script (NULL: one that draws nothing) and runs it. */
static bool run_script(const struct report *report, const struct report_source *source,
                       const struct plot *plot, const char *svg, char *error, size_t error_bytes)
{
    char script[HOST_PATH_MAX];
    FILE *stream;
    bool written;

    if (!host_temp_path("plot.gp", script, error, error_bytes))
        return false;
    stream = fopen(script, "w");
    if (stream != NULL && plot != NULL)
        plot_write_script(stream, plot, source->timeline, svg);
    else if (stream != NULL)
        fputs("set terminal svg dynamic noenhanced\n", stream);
    written = stream != NULL && !ferror(stream);
    if (stream != NULL && fclose(stream) != 0)
        written = false;
    if (!written)
        snprintf(error, error_bytes, "can't write %s: %s", script, strerror(errno));
    return written && run_gnuplot(report, script, error, error_bytes);
}

/* Is it there, and can it write SVG? */
static bool try_gnuplot(struct report *report, char *error, size_t error_bytes)
{
    if (!host_find_program("gnuplot", report->gnuplot)) {
        snprintf(error, error_bytes,
                 "it needs gnuplot, which isn't here (Debian: apt-get install gnuplot-nox; "
                 "on Windows there are no reports)");
        return false;
    }
    return run_script(report, NULL, NULL, NULL, error, error_bytes);
}

bool report_open(struct report *report, const char *directory, char *error, size_t error_bytes)
{
    char path[HOST_PATH_MAX];

    memset(report, 0, sizeof *report);
    if (snprintf(path, sizeof path, "%s/index.html", directory) >= (int)sizeof path) {
        snprintf(error, error_bytes, "the directory's name is too long");
        return false;
    }
    return host_output_directory(directory, error, error_bytes) &&
           host_output_open(&report->page, path, error, error_bytes) &&
           try_gnuplot(report, error, error_bytes);
}

/* All of the file as a string, or NULL. */
static char *read_text(const char *path)
{
    FILE *stream = fopen(path, "rb");
    char *text = NULL;
    long bytes;

    if (stream == NULL)
        return NULL;
    if (fseek(stream, 0, SEEK_END) == 0 && (bytes = ftell(stream)) > 0 && bytes < (long)SVG_BYTES_MAX &&
        fseek(stream, 0, SEEK_SET) == 0 && (text = calloc((size_t)bytes + 1, 1)) != NULL &&
        fread(text, 1, (size_t)bytes, stream) != (size_t)bytes) {
        free(text);
        text = NULL;
    }
    fclose(stream);
    return text;
}

static bool draw(const struct report *report, const struct report_source *source, struct plot *plot,
                 char *error, size_t error_bytes)
{
    char svg[HOST_PATH_MAX];

    if (!host_temp_path("plot.svg", svg, error, error_bytes))
        return false;
    host_remove(svg); /* that of the plot before */
    if (!run_script(report, source, plot, svg, error, error_bytes))
        return false;
    plot->svg = read_text(svg);
    if (plot->svg == NULL)
        snprintf(error, error_bytes, "gnuplot wrote no picture of \"%s\"", plot->title);
    return plot->svg != NULL;
}

bool report_finish(struct report *report, const struct report_source *source, char *error, size_t error_bytes)
{
    struct plots *plots = malloc(sizeof *plots);
    bool drawn = plots != NULL;
    size_t i;

    if (plots == NULL) {
        snprintf(error, error_bytes, "no memory");
        report_abandon(report);
        return false;
    }
    plots_choose(source, plots);
    for (i = 0; i < plots->count && drawn; i++)
        drawn = draw(report, source, &plots->all[i], error, error_bytes);
    if (drawn)
        report_write_page(report->page.stream, source, plots);
    plots_free(plots);
    free(plots);
    if (drawn)
        return host_output_finish(&report->page, error, error_bytes);
    report_abandon(report);
    return false;
}

void report_abandon(struct report *report)
{
    host_output_abandon(&report->page);
}

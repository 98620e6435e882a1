/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which plots a run gives: see report.h. Sweeps have no list of their own: the catalogue's names say what a
 * row varies, so that a row which is added comes into its plot by itself.
 */
#include "report.h"

#include <stdlib.h>
#include <string.h>

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static struct plot *add_plot(struct plots *plots, enum plot_kind kind, const char *title)
{
    struct plot *plot = &plots->all[plots->count++];

    memset(plot, 0, sizeof *plot);
    plot->kind = kind;
    plot->title = title;
    return plot;
}

/* The last plot has too little to show. */
static void leave_out(struct plots *plots)
{
    plots->left_out[plots->left_out_count++] = plots->all[--plots->count].title;
}

/* ---- Distributions ---- */

static const struct family {
    const char *title;
    const char *prefixes[6];
} families[] = {
    {"Round trips, and what two threads need for one",
     {"roundtrip/", "limit/line", "limit/two-lines", "limit/wake"}},
    {"Requests to virtio-blk", {"blk/", "limit/pread", "limit/pread-apart"}},
    {"Registers", {"mmio/", "isr/", "notify/", "config/"}},
    {"A device's life", {"lifecycle/"}},
    {"Other rows", {""}},
};
#define FAMILY_COUNT (sizeof families / sizeof families[0])

static size_t family_of(const char *name)
{
    size_t family, i;

    for (family = 0; family < FAMILY_COUNT - 1; family++) {
        for (i = 0; i < 6 && families[family].prefixes[i] != NULL; i++) {
            if (begins(name, families[family].prefixes[i]))
                return family;
        }
    }
    return FAMILY_COUNT - 1;
}

/* A throughput row's samples are times of many items that overlap: they are no latencies. */
static bool has_latency(const struct bench_result *result)
{
    return result->count > 0 && result->failure[0] == '\0' && result->histogram != NULL &&
           result->histogram->total > 0 && (!result->row->throughput || result->figures[0].batch == 1);
}

static void choose_distributions(const struct report_source *source, struct plots *plots)
{
    struct plot_series *series;
    struct plot *plot;
    size_t family, i;

    for (family = 0; family < FAMILY_COUNT; family++) {
        plot = add_plot(plots, PLOT_DISTRIBUTION, families[family].title);
        plot->x_label = "time of one item, log scale";
        plot->y_label = "share of samples";
        for (i = 0; i < source->count && plot->series_count < PLOT_SERIES_MAX; i++) {
            const struct bench_result *result = &source->results[i];

            if (!has_latency(result) || family_of(result->row->name) != family)
                continue;
            series = &plot->series[plot->series_count++];
            series->result = result;
            snprintf(series->name, sizeof series->name, "%s", result->row->name);
        }
        if (plot->series_count == 0)
            plots->count--;
    }
}

/* ---- Sweeps ---- */

/* A ring row's name, taken apart: "ring/poll/256/bytes:64/copy". */
struct sweep_name {
    char mode[24];   /* "ring/poll" */
    uint32_t size;   /* 256 */
    char key[16];    /* "bytes", or "" */
    uint32_t value;  /* 64 */
    char suffix[24]; /* "/copy", or "" */
};

/* Decimal digits at *text, which is moved past them. */
static bool take_number(const char **text, uint32_t *number_out)
{
    char *end;
    unsigned long number = strtoul(*text, &end, 10);

    if (**text < '0' || **text > '9' || number > UINT32_MAX)
        return false;
    *number_out = (uint32_t)number;
    *text = end;
    return true;
}

/* Up to any of the characters in end (or the text's end), which *text then points to. */
static bool take_word(const char **text, const char *end, char *word, size_t bytes)
{
    size_t length = strcspn(*text, end);

    if (length == 0 || length >= bytes)
        return false;
    memcpy(word, *text, length);
    word[length] = '\0';
    *text += length;
    return true;
}

static bool parse_sweep(const char *name, struct sweep_name *parsed)
{
    char kind[16];

    memset(parsed, 0, sizeof *parsed);
    if (!begins(name, "ring/"))
        return false;
    name += strlen("ring/");
    if (!take_word(&name, "/", kind, sizeof kind) || *name++ != '/' || !take_number(&name, &parsed->size))
        return false;
    snprintf(parsed->mode, sizeof parsed->mode, "ring/%s", kind);
    if (*name == '/' && strchr(name, ':') != NULL) {
        name++;
        if (!take_word(&name, ":/", parsed->key, sizeof parsed->key) || *name++ != ':' ||
            !take_number(&name, &parsed->value))
            return false;
    }
    if (*name != '\0' && *name != '/')
        return false;
    snprintf(parsed->suffix, sizeof parsed->suffix, "%s", name);
    return strlen(name) < sizeof parsed->suffix;
}

/* What may be varied. of_plain: the value that a row has whose name doesn't say, or 0. */
struct sweep {
    const char *key; /* "": the ring's size */
    const char *title, *x_label;
    uint32_t (*of_plain)(const struct bench_row *row);
};

static uint32_t plain_publish(const struct bench_row *row)
{
    return row->with.publish;
}

static uint32_t plain_bytes(const struct bench_row *row)
{
    return row->with.bytes;
}

static uint32_t plain_one(const struct bench_row *row)
{
    (void)row;
    return 1;
}

static const struct sweep sweeps[] = {
    {"", "the size of the ring", "entries of the ring", NULL},
    {"batch", "the batch", "chains published at once, at most", plain_publish},
    {"chain", "the length of chains", "descriptors a chain", plain_one},
    {"bytes", "the bytes of a buffer", "bytes a buffer", plain_bytes},
    {"queues", "the number of queues", "queues", plain_one},
    {"devices", "the number of devices", "devices", plain_one},
};
#define SWEEP_COUNT (sizeof sweeps / sizeof sweeps[0])

static struct plot_series *series_named(struct plot *plot, const char *name)
{
    struct plot_series *series;
    size_t i;

    for (i = 0; i < plot->series_count; i++) {
        if (strcmp(plot->series[i].name, name) == 0)
            return &plot->series[i];
    }
    if (plot->series_count == PLOT_SERIES_MAX)
        return NULL;
    series = &plot->series[plot->series_count++];
    snprintf(series->name, sizeof series->name, "%s", name);
    return series;
}

/* In order of x; of two points at one place the first counts. */
static void add_point(struct plot_series *series, double x, double y)
{
    size_t at = series->point_count;

    while (at > 0 && series->points[at - 1].x > x)
        at--;
    if ((at > 0 && series->points[at - 1].x == x) || series->point_count == PLOT_POINTS_MAX)
        return;
    memmove(&series->points[at + 1], &series->points[at],
            (series->point_count - at) * sizeof series->points[0]);
    series->points[at] = (struct plot_point){x, y};
    series->point_count++;
}

/* The row's point in that sweep, where it has one. plain: of rows whose names don't have the key. */
static void add_row(struct plot *plot, const struct sweep *sweep, const struct bench_result *result,
                    bool plain)
{
    struct plot_series *series;
    struct sweep_name parsed;
    char name[64];
    double x;

    if (result->count == 0 || result->failure[0] != '\0' || !result->row->throughput ||
        !parse_sweep(result->row->name, &parsed))
        return;
    if (sweep->key[0] == '\0') {
        if (plain || parsed.key[0] != '\0')
            return;
        snprintf(name, sizeof name, "%s/N%s", parsed.mode, parsed.suffix);
        x = parsed.size;
    } else {
        if (strcmp(parsed.key, plain ? "" : sweep->key) != 0)
            return;
        snprintf(name, sizeof name, "%s/%u/%s:N%s", parsed.mode, (unsigned)parsed.size, sweep->key,
                 parsed.suffix);
        x = plain ? sweep->of_plain(result->row) : parsed.value;
    }
    series = series_named(plot, name);
    if (series != NULL && x > 0)
        add_point(series, x, table_figures(result).items_per_second / 1e6);
}

/*
 * A series that only a plain row would make is none: that row is the starting point of those that vary
 * something.
 */
static void drop_series(struct plot *plot, size_t with_key)
{
    if (plot->series_count > with_key)
        plot->series_count = with_key;
}

static bool worth_showing(const struct plot *plot)
{
    size_t i;

    for (i = 0; i < plot->series_count; i++) {
        if (plot->series[i].point_count > 1)
            return true;
    }
    return false;
}

/* limit/bare-ring, which moves one buffer of 13 bytes a chain through one queue. */
static double bare_ring(const struct report_source *source)
{
    size_t i;

    for (i = 0; i < source->count; i++) {
        const struct bench_result *result = &source->results[i];

        if (strcmp(result->row->name, "limit/bare-ring") == 0 && result->count > 0 &&
            result->failure[0] == '\0')
            return table_figures(result).items_per_second / 1e6;
    }
    return 0;
}

static void choose_sweeps(const struct report_source *source, struct plots *plots)
{
    struct plot *plot;
    size_t sweep, i, with_key;

    for (sweep = 0; sweep < SWEEP_COUNT; sweep++) {
        plot = add_plot(plots, PLOT_THROUGHPUT, sweeps[sweep].title);
        plot->x_label = sweeps[sweep].x_label;
        plot->y_label = "million items a second";
        for (i = 0; i < source->count; i++)
            add_row(plot, &sweeps[sweep], &source->results[i], false);
        with_key = plot->series_count;
        for (i = 0; i < source->count && sweeps[sweep].of_plain != NULL; i++)
            add_row(plot, &sweeps[sweep], &source->results[i], true);
        drop_series(plot, with_key);
        if (!worth_showing(plot)) {
            leave_out(plots);
        } else if (sweeps[sweep].key[0] == '\0' || strcmp(sweeps[sweep].key, "batch") == 0) {
            plot->reference = bare_ring(source);
            plot->reference_name = "limit/bare-ring";
        }
    }
}

void plots_choose(const struct report_source *source, struct plots *plots)
{
    memset(plots, 0, sizeof *plots);
    choose_distributions(source, plots);
    choose_sweeps(source, plots);
    if (source->timeline->failure[0] == '\0' && source->timeline->cycles > 0)
        add_plot(plots, PLOT_TIMELINE, "One cycle, from Add to the waiter awake");
}

void plots_free(struct plots *plots)
{
    size_t i;

    for (i = 0; i < plots->count; i++)
        free(plots->all[i].svg);
    plots->count = 0;
}

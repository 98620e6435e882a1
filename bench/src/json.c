/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * JSON as Google Benchmark writes it: see json.h. One "iteration" record a repetition, then mean, median and
 * stddev of them where there are several. iterations are items, so real_time is per item, as everywhere.
 */
#include "json.h"

#include "build.h"
#include "machine.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

void json_write_string(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        unsigned char character = (unsigned char)*text;

        if (character == '"' || character == '\\')
            fprintf(stream, "\\%c", character);
        else if (character < 0x20)
            fprintf(stream, "\\u%04x", character);
        else
            fputc(character, stream);
    }
    fputc('"', stream);
}

static void write_text(FILE *stream, const char *indent, const char *key, const char *text, const char *end)
{
    fprintf(stream, "%s\"%s\": ", indent, key);
    json_write_string(stream, text);
    fprintf(stream, "%s\n", end);
}

/* ---- Context ---- */

/* Local time with its distance from UTC: 2024-02-29T23:59:58+01:00. */
static void write_date(FILE *stream)
{
    time_t now = time(NULL);
    struct tm local = *localtime(&now), utc = *gmtime(&now);
    char date[40];
    size_t used;
    int days = local.tm_yday - utc.tm_yday, minutes;

    if (local.tm_year != utc.tm_year)
        days = local.tm_year > utc.tm_year ? 1 : -1;
    minutes = (days * 24 + local.tm_hour - utc.tm_hour) * 60 + local.tm_min - utc.tm_min;
    used = strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &local);
    snprintf(date + used, sizeof date - used, "%c%02d:%02d", minutes < 0 ? '-' : '+',
             (minutes < 0 ? -minutes : minutes) / 60, (minutes < 0 ? -minutes : minutes) % 60);
    write_text(stream, "    ", "date", date, ",");
}

static void write_caches(FILE *stream, const struct machine *machine)
{
    size_t i;

    fprintf(stream, "    \"caches\": [");
    for (i = 0; i < machine->cache_count; i++)
        fprintf(stream, "%s\n      {\"type\": \"%s\", \"level\": %u, \"size\": %u, \"num_sharing\": %u}",
                i > 0 ? "," : "", machine->caches[i].type, machine->caches[i].level, machine->caches[i].bytes,
                machine->caches[i].sharing);
    fprintf(stream, "\n    ],\n");
}

static void write_options(FILE *stream, const struct bench_options *options)
{
    size_t i;

    fprintf(stream, "    \"aero_seed\": %" PRIu64 ",\n    \"aero_smoke\": %s,\n", options->seed,
            options->smoke ? "true" : "false");
    if (options->driver_cpu >= 0)
        fprintf(stream, "    \"aero_driver_cpu\": %d,\n    \"aero_device_cpu\": %d,\n", options->driver_cpu,
                options->device_cpu);
    write_text(stream, "    ", "aero_device", options->device, ",");
    fprintf(stream, "    \"aero_quirks\": [");
    for (i = 0; i < options->quirk_count; i++) {
        fprintf(stream, "%s", i > 0 ? ", " : "");
        json_write_string(stream, options->quirks[i]);
    }
    fprintf(stream, "],\n");
}

static void write_context(FILE *stream, const struct bench_session *session, const char *executable)
{
    struct machine machine = machine_ask();
    double load[3];
    char name[256];
    int loads, i;

    host_name(name, sizeof name);
    fprintf(stream, "  \"context\": {\n");
    write_date(stream);
    write_text(stream, "    ", "host_name", name, ",");
    write_text(stream, "    ", "executable", executable, ",");
    fprintf(stream,
            "    \"num_cpus\": %d,\n    \"mhz_per_cpu\": %.0f,\n    \"cpu_scaling_enabled\": false,\n",
            sim_os_cpu_count(), bench_clock.tsc_mhz);
    write_caches(stream, &machine);
    loads = host_load(load);
    fprintf(stream, "    \"load_avg\": [");
    for (i = 0; i < loads; i++)
        fprintf(stream, "%s%.2f", i > 0 ? ", " : "", load[i]);
    fprintf(stream, "],\n");
    write_text(stream, "    ", "library_build_type",
               BUILD_OPTIMIZED && BUILD_SANITIZER[0] == '\0' ? "release" : "debug", ",");
    write_text(stream, "    ", "aero_version", AERO_BUILD_VERSION, ",");
    write_text(stream, "    ", "aero_commit", AERO_BUILD_COMMIT, ",");
    write_text(stream, "    ", "aero_compiler", AERO_BUILD_COMPILER, ",");
    write_text(stream, "    ", "aero_flags", AERO_BUILD_FLAGS, ",");
    write_text(stream, "    ", "aero_target", AERO_BUILD_TARGET, ",");
    write_text(stream, "    ", "aero_cpu", machine.model, ",");
    write_text(stream, "    ", "aero_clock", bench_clock.tsc ? "tsc" : "host", ",");
    fprintf(stream, "    \"aero_clock_reading_ns\": %.2f,\n", bench_clock.reading_ns);
    write_options(stream, &session->options);
    fprintf(stream, "    \"json_schema_version\": 1\n  },\n");
}

/* ---- Records ---- */

struct record {
    FILE *stream;
    const struct bench_result *result;
    size_t family;
    uint32_t repetitions;
    bool first; /* of the whole list: no comma before it */
};

static void begin_record(struct record *record, const char *aggregate)
{
    const char *name = record->result->row->name;

    fprintf(record->stream, "%s\n    {\n", record->first ? "" : ",");
    record->first = false;
    fprintf(record->stream, "      \"name\": \"%s%s%s\",\n", name, aggregate != NULL ? "_" : "",
            aggregate != NULL ? aggregate : "");
    fprintf(record->stream, "      \"family_index\": %zu,\n      \"per_family_instance_index\": 0,\n",
            record->family);
    fprintf(record->stream, "      \"run_name\": \"%s\",\n      \"run_type\": \"%s\",\n", name,
            aggregate != NULL ? "aggregate" : "iteration");
    fprintf(record->stream, "      \"repetitions\": %" PRIu32 ",\n", record->repetitions);
}

static void write_figures(FILE *stream, const struct bench_figures *figures)
{
    fprintf(stream, "      \"real_time\": %.6e,\n      \"cpu_time\": %.6e,\n      \"time_unit\": \"ns\",\n",
            figures->real_ns, figures->cpu_ns);
    if (figures->items_per_second >= 0)
        fprintf(stream, "      \"items_per_second\": %.6e,\n", figures->items_per_second);
    if (figures->doorbells_per_item >= 0)
        fprintf(stream, "      \"doorbells_per_item\": %.6e,\n      \"interrupts_per_item\": %.6e,\n",
                figures->doorbells_per_item, figures->interrupts_per_item);
    fprintf(stream,
            "      \"p50_ns\": %.6e,\n      \"p90_ns\": %.6e,\n      \"p99_ns\": %.6e,\n      \"p999_ns\": "
            "%.6e,\n"
            "      \"max_ns\": %.6e,\n      \"samples\": %" PRIu32 ",\n      \"batch\": %" PRIu32 "\n    }",
            figures->spread.p50, figures->spread.p90, figures->spread.p99, figures->spread.p999,
            figures->spread.max, figures->samples, figures->batch);
}

static void write_iteration(struct record *record, uint32_t index)
{
    const struct bench_figures *figures = &record->result->figures[index];

    begin_record(record, NULL);
    fprintf(record->stream, "      \"repetition_index\": %" PRIu32 ",\n      \"threads\": 1,\n", index);
    fprintf(record->stream, "      \"iterations\": %" PRIu64 ",\n", figures->items);
    write_figures(record->stream, figures);
}

static void write_aggregate(struct record *record, const char *name,
                            double (*fold)(const double *values, size_t n))
{
    struct bench_figures figures = stats_fold(record->result->figures, record->result->count, fold);

    begin_record(record, name);
    fprintf(record->stream, "      \"threads\": 1,\n      \"aggregate_name\": \"%s\",\n", name);
    fprintf(record->stream, "      \"aggregate_unit\": \"time\",\n      \"iterations\": %" PRIu32 ",\n",
            record->result->count);
    write_figures(record->stream, &figures);
}

static void write_failure(struct record *record)
{
    begin_record(record, NULL);
    fprintf(record->stream, "      \"repetition_index\": %" PRIu32 ",\n      \"threads\": 1,\n",
            record->result->count);
    fprintf(record->stream, "      \"error_occurred\": true,\n      \"error_message\": ");
    json_write_string(record->stream, record->result->failure);
    fprintf(record->stream,
            ",\n      \"iterations\": 0,\n      \"real_time\": 0.0,\n      \"cpu_time\": 0.0,\n"
            "      \"time_unit\": \"ns\"\n    }");
}

void json_write(FILE *stream, const struct bench_session *session, const char *executable,
                const struct bench_result *results, size_t count)
{
    struct record record = {.stream = stream, .repetitions = session->options.repetitions, .first = true};
    uint32_t i;

    fprintf(stream, "{\n");
    write_context(stream, session, executable);
    fprintf(stream, "  \"benchmarks\": [");
    for (record.family = 0; record.family < count; record.family++) {
        record.result = &results[record.family];
        for (i = 0; i < record.result->count; i++)
            write_iteration(&record, i);
        if (record.result->failure[0] != '\0') {
            write_failure(&record);
        } else if (record.result->count > 1) {
            write_aggregate(&record, "mean", stats_mean);
            write_aggregate(&record, "median", stats_median);
            write_aggregate(&record, "stddev", stats_stddev);
        }
    }
    fprintf(stream, "\n  ]\n}\n");
}

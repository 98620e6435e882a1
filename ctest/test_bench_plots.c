/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What --report makes of a run, without gnuplot: which plots there are and with which points, gnuplot's SVG
 * on its way into the page, the page's table and sections, distributions and the timeline's steps. The runs
 * are made up.
 */
#define _GNU_SOURCE /* for host_linux.c below */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../bench/src/clock.c"
#include "../bench/src/histogram.c"
#include "../bench/src/host.c"
#include "../bench/src/machine.c"
#include "../bench/src/report_page.c"
#include "../bench/src/report_plot.c"
#include "../bench/src/report_script.c"
#include "../bench/src/report_svg.c"
#include "../bench/src/stats.c"
#include "../bench/src/table.c"
#include "../bench/src/timeline_steps.c"
#ifdef _WIN32
#include "../bench/src/host_windows.c"
#else
#include "../bench/src/host_linux.c"
#endif

#include "capture.h"
#include "test_program.h"

/* ---- A made-up run ---- */

#define ROWS 40

static struct bench_session session;
static struct bench_row rows[ROWS];
static struct bench_figures figures[ROWS];
static struct histogram histograms[ROWS];
static struct bench_result results[ROWS];
static struct timeline timeline;
static struct report_source source;
static struct plots plots;

static int begin_run(void **state)
{
    memset(&session, 0, sizeof session);
    memset(rows, 0, sizeof rows);
    memset(figures, 0, sizeof figures);
    memset(histograms, 0, sizeof histograms);
    memset(results, 0, sizeof results);
    memset(&timeline, 0, sizeof timeline);
    memset(&source, 0, sizeof source);
    session.options.device = "loopback";
    session.options.repetitions = 1;
    session.options.driver_cpu = session.options.device_cpu = -1;
    source.session = &session;
    source.results = results;
    source.timeline = &timeline;
    bench_clock.ns_per_tick = 1;
    return 0;
}

/* A row of that p50, in ns, and throughput in million items a second, or 0 where it's a latency. */
static struct bench_result *add(const char *name, double p50, double rate)
{
    size_t i = source.count++;
    uint64_t samples[] = {(uint64_t)p50 / 2, (uint64_t)p50, (uint64_t)p50 * 3};

    rows[i] = (struct bench_row){.name = name, .throughput = rate > 0};
    if (!begins(name, "limit/"))
        rows[i].with = (struct bench_parameters){.queue_size = 256, .publish = 32, .bytes = 13};
    figures[i] = (struct bench_figures){.samples = 3,
                                        .batch = 1,
                                        .items = 3,
                                        .real_ns = p50,
                                        .cpu_ns = p50,
                                        .items_per_second = rate > 0 ? rate * 1e6 : -1,
                                        .doorbells_per_item = -1,
                                        .interrupts_per_item = -1,
                                        .spread = {p50, p50, p50, p50, p50 * 3}};
    if (rate > 0)
        figures[i].batch = 1024;
    histogram_add(&histograms[i], samples, 3);
    results[i] = (struct bench_result){
        .row = &rows[i], .figures = &figures[i], .count = 1, .histogram = &histograms[i]};
    return &results[i];
}

static void fail_row(struct bench_result *result, const char *why)
{
    result->count = 0;
    snprintf(result->failure, sizeof result->failure, "%s", why);
}

static struct plot *plot_titled(const char *title)
{
    for (size_t i = 0; i < plots.count; i++) {
        if (strcmp(plots.all[i].title, title) == 0)
            return &plots.all[i];
    }
    return NULL;
}

static bool left_out(const char *title)
{
    for (size_t i = 0; i < plots.left_out_count; i++) {
        if (strcmp(plots.left_out[i], title) == 0)
            return true;
    }
    return false;
}

static void assert_point(const struct plot_series *series, size_t index, double x, double y)
{
    assert_true(index < series->point_count);
    assert_true(series->points[index].x == x);
    assert_true(series->points[index].y == y);
}

/* ---- Sweeps ---- */

static void test_sweep_of_sizes_has_each_size_in_order(void **state)
{
    const struct plot *plot;

    add("limit/bare-ring", 8, 125);
    add("ring/poll/256", 50, 20);
    add("ring/poll/2", 200, 5);
    add("ring/poll/32768", 100, 10);
    add("ring/poll/256/batch:4", 70, 15);
    plots_choose(&source, &plots);
    plot = plot_titled("the size of the ring");
    assert_non_null(plot);
    assert_int_equal(plot->series_count, 1);
    assert_string_equal(plot->series[0].name, "ring/poll/N");
    assert_int_equal(plot->series[0].point_count, 3);
    assert_point(&plot->series[0], 0, 2, 5);
    assert_point(&plot->series[0], 1, 256, 20);
    assert_point(&plot->series[0], 2, 32768, 10);
    assert_true(plot->reference == 125);
}

static void test_sweep_takes_in_the_row_that_says_nothing_of_it(void **state)
{
    const struct plot *plot;

    add("ring/poll/256", 50, 20);
    add("ring/poll/256/batch:1", 100, 10);
    add("ring/poll/256/chain:4", 100, 7);
    add("ring/poll/256/queues:2", 100, 18);
    add("ring/poll/256/devices:8", 100, 17);
    add("ring/poll/1024", 40, 25); /* nothing of that size varies its batch */
    plots_choose(&source, &plots);
    plot = plot_titled("the batch"); /* the plain row's 32 */
    assert_non_null(plot);
    assert_int_equal(plot->series_count, 1);
    assert_string_equal(plot->series[0].name, "ring/poll/256/batch:N");
    assert_point(&plot->series[0], 0, 1, 10);
    assert_point(&plot->series[0], 1, 32, 20);
    assert_point(&plot_titled("the length of chains")->series[0], 0, 1, 20);
    assert_point(&plot_titled("the number of queues")->series[0], 0, 1, 20);
    assert_point(&plot_titled("the number of devices")->series[0], 1, 8, 17);
}

static void test_sweep_of_bytes_keeps_copies_apart(void **state)
{
    const struct plot *plot;

    add("ring/poll/256", 50, 20);
    add("ring/poll/256/bytes:64", 60, 19);
    add("ring/poll/256/bytes:64/copy", 80, 12);
    add("ring/poll/256/bytes:4096/copy", 300, 3);
    plots_choose(&source, &plots);
    plot = plot_titled("the bytes of a buffer");
    assert_non_null(plot);
    assert_int_equal(plot->series_count, 2);
    assert_int_equal(plot->series[0].point_count, 2);
    assert_point(&plot->series[0], 0, 13, 20);
    assert_string_equal(plot->series[1].name, "ring/poll/256/bytes:N/copy");
    assert_int_equal(plot->series[1].point_count, 2);
    assert_point(&plot->series[1], 1, 4096, 3);
}

static void test_sweep_of_two_rows_for_one_value_takes_the_one_that_names_it(void **state)
{
    add("ring/poll/256", 50, 20);
    add("ring/poll/256/batch:32", 51, 19);
    add("ring/poll/256/batch:1", 100, 10);
    plots_choose(&source, &plots);
    assert_int_equal(plot_titled("the batch")->series[0].point_count, 2);
    assert_point(&plot_titled("the batch")->series[0], 1, 32, 19);
}

static void test_sweep_without_two_points_is_left_out_and_named(void **state)
{
    add("ring/poll/256", 50, 20);
    add("ring/poll/256/indirect", 60, 18); /* varies nothing that has a number */
    add("ring/kick/256/batch:32", 70, 14);
    fail_row(add("ring/poll/2", 200, 5), "no memory");
    add("ring/poll/256x/batch:2", 70, 14); /* no name of that form */
    plots_choose(&source, &plots);
    assert_int_equal(plots.count, 0);
    assert_int_equal(plots.left_out_count, 6);
    assert_true(left_out("the size of the ring"));
    assert_true(left_out("the batch"));
    assert_true(left_out("the bytes of a buffer"));
}

/* ---- Distributions ---- */

static void test_distributions_are_of_latencies_by_kind(void **state)
{
    add("limit/line", 60, 0);
    add("mmio/read8", 4, 0);
    add("roundtrip/poll", 130, 0);
    add("ring/poll/256", 50, 20);
    add("brand-new/row", 50, 0);
    fail_row(add("roundtrip/kick-isr-spin", 300, 0), "no interrupt");
    plots_choose(&source, &plots);
    assert_int_equal(plots.count, 3);
    assert_int_equal(plots.all[0].series_count, 2);
    assert_string_equal(plots.all[0].series[1].name, "roundtrip/poll");
    assert_string_equal(plots.all[1].title, "Registers");
    assert_string_equal(plots.all[2].title, "Other rows");
}

static void test_histogram_keeps_values_within_a_64th(void **state)
{
    uint64_t value = 1;

    for (int i = 0; i < 700; i++, value += value / 11 + 1) {
        uint64_t last = histogram_last(histogram_bucket(value));

        assert_true(last >= value && last - value <= value / 64);
        assert_true(value >= 128 || last == value);
        assert_int_equal(histogram_bucket(last), histogram_bucket(value));
        assert_int_equal(histogram_bucket(last + 1), histogram_bucket(value) + 1);
        if (value > UINT64_MAX / 2)
            break;
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_true(histogram_last(HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
}

static void test_histogram_walk_counts_up_to_the_greatest_sample(void **state)
{
    static const uint64_t first[] = {5, 5, 90}, second[] = {7, 1000001};
    struct histogram *histogram = &histograms[0];
    uint64_t value = 0;
    size_t bucket = 0;

    histogram_add(histogram, first, 3);
    histogram_add(histogram, second, 2); /* another repetition */
    assert_int_equal(histogram_next(histogram, &bucket, &value, 0), 2);
    assert_int_equal(value, 5);
    assert_int_equal(histogram_next(histogram, &bucket, &value, 2), 3);
    assert_int_equal(value, 7);
    assert_int_equal(histogram_next(histogram, &bucket, &value, 3), 4);
    assert_int_equal(value, 90);
    assert_int_equal(histogram_next(histogram, &bucket, &value, 4), 5);
    assert_int_equal(value, 1000001); /* not its bucket's end */
    assert_int_equal(histogram_next(histogram, &bucket, &value, 5), 0);
}

static void test_nines_count_from_the_top(void **state)
{
    assert_true(fabs(nines(90, 100) - 1) < 1e-9);
    assert_true(fabs(nines(999, 1000) - 3) < 1e-9);
    assert_true(fabs(nines(50, 100) - 0.30103) < 1e-5);
    assert_true(nines(1000, 1000) > 3 && nines(1000, 1000) < 3.5);
}

/* ---- The timeline ---- */

static void set_timeline(void)
{
    double offsets[TIMELINE_PLACES];

    for (size_t i = 0; i < TIMELINE_PLACES; i++)
        offsets[i] = 10.0 * (double)(i + 1);
    timeline_steps(offsets, &timeline);
    timeline.cycles = 250;
}

static double sum_of_steps(void)
{
    double sum = 0;

    for (size_t i = 0; i < TIMELINE_PLACES; i++) {
        assert_true(timeline.steps[i].ns >= 0);
        sum += timeline.steps[i].ns;
    }
    return sum;
}

static void test_timeline_steps_add_up_to_the_cycle(void **state)
{
    set_timeline();
    assert_true(timeline.whole_ns == 10 * TIMELINE_PLACES);
    assert_true(sum_of_steps() == timeline.whole_ns);
    assert_true(timeline.steps[TIMELINE_SEEN].ns == 10);
    assert_int_equal(timeline.steps[TIMELINE_SEEN].side, TIMELINE_BETWEEN);
}

static void test_timeline_places_out_of_order_make_no_negative_step(void **state)
{
    double offsets[TIMELINE_PLACES] = {10, 8, 30, 25, 40, 50, 60, 70, 80, 90, 130, 120};

    timeline_steps(offsets, &timeline);
    assert_true(timeline.steps[TIMELINE_PUBLISHED].ns == 0);
    assert_true(timeline.steps[TIMELINE_RUNG].ns == 20);
    assert_true(timeline.steps[TIMELINE_SEEN].ns == 0);
    assert_true(timeline.steps[TIMELINE_REAPED].ns == 30); /* and not beyond the end */
    assert_true(timeline.steps[TIMELINE_AWAKE].ns == 0);
    assert_true(sum_of_steps() == 120);
}

/* ---- Text that is written ---- */

static char text[262144];

static void write_awkward_text(FILE *stream)
{
    report_write_text(stream, "a<b>&\"c\" \x01\xFF");
}

static void test_text_is_escaped(void **state)
{
    capture(write_awkward_text, text, sizeof text);
    assert_string_equal(text, "a&lt;b&gt;&amp;&quot;c&quot; ??");
}

static const char *svg;
static bool svg_written;

static void write_svg(FILE *stream)
{
    svg_written = report_write_svg(stream, svg, "plot7", "a \"b\"");
}

static void test_svg_becomes_a_part_of_the_page(void **state)
{
    svg = "<?xml version=\"1.0\"?>\n<svg \n viewBox=\"0 0 9 9\">\n<title>Gnuplot</title>\n<desc>Produced "
          "by</desc>"
          "<g id=\"canvas\"><path id='gpPt0'/><use xlink:href='#gpPt0' color='rgb( 42, 120, 214)'/>"
          "<text font-family=\"sans\" fill=\"rgb(0,0,0)\">x</text><title>ring/poll</title></g></svg>";
    capture(write_svg, text, sizeof text);
    assert_true(svg_written);
    assert_string_equal(text,
                        "<svg role=\"img\" aria-label=\"a &quot;b&quot;\" \n viewBox=\"0 0 9 9\">\n\n"
                        "<g id=\"plot7-canvas\"><path id='plot7-gpPt0'/><use xlink:href='#plot7-gpPt0' "
                        "color='#2a78d6'/><text fill=\"#000000\">x</text><title>ring/poll</title></g></svg>");
}

static void test_svg_that_is_none_is_refused(void **state)
{
    svg = "gnuplot: out of memory";
    capture(write_svg, text, sizeof text);
    assert_false(svg_written);
    svg = "<svg><g>"; /* cut off */
    capture(write_svg, text, sizeof text);
    assert_false(svg_written);
    assert_string_equal(text, "");
}

static const struct plot *scripted;

static void write_script(FILE *stream)
{
    plot_write_script(stream, scripted, &timeline, "/tmp/it's here.svg");
}

static void test_script_quotes_its_path_and_has_each_series(void **state)
{
    add("ring/poll/256", 50, 20);
    add("ring/poll/4", 80, 12);
    add("limit/wake", 60000, 0);
    set_timeline();
    plots_choose(&source, &plots);
    scripted = plot_titled("the size of the ring");
    capture(write_script, text, sizeof text);
    assert_non_null(strstr(text, "set output '/tmp/it''s here.svg'\n"));
    assert_non_null(strstr(text, "$data0 << EOD\n4 12\n256 20\nEOD\n"));
    assert_non_null(strstr(text, "title 'ring/poll/N'"));
    assert_null(strstr(text, "bare-ring")); /* it isn't in this run */

    scripted = &plots.all[0];
    capture(write_script, text, sizeof text);
    assert_non_null(strstr(text, "title 'limit/wake'"));
    assert_non_null(strstr(text, "0.00018 ")); /* the greatest of its samples, in seconds */

    scripted = &plots.all[plots.count - 1];
    assert_int_equal(scripted->kind, PLOT_TIMELINE);
    capture(write_script, text, sizeof text);
    assert_non_null(strstr(text, "'Event set, waiter awake' 11"));
    assert_non_null(strstr(text, "\n110 11 110 120\n"));
}

/* ---- The page ---- */

static void write_page(FILE *stream)
{
    report_write_page(stream, &source, &plots);
}

/* What stands behind the eleven columns of that row. */
static const char *ratios_of(const char *name)
{
    static char cells[400];
    char begin[80];
    const char *at;

    snprintf(begin, sizeof begin, ">%s</td>", name);
    at = strstr(text, begin);
    assert_non_null(at);
    for (int column = 0; column < 11; column++) {
        at = strstr(at, "</td>");
        assert_non_null(at);
        at += strlen("</td>");
    }
    snprintf(cells, sizeof cells, "%.*s", (int)strcspn(at, "\n"), at);
    assert_non_null(strstr(cells, "</tr>"));
    *strstr(cells, "</tr>") = '\0';
    return cells;
}

static void test_page_sets_rows_against_their_limits(void **state)
{
    add("limit/line", 60, 0);
    add("limit/two-lines", 120, 0);
    add("limit/wake", 60000, 0);
    add("limit/pread", 1000, 1);
    rows[3].with.bytes = 4096;
    add("roundtrip/poll", 150, 0);
    add("roundtrip/kick-isr-spin", 360, 0);
    add("roundtrip/kick-isr-sleep", 30000, 0);
    add("blk/read/4096", 2500, 0.4);
    rows[7].with.bytes = 4096;
    add("blk/read/65536", 9000, 0.1);
    rows[8].with.bytes = 65536;
    plots_choose(&source, &plots);
    capture(write_page, text, sizeof text);
    assert_non_null(strstr(text, "<th>p50 /<br/>line</th><th>p50 /<br/>two-lines</th><th>p50 /<br/>wake</th>"
                                 "<th>p50 /<br/>pread</th></tr>")); /* no bare-ring: it didn't run */
    assert_string_equal(ratios_of("roundtrip/poll"), "<td>2.50</td><td>1.25</td><td></td><td></td>");
    assert_string_equal(ratios_of("roundtrip/kick-isr-spin"), "<td></td><td>3.00</td><td></td><td></td>");
    assert_string_equal(ratios_of("roundtrip/kick-isr-sleep"), "<td></td><td></td><td>0.50</td><td></td>");
    assert_string_equal(ratios_of("blk/read/4096"), "<td></td><td></td><td></td><td>2.50</td>");
    assert_string_equal(ratios_of("blk/read/65536"),
                        "<td></td><td></td><td></td><td></td>"); /* other bytes */
    assert_string_equal(ratios_of("limit/line"), "<td></td><td></td><td></td><td></td>");
}

static void test_page_gives_no_ratio_to_a_limit_that_failed(void **state)
{
    fail_row(add("limit/wake", 60000, 0), "no second <thread>");
    add("roundtrip/kick-isr-sleep", 30000, 0);
    plots_choose(&source, &plots);
    capture(write_page, text, sizeof text);
    assert_null(strstr(text, "<br/>wake"));
    assert_string_equal(ratios_of("roundtrip/kick-isr-sleep"), "");
    assert_non_null(strstr(text, "failed: no second &lt;thread&gt;"));
}

static void test_page_has_each_section_and_says_what_is_missing(void **state)
{
    static const char *const arguments[] = {"aero-bench", "--filter", "a<b"};

    add("ring/poll/256", 50, 20);
    snprintf(timeline.failure, sizeof timeline.failure, "no interrupt came");
    session.options.seed = 77;
    source.argc = 3;
    source.argv = arguments;
    plots_choose(&source, &plots);
    capture(write_page, text, sizeof text);
    assert_non_null(strstr(text, "<h2 id=\"table\">"));
    assert_non_null(strstr(text, "<h2 id=\"latency\">"));
    assert_non_null(strstr(text, "no row with latencies"));
    assert_non_null(strstr(text, "<h2 id=\"throughput\">"));
    assert_non_null(strstr(text, "the size of the ring; the batch"));
    assert_non_null(strstr(text, "Not measured: no interrupt came"));
    assert_non_null(strstr(text, "<dt>seed</dt><dd>77</dd>"));
    assert_non_null(strstr(text, "<dt>commit</dt><dd>" AERO_BUILD_COMMIT "</dd>"));
    assert_non_null(strstr(text, "<code>aero-bench --filter a&lt;b</code>"));
    assert_non_null(strstr(text, "</html>"));
    assert_null(strstr(text, "http"));
    assert_null(strstr(text, "<script"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sweep_of_sizes_has_each_size_in_order, begin_run),
        cmocka_unit_test_setup(test_sweep_takes_in_the_row_that_says_nothing_of_it, begin_run),
        cmocka_unit_test_setup(test_sweep_of_bytes_keeps_copies_apart, begin_run),
        cmocka_unit_test_setup(test_sweep_of_two_rows_for_one_value_takes_the_one_that_names_it, begin_run),
        cmocka_unit_test_setup(test_sweep_without_two_points_is_left_out_and_named, begin_run),
        cmocka_unit_test_setup(test_distributions_are_of_latencies_by_kind, begin_run),
        cmocka_unit_test_setup(test_histogram_keeps_values_within_a_64th, begin_run),
        cmocka_unit_test_setup(test_histogram_walk_counts_up_to_the_greatest_sample, begin_run),
        cmocka_unit_test_setup(test_nines_count_from_the_top, begin_run),
        cmocka_unit_test_setup(test_timeline_steps_add_up_to_the_cycle, begin_run),
        cmocka_unit_test_setup(test_timeline_places_out_of_order_make_no_negative_step, begin_run),
        cmocka_unit_test_setup(test_text_is_escaped, begin_run),
        cmocka_unit_test_setup(test_svg_becomes_a_part_of_the_page, begin_run),
        cmocka_unit_test_setup(test_svg_that_is_none_is_refused, begin_run),
        cmocka_unit_test_setup(test_script_quotes_its_path_and_has_each_series, begin_run),
        cmocka_unit_test_setup(test_page_sets_rows_against_their_limits, begin_run),
        cmocka_unit_test_setup(test_page_gives_no_ratio_to_a_limit_that_failed, begin_run),
        cmocka_unit_test_setup(test_page_has_each_section_and_says_what_is_missing, begin_run),
    };

    test_program(argc, argv, tests);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

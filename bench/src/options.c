/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The command line: see options.h.
 */
#include "options.h"

#include "aero_sim.h"
#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "stats.h"
#include "suggest.h"

const char options_help[] =
    "usage: aero-bench [run] [option...]\n"
    "       aero-bench list [benchmarks|devices|quirks]\n"
    "\n"
    "Without options: makes an ext4 image, reads it through the real transport and a simulated virtio-blk "
    "device,\n"
    "compares every byte, writes a copy the same way and lets e2fsck judge it; then runs the "
    "benchmarks, and\n"
    "prints a table. Exit status: 0 all well, 1 something failed, 2 the command line was wrong.\n"
    "\n"
    "  --filter REGEX     only benchmarks whose name matches, and no image job (unless --image asks for "
    "it).\n"
    "                     The same on each host: . [a-z] [^a-z] * + ? | ( ) ^ $ and \\ before a special "
    "character;\n"
    "                     it matches anywhere in the name, as in grep -E\n"
    "  --image FILE       the image job reads this file (opened read-only) in place of one of its own\n"
    "  --sweeps           also the rows that vary one thing of ring/poll/256; --filter, --smoke and --report "
    "take\n"
    "                     them in by themselves\n"
    "  --smoke            a few samples of everything, in seconds: does it work? The figures mean little\n"
    "  --repetitions N    each benchmark N times, all in turn; the table then shows medians over "
    "repetitions\n"
    "  --json FILE        the figures in Google Benchmark's JSON schema, for its compare.py (N >= 10 is "
    "wise)\n"
    "  --report DIR       writes DIR/index.html: table, ratios to the limits, distributions, throughput, and "
    "a "
    "cycle's\n"
    "                     timeline on one page that needs no network and no script (drawn by gnuplot)\n"
    "  --pin A,B          driver thread on CPU A, device thread on CPU B (default: the first two usable "
    "ones)\n"
    "  --device NAME      model under mmio/*, lifecycle/*, config/*, notify/* and isr/* (default: loopback)\n"
    "  --quirk NAME       turns a quirk of the device on; may be given several times\n"
    "  --seed N           seed of file contents, payloads and offsets (default: 1)\n"
    "  --help, --version\n"
    "\n"
    "The table: n is the number of samples. Where batch isn't 1 a sample is the time of that many items, and "
    "the\n"
    "percentiles are of samples divided by it. Percentiles are by nearest rank: p99.9 of fewer than 1000 "
    "samples is\n"
    "their maximum. Nothing is subtracted from any figure; the header says what reading the clock costs. A "
    "benchmark\n"
    "that takes long ends after 5 s (0.2 s in a smoke run), with fewer samples.\n";

/* ---- Parsing ---- */

struct reader {
    int argc, next;
    const char *const *argv;
    struct bench_options *options;
    char *error;
    size_t error_bytes;
};

static bool wrong(struct reader *reader, const char *format, ...) HOST_PRINTF(2, 3);
static bool wrong(struct reader *reader, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reader->error, reader->error_bytes, format, arguments);
    va_end(arguments);
    return false;
}

/* Decimal digits, or hexadecimal ones behind 0x; all of the text, and no sign. */
static bool read_number(const char *text, uint64_t *number_out)
{
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hexadecimal ? text + 2 : text;

    if (digits[0] == '\0' ||
        strspn(digits, hexadecimal ? "0123456789abcdefABCDEF" : "0123456789") != strlen(digits))
        return false;
    errno = 0;
    *number_out = strtoull(digits, NULL, hexadecimal ? 16 : 10);
    return errno == 0;
}

static bool take_filter(struct reader *reader, const char *value)
{
    reader->options->filter = value;
    return true;
}

static bool take_json(struct reader *reader, const char *value)
{
    if (value[0] == '\0')
        return wrong(reader, "--json: the file's name is empty");
    reader->options->json = value;
    return true;
}

static bool take_report(struct reader *reader, const char *value)
{
    if (value[0] == '\0')
        return wrong(reader, "--report: the directory's name is empty");
    reader->options->report = value;
    return true;
}

static bool take_image(struct reader *reader, const char *value)
{
    if (value[0] == '\0')
        return wrong(reader, "--image: the file's name is empty");
    reader->options->image = value;
    return true;
}

static bool take_device(struct reader *reader, const char *value)
{
    reader->options->device = value;
    return true;
}

static bool take_quirk(struct reader *reader, const char *value)
{
    struct bench_options *options = reader->options;
    size_t i;

    for (i = 0; i < options->quirk_count; i++) {
        if (strcmp(options->quirks[i], value) == 0)
            return true;
    }
    if (options->quirk_count == OPTIONS_QUIRKS_MAX)
        return wrong(reader, "--quirk %s: more than %u quirks at a time", value, OPTIONS_QUIRKS_MAX);
    options->quirks[options->quirk_count++] = value;
    return true;
}

static bool take_smoke(struct reader *reader, const char *value)
{
    (void)value;
    reader->options->smoke = true;
    return true;
}

static bool take_sweeps(struct reader *reader, const char *value)
{
    (void)value;
    reader->options->sweeps = true;
    return true;
}

static bool take_repetitions(struct reader *reader, const char *value)
{
    uint64_t number;

    if (!read_number(value, &number) || number < 1 || number > BENCH_REPETITIONS_MAX)
        return wrong(reader, "--repetitions %s: not a number from 1 to %u", value, BENCH_REPETITIONS_MAX);
    reader->options->repetitions = (uint32_t)number;
    return true;
}

static bool take_seed(struct reader *reader, const char *value)
{
    if (!read_number(value, &reader->options->seed))
        return wrong(reader, "--seed %s: not a number from 0 to 2^64 - 1 (decimal, or hexadecimal behind 0x)",
                     value);
    return true;
}

static bool take_pin(struct reader *reader, const char *value)
{
    const char *comma = strchr(value, ',');
    uint64_t driver, device;
    char first[24];

    if (comma == NULL || (size_t)(comma - value) >= sizeof first)
        return wrong(reader, "--pin %s: not two CPU numbers with a comma between, such as 0,1", value);
    memcpy(first, value, (size_t)(comma - value));
    first[comma - value] = '\0';
    if (!read_number(first, &driver) || !read_number(comma + 1, &device) || driver > INT32_MAX ||
        device > INT32_MAX)
        return wrong(reader, "--pin %s: not two CPU numbers with a comma between, such as 0,1", value);
    if (driver == device)
        return wrong(reader, "--pin %s: driver and device need a CPU each", value);
    reader->options->driver_cpu = (int)driver;
    reader->options->device_cpu = (int)device;
    return true;
}

static bool take_help(struct reader *reader, const char *value)
{
    (void)value;
    reader->options->verb = VERB_HELP;
    return true;
}

static bool take_version(struct reader *reader, const char *value)
{
    (void)value;
    if (reader->options->verb != VERB_HELP)
        reader->options->verb = VERB_VERSION;
    return true;
}

static const struct option {
    const char *name;
    const char *value; /* NULL: takes none */
    bool (*take)(struct reader *reader, const char *value);
} option_table[] = {
    {"--filter", "REGEX", take_filter}, {"--image", "FILE", take_image},
    {"--smoke", NULL, take_smoke},      {"--repetitions", "N", take_repetitions},
    {"--json", "FILE", take_json},      {"--pin", "A,B", take_pin},
    {"--device", "NAME", take_device},  {"--quirk", "NAME", take_quirk},
    {"--seed", "N", take_seed},         {"--report", "DIR", take_report},
    {"--help", NULL, take_help},        {"--version", NULL, take_version},
    {"--sweeps", NULL, take_sweeps},
};
#define OPTION_COUNT (sizeof option_table / sizeof option_table[0])

static const char *option_name(size_t index)
{
    return index < OPTION_COUNT ? option_table[index].name : NULL;
}

static bool read_option(struct reader *reader)
{
    const char *argument = reader->argv[reader->next++], *equals = strchr(argument, '='), *value = NULL;
    size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument), i;
    char name[32];

    for (i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];

        if (strlen(option->name) != length || strncmp(option->name, argument, length) != 0)
            continue;
        if (option->value == NULL && equals != NULL)
            return wrong(reader, "%s takes no value", option->name);
        if (equals != NULL)
            value = equals + 1;
        else if (option->value != NULL && reader->next < reader->argc)
            value = reader->argv[reader->next++];
        if (option->value != NULL && value == NULL)
            return wrong(reader, "%s: its value is missing: %s %s", option->name, option->name,
                         option->value);
        return option->take(reader, value);
    }
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), argument);
    wrong(reader, "unknown option %.80s", argument);
    suggest_names(name, option_name, reader->error, reader->error_bytes);
    if (strchr(reader->error, ';') == NULL)
        wrong(reader, "unknown option %.80s; aero-bench --help lists them", argument);
    return false;
}

static const char *const verbs[] = {"run", "list", NULL};
static const char *const lists[] = {"benchmarks", "devices", "quirks", NULL};

static const char *verb_name(size_t index)
{
    return verbs[index];
}

static const char *list_name(size_t index)
{
    return lists[index];
}

static bool read_list(struct reader *reader)
{
    static const enum bench_list kinds[] = {LIST_BENCHMARKS, LIST_DEVICES, LIST_QUIRKS};
    const char *what;
    size_t i;

    reader->options->verb = VERB_LIST;
    reader->options->list = LIST_ALL;
    if (reader->next == reader->argc)
        return true;
    what = reader->argv[reader->next++];
    for (i = 0; lists[i] != NULL; i++) {
        if (strcmp(what, lists[i]) == 0)
            reader->options->list = kinds[i];
    }
    if (strcmp(what, "--help") == 0)
        return take_help(reader, NULL);
    if (reader->options->list == LIST_ALL) {
        wrong(reader, "list %.60s: it lists benchmarks, devices or quirks", what);
        suggest_names(what, list_name, reader->error, reader->error_bytes);
        return false;
    }
    if (reader->next < reader->argc)
        return wrong(reader, "list %s takes nothing more; \"%.60s\" is too much", what,
                     reader->argv[reader->next]);
    return true;
}

/* An argument that is no option, behind the verb or behind an option: never right. */
static bool refuse_argument(struct reader *reader, const char *argument)
{
    bool verb_given = strcmp(reader->argv[1], "run") == 0;
    size_t i;

    for (i = 0; verbs[i] != NULL; i++) {
        if (strcmp(argument, verbs[i]) == 0)
            return wrong(reader,
                         verb_given ? "one verb at a time: \"%s\" is one too many"
                                    : "the verb comes first: \"%s\" stands behind an option",
                         argument);
    }
    if (verb_given)
        return wrong(reader, "run takes options alone: \"%.60s\" is too much; aero-bench --help lists them",
                     argument);
    wrong(reader, "unknown verb or argument \"%.60s\": the verbs are run and list, and come first", argument);
    suggest_names(argument, verb_name, reader->error, reader->error_bytes);
    return false;
}

bool options_parse(int argc, const char *const *argv, struct bench_options *options, char *error,
                   size_t error_bytes)
{
    struct reader reader = {argc, 1, argv, options, error, error_bytes};

    memset(options, 0, sizeof *options);
    options->verb = VERB_RUN;
    options->device = "loopback";
    options->repetitions = 1;
    options->seed = OPTIONS_SEED_DEFAULT;
    options->driver_cpu = options->device_cpu = -1;

    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        reader.next = 2;
        return read_list(&reader);
    }
    if (argc > 1 && strcmp(argv[1], "run") == 0)
        reader.next = 2;
    while (reader.next < argc) {
        if (argv[reader.next][0] != '-')
            return refuse_argument(&reader, argv[reader.next]);
        if (!read_option(&reader))
            return false;
    }
    return true;
}

/* ---- Checking ---- */

static const char *model_name(size_t index)
{
    const struct aero_sim_model *model = aero_sim_model_at(index);

    return model != NULL ? aero_sim_model_name(model) : NULL;
}

static const char *quirk_name(size_t index)
{
    const struct aero_sim_quirk_info *quirk = aero_sim_quirk_at(index);

    return quirk != NULL ? quirk->name : NULL;
}

/* Is the name among the candidates? If not, says so, with near names or the way to all of them. */
static bool known(const char *option, const char *name, const char *what,
                  const char *(*candidate)(size_t index), char *error, size_t error_bytes)
{
    size_t i, length;

    for (i = 0; candidate(i) != NULL; i++) {
        if (strcmp(candidate(i), name) == 0)
            return true;
    }
    snprintf(error, error_bytes, "%s %.80s: no such %s", option, name, what);
    length = strlen(error);
    suggest_names(name, candidate, error, error_bytes);
    if (error[length] == '\0')
        snprintf(error + length, error_bytes - length, "; \"aero-bench list %ss\" shows them", what);
    return false;
}

/* "0-1,4": the CPUs that this process may use. */
static void describe_cpus(char *text, size_t bytes)
{
    int count = sim_os_cpu_count(), found = 0, cpu, first = -1;
    size_t used = 0;

    text[0] = '\0';
    for (cpu = 0; cpu < 65536 && used < bytes && (found < count || first >= 0); cpu++) {
        if (sim_os_cpu_usable(cpu)) {
            found++;
            if (first < 0)
                first = cpu;
            continue;
        }
        if (first < 0)
            continue;
        used += (size_t)snprintf(text + used, bytes - used, "%s%d", used > 0 ? "," : "", first);
        if (cpu - 1 > first && used < bytes)
            used += (size_t)snprintf(text + used, bytes - used, "-%d", cpu - 1);
        first = -1;
    }
}

static bool check_pinning(struct bench_options *options, char *error, size_t error_bytes)
{
    char cpus[128];
    int cpu, lacking;

    if (options->driver_cpu >= 0) {
        lacking = sim_os_cpu_usable(options->driver_cpu) ? options->device_cpu : options->driver_cpu;
        if (sim_os_cpu_usable(lacking))
            return true;
        describe_cpus(cpus, sizeof cpus);
        snprintf(error, error_bytes, "--pin %d,%d: CPU %d can't be used here; the usable ones are %s",
                 options->driver_cpu, options->device_cpu, lacking, cpus);
        return false;
    }
    if (sim_os_cpu_count() < 2)
        return true;
    for (cpu = 0; options->device_cpu < 0 && cpu < 65536; cpu++) {
        if (!sim_os_cpu_usable(cpu))
            continue;
        if (options->driver_cpu < 0)
            options->driver_cpu = cpu;
        else
            options->device_cpu = cpu;
    }
    if (options->device_cpu < 0)
        options->driver_cpu = -1;
    return true;
}

static bool check_image(const char *path, char *error, size_t error_bytes)
{
    char reason[256] = "";
    struct sim_os_file *file = sim_os_file_open(path, true, reason, sizeof reason);
    uint64_t bytes;
    char byte;
    bool readable;

    if (file == NULL) {
        snprintf(error, error_bytes, "--image: %s", reason); /* which names the path */
        return false;
    }
    bytes = sim_os_file_bytes(file);
    readable = bytes > 0 && sim_os_file_read(file, bytes - 1, &byte, 1);
    sim_os_file_close(file);
    if (bytes == 0) {
        snprintf(error, error_bytes, "--image %s: it is empty; an image is one 512-byte sector or more",
                 path);
        return false;
    }
    if (bytes % 512 != 0) {
        snprintf(error, error_bytes, "--image %s: its %" PRIu64 " bytes are no multiple of a sector's 512",
                 path, bytes);
        return false;
    }
    if (!readable)
        snprintf(error, error_bytes, "--image %s: it can't be read", path);
    return readable;
}

bool options_check(struct bench_options *options, char *error, size_t error_bytes)
{
    size_t i;

    if (!known("--device", options->device, "device", model_name, error, error_bytes))
        return false;
    for (i = 0; i < options->quirk_count; i++) {
        if (!known("--quirk", options->quirks[i], "quirk", quirk_name, error, error_bytes))
            return false;
    }
    if (options->image != NULL && !check_image(options->image, error, error_bytes))
        return false;
    return check_pinning(options, error, error_bytes);
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A compiler from expressions to a small program of sets and jumps, and a machine that runs all its threads
 * in step over the text (Thompson's method): no backtracking, so no expression can make it slow.
 */
#include "pattern.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPRESSION_MAX 256 /* characters; bounds the recursion as well */
#define PROGRAM_MAX    (4 * EXPRESSION_MAX)

enum operation { MATCH, SET, BEGIN, END, JUMP, SPLIT };

/* Jumps are relative, so that a fragment can be moved as a whole. SPLIT goes on at both of its targets. */
struct instruction {
    enum operation operation;
    int jump, other;
    uint8_t set[32]; /* a bit a character */
};

struct bench_pattern {
    int count;
    struct instruction program[PROGRAM_MAX];
};

struct parser {
    const char *expression, *at;
    struct bench_pattern *pattern;
    char *error;
    size_t error_bytes;
    bool failed;
};

static void refuse(struct parser *parser, const char *format, ...)
{
    char reason[120];
    va_list arguments;

    if (parser->failed)
        return;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    snprintf(parser->error, parser->error_bytes, "%s (at character %d of \"%s\")", reason,
             (int)(parser->at - parser->expression) + 1, parser->expression);
    parser->failed = true;
}

/* ---- Compiling ---- */

/* Makes room for one instruction at a place; what stood there and behind moves up by one. */
static struct instruction *insert(struct parser *parser, int place)
{
    struct bench_pattern *pattern = parser->pattern;
    struct instruction *instruction = &pattern->program[place];

    memmove(instruction + 1, instruction, (size_t)(pattern->count - place) * sizeof *instruction);
    memset(instruction, 0, sizeof *instruction);
    pattern->count++;
    return instruction;
}

static struct instruction *append(struct parser *parser, enum operation operation)
{
    struct instruction *instruction = insert(parser, parser->pattern->count);

    instruction->operation = operation;
    return instruction;
}

static void set_add(struct instruction *instruction, unsigned char character)
{
    instruction->set[character / 8] |= (uint8_t)(1u << character % 8);
}

static bool set_has(const struct instruction *instruction, unsigned char character)
{
    return (instruction->set[character / 8] >> character % 8 & 1) != 0;
}

static void set_invert(struct instruction *instruction)
{
    size_t i;

    for (i = 0; i < sizeof instruction->set; i++)
        instruction->set[i] = (uint8_t)~instruction->set[i];
}

/* Behind "[". A "]" that comes first stands for itself, as in POSIX. */
static void parse_brackets(struct parser *parser)
{
    struct instruction *set = append(parser, SET);
    bool inverted = *parser->at == '^', first = true;
    unsigned char low, high;

    if (inverted)
        parser->at++;
    for (; first || *parser->at != ']'; first = false) {
        if (*parser->at == '\0') {
            refuse(parser, "a [ without its ]");
            return;
        }
        if (parser->at[0] == '[' && (parser->at[1] == ':' || parser->at[1] == '=' || parser->at[1] == '.')) {
            refuse(parser, "character classes aren't supported; name the characters");
            return;
        }
        low = high = (unsigned char)*parser->at++;
        if (parser->at[0] == '-' && parser->at[1] != ']' && parser->at[1] != '\0') {
            high = (unsigned char)parser->at[1];
            parser->at += 2;
        }
        if (high < low) {
            refuse(parser, "a range that runs backwards");
            return;
        }
        for (; low < high; low++)
            set_add(set, low);
        set_add(set, high);
    }
    parser->at++;
    if (inverted)
        set_invert(set);
}

static void parse_alternatives(struct parser *parser);

/* One character, set, anchor or group. */
static void parse_atom(struct parser *parser)
{
    char character = *parser->at++;

    switch (character) {
    case '(':
        parse_alternatives(parser);
        if (!parser->failed && *parser->at++ != ')') {
            parser->at--;
            refuse(parser, "a ( without its )");
        }
        return;
    case '[':
        parse_brackets(parser);
        return;
    case '.':
        set_invert(append(parser, SET));
        return;
    case '^':
        append(parser, BEGIN);
        return;
    case '$':
        append(parser, END);
        return;
    case '*':
    case '+':
    case '?':
    case '{':
        parser->at--;
        refuse(parser, character == '{' ? "{m,n} isn't supported" : "a %c with nothing before it to repeat",
               character);
        return;
    case '\\':
        if (*parser->at == '\0' || strchr(".[]*+?|(){}^$\\", *parser->at) == NULL) {
            refuse(parser, "a \\ must stand before a special character");
            return;
        }
        character = *parser->at++;
        break;
    default:
        break;
    }
    set_add(append(parser, SET), (unsigned char)character);
}

/* What stands at start is repeated as the operator says. */
static void parse_repeat(struct parser *parser, int start)
{
    int length = parser->pattern->count - start;
    struct instruction *split;

    switch (*parser->at++) {
    case '*':
        split = insert(parser, start);
        split->operation = SPLIT;
        split->jump = 1;
        split->other = length + 2;
        append(parser, JUMP)->jump = -(length + 1);
        break;
    case '+':
        split = append(parser, SPLIT);
        split->jump = -length;
        split->other = 1;
        break;
    default: /* '?' */
        split = insert(parser, start);
        split->operation = SPLIT;
        split->jump = 1;
        split->other = length + 1;
        break;
    }
}

static void parse_sequence(struct parser *parser)
{
    while (!parser->failed && *parser->at != '\0' && *parser->at != '|' && *parser->at != ')') {
        int start = parser->pattern->count;

        parse_atom(parser);
        while (!parser->failed && *parser->at != '\0' && strchr("*+?", *parser->at) != NULL)
            parse_repeat(parser, start);
    }
}

static void parse_alternatives(struct parser *parser)
{
    int start = parser->pattern->count, jump;
    struct instruction *split;

    parse_sequence(parser);
    if (parser->failed || *parser->at != '|')
        return;
    parser->at++;
    split = insert(parser, start);
    split->operation = SPLIT;
    split->jump = 1;
    jump = parser->pattern->count;
    split->other = jump + 1 - start;
    append(parser, JUMP);
    parse_alternatives(parser);
    parser->pattern->program[jump].jump = parser->pattern->count - jump;
}

struct bench_pattern *pattern_compile(const char *expression, char *error, size_t error_bytes)
{
    struct parser parser = {
        .expression = expression, .at = expression, .error = error, .error_bytes = error_bytes};

    /* Each character makes at most two instructions, and MATCH is one: PROGRAM_MAX is never reached. */
    if (strlen(expression) > EXPRESSION_MAX) {
        snprintf(error, error_bytes, "the expression has more than %d characters", EXPRESSION_MAX);
        return NULL;
    }
    parser.pattern = calloc(1, sizeof *parser.pattern);
    if (parser.pattern == NULL) {
        snprintf(error, error_bytes, "no memory");
        return NULL;
    }
    parse_alternatives(&parser);
    if (!parser.failed && *parser.at == ')')
        refuse(&parser, "a ) without its (");
    append(&parser, MATCH);
    if (parser.failed) {
        pattern_free(parser.pattern);
        return NULL;
    }
    return parser.pattern;
}

void pattern_free(struct bench_pattern *pattern)
{
    free(pattern);
}

/* ---- Matching ---- */

struct threads {
    int count;
    int at[PROGRAM_MAX];
    bool present[PROGRAM_MAX];
};

/* Adds the thread at place, having followed jumps; true: it has arrived at MATCH. */
static bool add_thread(const struct bench_pattern *pattern, struct threads *threads, int place, bool begin,
                       bool end)
{
    const struct instruction *instruction = &pattern->program[place];

    if (threads->present[place])
        return false;
    threads->present[place] = true;
    switch (instruction->operation) {
    case MATCH:
        return true;
    case BEGIN:
        return begin && add_thread(pattern, threads, place + 1, begin, end);
    case END:
        return end && add_thread(pattern, threads, place + 1, begin, end);
    case JUMP:
        return add_thread(pattern, threads, place + instruction->jump, begin, end);
    case SPLIT:
        return add_thread(pattern, threads, place + instruction->jump, begin, end) ||
               add_thread(pattern, threads, place + instruction->other, begin, end);
    case SET:
    default:
        threads->at[threads->count++] = place;
        return false;
    }
}

bool pattern_matches(const struct bench_pattern *pattern, const char *text)
{
    struct threads now = {.count = 0}, next;
    const char *at;
    int i;

    for (at = text;; at++) {
        /* A match may begin at each character: one more thread a character makes that so. */
        if (add_thread(pattern, &now, 0, at == text, *at == '\0'))
            return true;
        if (*at == '\0')
            return false;
        memset(&next, 0, sizeof next);
        for (i = 0; i < now.count; i++) {
            if (set_has(&pattern->program[now.at[i]], (unsigned char)*at) &&
                add_thread(pattern, &next, now.at[i] + 1, false, at[1] == '\0'))
                return true;
        }
        now = next;
    }
}

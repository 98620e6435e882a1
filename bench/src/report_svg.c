/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * gnuplot's SVG on its way into a page: see report.h. What is looked for is what gnuplot writes; what isn't
 * found stays as it is.
 */
#include "report.h"

#include <string.h>

/* Past that text, where it stands at `at`; else NULL. */
static const char *past(const char *at, const char *text)
{
    size_t length = strlen(text);

    return strncmp(at, text, length) == 0 ? at + length : NULL;
}

/* Behind the element that begins at `at`, which has nothing inside but text; else NULL. */
static const char *past_element(const char *at, const char *begin, const char *end)
{
    const char *found = past(at, begin) != NULL ? strstr(at, end) : NULL;

    return found != NULL ? found + strlen(end) : NULL;
}

/* " font-family="..."" is left to the page's style. */
static const char *past_font(const char *at)
{
    const char *value = past(at, " font-family=\""), *end = value != NULL ? strchr(value, '"') : NULL;

    return end != NULL ? end + 1 : NULL;
}

/* "rgb( 42, 120, 214)" becomes #2a78d6. */
static const char *write_colour(FILE *stream, const char *at)
{
    unsigned red, green, blue;
    int used = 0;

    if (sscanf(at, "rgb(%u ,%u ,%u )%n", &red, &green, &blue, &used) != 3 || used == 0 || red > 255 ||
        green > 255 || blue > 255)
        return NULL;
    fprintf(stream, "#%02x%02x%02x", red, green, blue);
    return at + used;
}

/* Where an id is made or used the prefix goes before it. */
static const char *write_id(FILE *stream, const char *at, const char *prefix)
{
    static const char *const before[] = {" id=\"", " id='", "href='#", "href=\"#", "url(#"};
    const char *id;
    size_t i;

    for (i = 0; i < sizeof before / sizeof before[0]; i++) {
        id = past(at, before[i]);
        if (id != NULL) {
            fprintf(stream, "%s%s-", before[i], prefix);
            return id;
        }
    }
    return NULL;
}

bool report_write_svg(FILE *stream, const char *svg, const char *prefix, const char *title)
{
    const char *at = strstr(svg, "<svg"), *next;

    if (at == NULL || strstr(at, "</svg>") == NULL)
        return false;
    fprintf(stream, "<svg role=\"img\" aria-label=\"");
    report_write_text(stream, title);
    fprintf(stream, "\"");
    for (at += strlen("<svg"); *at != '\0'; at = next) {
        if ((next = past_element(at, "<title>Gnuplot", "</title>")) == NULL &&
            (next = past_element(at, "<desc>", "</desc>")) == NULL && (next = past_font(at)) == NULL &&
            (next = write_colour(stream, at)) == NULL && (next = write_id(stream, at, prefix)) == NULL) {
            fputc(*at, stream);
            next = at + 1;
        }
    }
    return true;
}

/* Reaches everything between a spec's bytes and its identity: YAML, overrides, typing, grids, messages, dumps. The input is a spec, then
 * any overrides, each behind a NUL. Beyond not crashing: a spec is refused with a reason or accepted without one, messages are safe
 * on a terminal, and a dump of what was accepted loads to the same experiment; what is one experiment is a grid of one cell, and
 * every cell of a grid is another experiment that is in order by itself. It needs no file, so it has the entry of libFuzzer
 * itself; `make check` feeds it deterministic mutations (tests/unit/spec/test_fuzz.c). By hand:
 *     clang -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Iframework -Iframework/include -o fuzz_spec
 *         tests/fuzz/fuzz_spec.c framework/spec/[a-z]*.c framework/base/[a-z]*.c -lyaml -lxxhash -lm */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/spec/fake.h"
#include "spec/grid.h"
#include "spec/utf8.h"

enum { MOST_OVERRIDES = 4 };

static void demand(bool holds, const char *promise, const char *text)
{
    if (holds) return;
    fprintf(stderr, "broken: %s\n%s\n", promise, text ? text : "");
    abort();
}

static void check_safe(const qsr_text *text)
{
    for (size_t i = 0, used; i < text->length; i += used) {
        uint32_t c;
        used = qsr_utf8_at(text->bytes + i, text->length - i, &c);
        demand(used && (c == '\n' || qsr_utf8_shows(c)), "messages are safe on a terminal", text->bytes);
    }
}

static void check_reload(const qsr_spec *spec, bool canonical)
{
    qsr_text text = {0}, again = {0};
    qsr_problems problems = {0};
    qsr_spec *loaded;
    qsr_spec_dump(spec, canonical, &text);
    qsr_spec_load_text("dump.yaml", text.bytes, text.length, NULL, 0, &fake_env, &loaded, &problems);
    qsr_problems_write(&problems, &again);
    demand(loaded != NULL, "a dump loads", again.bytes);
    demand(strcmp(loaded->id, spec->id) == 0, "a dump has the id of its original", text.bytes);
    qsr_text_free(&again);
    qsr_spec_dump(loaded, canonical, &again);
    demand(strcmp(again.bytes, text.bytes) == 0, "a dump of a dump is the same text", text.bytes);
    qsr_spec_free(loaded);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
    qsr_text_free(&again);
}

static void check_grid(const char *text, size_t length, const char *const *overrides, size_t n, const qsr_spec *alone)
{
    enum { LOOKED_AT = 5 };
    qsr_problems problems = {0};
    qsr_text words = {0};
    qsr_grid *grid;
    qsr_status status = qsr_grid_load_text("fuzz.yaml", text, length, overrides, n, &fake_env, &grid, &problems);
    qsr_problems_write(&problems, &words);
    demand((status == QSR_OK) == (grid != NULL) && (grid != NULL) == (problems.count == 0), "a reason or a grid", words.bytes);
    check_safe(&words);
    if (alone)
        demand(grid && grid->n == 1 && !grid->swept && strcmp(grid->cells[0]->id, alone->id) == 0, "one experiment, one cell",
               words.bytes);
    for (size_t i = 0; grid && i < grid->n && i < LOOKED_AT; i++) {
        check_reload(grid->cells[i], true);
        for (size_t j = 0; j < i; j++)
            demand(strcmp(grid->cells[i]->id, grid->cells[j]->id) != 0, "no cell twice", grid->cells[i]->id);
    }
    for (size_t i = 0, cells = 0; grid && i < grid->n_blocks; i++) {
        cells += grid->blocks[i].cells;
        demand(i + 1 < grid->n_blocks || cells == grid->n + grid->n_merged, "every cell counts", text);
    }
    qsr_grid_free(grid);
    qsr_problems_free(&problems);
    qsr_text_free(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = qsr_xcalloc(size + 1, 1);
    const char *overrides[MOST_OVERRIDES];
    size_t n = 0, used;
    if (size) memcpy(copy, data, size);
    size_t length = strlen(copy);
    for (used = length; used < size && n < MOST_OVERRIDES; used += 1 + strlen(overrides[n++]))
        overrides[n] = copy + used + 1;
    qsr_problems problems = {0};
    qsr_text text = {0};
    qsr_spec *spec;
    qsr_status status = qsr_spec_load_text("fuzz.yaml", copy, length, overrides, n, &fake_env, &spec, &problems);
    qsr_problems_write(&problems, &text);
    demand((status == QSR_OK) == (spec != NULL) && (spec != NULL) == (problems.count == 0), "a reason or a spec",
           text.bytes);
    check_safe(&text);
    if (spec) {
        check_reload(spec, true);
        check_reload(spec, false);
    }
    check_grid(copy, length, overrides, n, spec);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
    free(copy);
    return 0;
}

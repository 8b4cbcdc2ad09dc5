/* latents.csv and top_contexts.jsonl: agree with a plain recount, whatever the threads, and are valid whatever tokens stand for. */
#include "../unit.h"

#include "../bench.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "eval/evaluate.h"
#include "format/csv.h"
#include "format/json.h"

enum { D = 6, D_SAE = 2500, ROWS = 40, UNITS = 30, TOP = 3 }; /* two panels of latents */

/* ---- sums and top rows against a recount ------------------------------------------------------------------------- */

/* A code whose values are small whole numbers, so that ties are frequent, and some entries are 0. */
static qsr_code *draw_code(uint64_t seed)
{
    qsr_rng rng = qsr_rng_make(seed, "test/latents");
    qsr_code *code = calloc(1, sizeof *code);
    uint64_t at = 0;
    size_t n = 0;
    assert_ok(qsr_code_alloc(ROWS, D_SAE, ROWS * D_SAE, 0, code, NULL));
    code->rows = ROWS;
    code->row_begin[0] = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (uint32_t j = (uint32_t)qsr_rng_below(&rng, at++, 90); j < D_SAE;
             j += 1 + (uint32_t)qsr_rng_below(&rng, at++, 90)) {
            code->latent[n] = j;
            code->value[n++] = (float)qsr_rng_below(&rng, at++, 6) - (j % 5 ? 0 : 2);
        }
        code->row_begin[r + 1] = n;
    }
    return code;
}

typedef struct {
    qsr_code *code[UNITS];
    qsr_place place[UNITS][ROWS];
} drawn;

static drawn *draw(size_t rows_per_unit)
{
    drawn *d = calloc(1, sizeof *d);
    for (size_t i = 0; i < UNITS; i++) {
        d->code[i] = draw_code(i);
        for (size_t r = 0; r < ROWS; r++)
            d->place[i][r] = (qsr_place){(i * ROWS + r) / rows_per_unit + 100, (uint32_t)((i * ROWS + r) % rows_per_unit)};
    }
    return d;
}

static void forget(drawn *d)
{
    for (size_t i = 0; i < UNITS; i++) {
        qsr_code_free(d->code[i]);
        free(d->code[i]);
    }
    free(d);
}

static qsr_latents *count(const drawn *d, unsigned threads, size_t at_once, size_t top)
{
    qsr_latents *l;
    assert_ok(qsr_latents_create(D_SAE, top, &l, NULL));
    for (size_t i = 0; i < UNITS; i += at_once) {
        const qsr_code *codes[UNITS];
        const qsr_place *places[UNITS];
        size_t n = qsr_min_size(at_once, UNITS - i);
        for (size_t k = 0; k < n; k++) {
            codes[k] = d->code[i + k];
            places[k] = d->place[i + k];
        }
        qsr_latents_add(l, bench_pool(threads), codes, places, n);
    }
    return l;
}

/* The largest of each unit, then the largest of those; of equal ones the first. */
static size_t recount(const drawn *d, uint32_t latent, qsr_latent_sums *ret, qsr_top_row *top, size_t most)
{
    qsr_top_row of_unit[UNITS * ROWS];
    size_t n = 0;
    *ret = (qsr_latent_sums){.largest = -INFINITY};
    for (size_t i = 0; i < UNITS * ROWS; i++) {
        const qsr_code *code = d->code[i / ROWS];
        qsr_place place = d->place[i / ROWS][i % ROWS];
        for (size_t k = code->row_begin[i % ROWS]; k < code->row_begin[i % ROWS + 1]; k++) {
            float value = code->value[k];
            if (code->latent[k] != latent || value == 0) continue;
            ret->fired++;
            ret->sum += value;
            ret->largest = fmaxf(ret->largest, value);
            if (n && of_unit[n - 1].unit == place.unit) {
                if (value > of_unit[n - 1].value) of_unit[n - 1] = (qsr_top_row){place.unit, place.row, value};
            } else {
                of_unit[n++] = (qsr_top_row){place.unit, place.row, value};
            }
        }
    }
    size_t kept = 0;
    for (; kept < most && kept < n; kept++) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (of_unit[i].value > of_unit[best].value) best = i;
        top[kept] = of_unit[best];
        of_unit[best].value = -INFINITY;
    }
    return kept;
}

static void agrees_with_a_recount(void **state)
{
    (void)state;
    static const size_t rows_per_unit[] = {1, 7, 16, 40, 100};
    size_t full = 0;
    for (size_t u = 0; u < 5; u++) {
        drawn *d = draw(rows_per_unit[u]);
        qsr_latents *l = count(d, 2, 4, TOP);
        for (uint32_t j = 0; j < D_SAE; j += 17) {
            qsr_latent_sums want;
            qsr_top_row top[TOP];
            const qsr_top_row *got;
            size_t n = recount(d, j, &want, top, TOP);
            const qsr_latent_sums *have = qsr_latents_get(l, j);
            assert_int_equal(have->fired, want.fired);
            assert_true(have->sum == want.sum && have->largest == want.largest); /* whole numbers: exact */
            assert_int_equal(qsr_latents_top(l, j, &got), n);
            for (size_t i = 0; i < n; i++)
                assert_true(got[i].unit == top[i].unit && got[i].row == top[i].row && got[i].value == top[i].value);
            full += n == TOP;
        }
        qsr_latents_free(l);
        forget(d);
    }
    assert_true(full > 100); /* the drawn codes reach the interesting case */
}

static void threads_and_batches_do_not_show(void **state)
{
    (void)state;
    drawn *d = draw(16);
    qsr_latents *first = count(d, 1, UNITS, TOP);
    for (unsigned i = 1; i <= 4; i++) {
        qsr_latents *now = count(d, i % 3 + 1, i * i, TOP);
        for (size_t j = 0; j < D_SAE; j++) {
            const qsr_top_row *a, *b;
            size_t n = qsr_latents_top(first, j, &a), m = qsr_latents_top(now, j, &b);
            assert_int_equal(n, m);
            for (size_t k = 0; k < n; k++)
                assert_true(a[k].unit == b[k].unit && a[k].row == b[k].row && a[k].value == b[k].value);
            assert_true(qsr_latents_get(first, j)->sum == qsr_latents_get(now, j)->sum);
        }
        qsr_latents_free(now);
    }
    qsr_latents *none = count(d, 2, 3, 0); /* no contexts wanted: sums all the same */
    assert_int_equal(qsr_latents_get(none, 40)->fired, qsr_latents_get(first, 40)->fired);
    qsr_latents_free(none);
    qsr_latents_free(first);
    forget(d);
}

/* ---- the files --------------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_spec *spec;
    qsr_dataset data;
    qsr_learner *learner;
    qsr_arena arena;
} judge;

static judge *open_judge(const char *vocabulary, unsigned threads, int units_per_read)
{
    judge *j = calloc(1, sizeof *j);
    j->spec = bench_spec(
        "name: judge\ndataset: {plugin: counted, d_in: %d, index: false, units: 100, rows_per_unit: 25, skip_first: 1, "
        "drop: 9, vocabulary: %s, units_per_read: %d}\nactivation: {plugin: topk, k: 4}\nsae: {d_sae: 50}\n"
        "train: {tokens: 1000, batch: 100}\neval: {tokens: 900, top_contexts: 4, context_before: 3, context_after: 2}\n",
        D, vocabulary, units_per_read);
    assert_ok(qsr_dataset_open(j->spec, bench_pool(threads), &j->data, NULL));
    j->learner = bench_learner(j->spec, D, bench_pool(threads));
    return j;
}

static void close_judge(judge *j)
{
    qsr_learner_free(j->learner);
    qsr_dataset_close(&j->data);
    qsr_spec_free(j->spec);
    qsr_arena_free(&j->arena);
    free(j);
}

static qsr_evaluation evaluate(judge *j, const char *folder)
{
    qsr_error e = {0};
    qsr_judged judged = {.sae = &j->learner->sae, .layer = -1};
    assert_ok(qsr_mkdirs(folder, NULL));
    judged.latents = (qsr_latent_files){.csv = qsr_path_join(&j->arena, folder, "latents.csv"),
                                        .contexts = qsr_path_join(&j->arena, folder, "top_contexts.jsonl"),
                                        .top = 4,
                                        .width = {3, 2}};
    if (qsr_evaluate(&judged, 1, &j->data, &(qsr_evaluate_options){0}, &e)) fail_msg("%s", e.text);
    if (judged.error.code) fail_msg("%s", judged.error.text);
    return judged.evaluation;
}

static char *folder_of(qsr_arena *arena, const char *name) { return qsr_path_join(arena, test_folder(), name); }

static void the_table_agrees_with_the_metrics(void **state)
{
    (void)state;
    judge *j = open_judge("texts", 2, 5);
    const qsr_params *p = &j->learner->sae.params;
    qsr_evaluation v = evaluate(j, folder_of(&j->arena, "table"));
    qsr_csv csv;
    qsr_error e = {0};
    double fired = 0, silent = 0, nearest = 0, l1 = 0;
    if (qsr_csv_read(qsr_path_join(&j->arena, folder_of(&j->arena, "table"), "latents.csv"), 1 << 20, &csv, &e))
        fail_msg("%s", e.text);
    assert_int_equal(csv.columns, 8);
    assert_int_equal(csv.count, 51);
    for (size_t i = 0; i < 50; i++) {
        const char *const *f = csv.rows[i + 1].fields;
        double frequency = atof(f[1]), mean = atof(f[2]);
        assert_int_equal(atoi(f[0]), i);
        fired += frequency;
        silent += frequency == 0;
        l1 += frequency * mean;
        assert_int_equal(*f[2] == 0, frequency == 0);
        assert_int_equal(*f[3] == 0, frequency == 0);
        assert_true(frequency == 0 || atof(f[3]) >= mean);
        nearest = fmax(nearest, fabs(atof(f[6])));
        double dot = 0, a = 0, b = 0;
        for (size_t k = 0; k < D; k++) {
            double x = p->w_enc[i * D + k], y = p->w_dec[i * D + k];
            dot += x * y, a += x * x, b += y * y;
        }
        assert_close(atof(f[4]), sqrt(b), 1e-6);
        assert_close(atof(f[7]), dot / sqrt(a * b), 1e-6);
        assert_int_not_equal(atoi(f[5]), i);
    }
    /* Texts are exact to float32: six digits and more. */
    assert_close(fired, qsr_evaluation_get(&v, "l0"), 1e-6);
    assert_close(l1, qsr_evaluation_get(&v, "l1"), 1e-6);
    assert_close(silent / 50, qsr_evaluation_get(&v, "silent_fraction"), 1e-12);
    assert_close(nearest, qsr_evaluation_get(&v, "coherence_max"), 1e-6);
    qsr_csv_free(&csv);
    close_judge(j);
}

/* What stands in a window, from the fixture's own rule: token = row % 7. */
static const char *const cleaned[] = {" the",         "\xef\xbf\xbd", "\xef\xbf\xbd \"", "\n\\",
                                      "\xef\xbf\xbd", "\xef\xbf\xbd", "\xc3\xa9"};

static char *expected_text(qsr_arena *arena, uint64_t first, size_t n)
{
    char *text = qsr_arena_strdup(arena, "");
    for (size_t i = 0; i < n; i++) {
        uint64_t token = (first + i) % 7;
        if (token == 1 && i + 1 < n) { /* its two bytes and the next token's first are one character */
            text = qsr_arena_printf(arena, "%s\xe2\x82\xac \"", text);
            i++;
        } else {
            text = qsr_arena_printf(arena, "%s%s", text, cleaned[token]);
        }
    }
    return text;
}

static json_t *read_line(char **rest)
{
    json_t *line;
    qsr_error e = {0};
    char *text = strtok_r(NULL, "\n", rest);
    if (!text) return NULL;
    if (qsr_json_parse("top_contexts.jsonl", text, strlen(text), &line, &e)) fail_msg("%s in %s", e.text, text);
    return line;
}

/* Places hold also where the fixture's mask leaves out rows before. */
static void check_context(qsr_arena *arena, const json_t *c, bool texts)
{
    uint64_t unit = (uint64_t)json_integer_value(json_object_get(c, "unit")),
             row = (uint64_t)json_integer_value(json_object_get(c, "row"));
    uint64_t at = unit * 25 + row, before = row < 3 ? row : 3, after = 24 - row < 2 ? 24 - row : 2;
    assert_true(unit >= 62 && unit < 100 && row >= 1 && row < 25); /* 38 units of 24 rows are held out */
    assert_true((at * 2654435761u >> 7) % 9 != 0);                 /* the rule of `drop: 9` */
    assert_int_equal(json_integer_value(json_object_get(c, "token")), at % 7);
    assert_int_equal(json_integer_value(json_object_get(c, "document")), at / 50);
    if (!texts) {
        assert_null(json_object_get(c, "text"));
        return;
    }
    assert_string_equal(json_string_value(json_object_get(c, "before")), expected_text(arena, at - before, before));
    assert_string_equal(json_string_value(json_object_get(c, "text")), expected_text(arena, at, 1));
    assert_string_equal(json_string_value(json_object_get(c, "after")), expected_text(arena, at + 1, after));
}

static void contexts_have_the_text_around_them(void **state)
{
    (void)state;
    static const char *const vocabularies[] = {"none", "ids", "texts"};
    for (size_t v = 0; v < 3; v++) {
        judge *j = open_judge(vocabularies[v], 2, 5);
        const char *folder = folder_of(&j->arena, vocabularies[v]);
        evaluate(j, folder);
        char *rest = bench_file(&j->arena, folder, "top_contexts.jsonl", NULL);
        size_t lines = 0, contexts = 0;
        json_t *line;
        for (; (line = read_line(&rest)); lines++, json_decref(line)) {
            const json_t *all = json_object_get(line, "contexts");
            double last = INFINITY;
            assert_int_equal(json_integer_value(json_object_get(line, "latent")), lines);
            assert_true(json_array_size(all) <= 4);
            for (size_t i = 0; i < json_array_size(all); i++, contexts++) {
                const json_t *c = json_array_get(all, i);
                double activation = json_real_value(json_object_get(c, "activation"));
                assert_true(activation <= last && activation > 0);
                last = activation;
                if (v == 0)
                    assert_int_equal(json_object_size(c), 3);
                else
                    check_context(&j->arena, c, v == 2);
            }
        }
        assert_int_equal(lines, 50);
        assert_true(contexts > 100);
        close_judge(j);
    }
}

static void the_files_do_not_depend_on_threads_or_reads(void **state)
{
    (void)state;
    static const int cuts[][2] = {{1, 1}, {2, 3}, {3, 64}};
    qsr_arena arena = {0};
    const char *first = folder_of(&arena, "first");
    judge *j = open_judge("texts", 1, 5);
    evaluate(j, first);
    close_judge(j);
    for (size_t i = 0; i < 3; i++) {
        const char *now = folder_of(&arena, "now");
        j = open_judge("texts", (unsigned)cuts[i][0], cuts[i][1]);
        evaluate(j, now);
        bench_same_file(first, now, "latents.csv");
        bench_same_file(first, now, "top_contexts.jsonl");
        close_judge(j);
    }
    qsr_arena_free(&arena);
}

static void whatever_bytes_become_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;
    } cases[] = {{"plain", 5, "plain"},
                 {"\xe2\x82\xac", 3, "\xe2\x82\xac"},
                 {"a\xe2\x82", 3, "a\xef\xbf\xbd"},             /* cut short: one replacement */
                 {"\x82\xac!", 3, "\xef\xbf\xbd\xef\xbf\xbd!"}, /* the rest of one: a replacement for each byte */
                 {"\xc0\xaf", 2, "\xef\xbf\xbd"},               /* overlong */
                 {"\xed\xa0\x80.", 4, "\xef\xbf\xbd."},         /* a surrogate */
                 {"\xff\xfe", 2, "\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\0x", 2, "\xef\xbf\xbdx"},
                 {"\xf0\x9f\x98\x80\xf0\x9f", 6, "\xf0\x9f\x98\x80\xef\xbf\xbd"},
                 {"\xe2(", 2, "\xef\xbf\xbd("}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_text out = {0};
        qsr_contexts_clean(cases[i].bytes, cases[i].n, &out);
        assert_string_equal(out.bytes, cases[i].want);
        qsr_text_free(&out);
    }
}

static void files_that_cannot_be_written_are_named(void **state)
{
    (void)state;
    judge *j = open_judge("texts", 1, 5);
    qsr_judged judged = {.sae = &j->learner->sae, .layer = -1, .latents = {.csv = "/nowhere/at/all/latents.csv"}};
    assert_ok(qsr_evaluate(&judged, 1, &j->data, &(qsr_evaluate_options){0}, NULL));
    assert_int_equal(judged.error.code, QSR_E_IO);
    assert_non_null(strstr(judged.error.text, "/nowhere/at/all/latents.csv"));
    close_judge(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_recount),
        cmocka_unit_test(threads_and_batches_do_not_show),
        cmocka_unit_test(the_table_agrees_with_the_metrics),
        cmocka_unit_test(contexts_have_the_text_around_them),
        cmocka_unit_test(the_files_do_not_depend_on_threads_or_reads),
        cmocka_unit_test(whatever_bytes_become_utf8),
        cmocka_unit_test(files_that_cannot_be_written_are_named),
    };
    int failures = cmocka_run_group_tests_name("latents", tests, NULL, NULL);
    bench_end();
    return failures;
}

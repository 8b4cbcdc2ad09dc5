/* golden trajectories: the published reference code, and an independent double-precision implementation of our defaults, step by
 * step (README.md beside this file). Each case is run as a user would run its spec; then metrics.jsonl, the weights and the
 * gradients of the first step are compared. */
#include "../unit/unit.h"

#include "base/arena.h"
#include "data/cursor.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "lab/run.h"
#include "train/start.h"

/* Relative tolerances. float32 against double: 2e-6 was reached by an independent implementation, so 1e-5 leaves room for other
 * BLAS kernels. top-AFA keeps one entry in 45,000 more or less when an activation lies within float32 noise of zero. */
enum { MOST_COLUMNS = 16 };
#define PLAIN 1e-5
#define TOP_AFA 2e-4

static const char *const cases[] = {"topk", "batchtopk", "topafa", "topk_afa", "relu", "jumprelu", "defaults_topk",
                                    "defaults_batchtopk", "defaults_topafa", "defaults_jumprelu"};
static qsr_pool *pool;
static qsr_registry *registry;

static double tolerance_of(const char *name) { return strstr(name, "topafa") ? TOP_AFA : PLAIN; }

static char *golden_path(qsr_arena *arena, const char *name, const char *file)
{
    return qsr_arena_printf(arena, "%s/tests/golden/%s/%s", getenv("QUASAR_SOURCE"), name, file);
}

static qsr_spec *load_spec(qsr_arena *arena, const char *name)
{
    qsr_spec_env env = qsr_registry_env(registry);
    qsr_problems problems = {0};
    qsr_spec *spec;
    if (qsr_spec_load(golden_path(arena, name, "spec.yaml"), NULL, 0, &env, &spec, &problems)) {
        qsr_text text = {0};
        qsr_problems_write(&problems, &text);
        fail_msg("%s", text.bytes);
    }
    qsr_problems_free(&problems);
    return spec;
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

static void compare_number(const char *name, const char *column, int step, double got, double want, double tolerance)
{
    double off = fabs(got - want) / fmax(fabs(want), 1e-12);
    if (off <= tolerance || (got == 0 && want == 0)) return;
    fail_msg("%s, step %d, %s: %.12g, golden %.12g, off by %.2e", name, step, column, got, want, off);
}

/* One line of metrics.csv against one of metrics.jsonl; columns that Quasar does not log are left out. Returns how many were
 * compared. */
static int compare_line(const char *name, int step, char *const *columns, char *line, const json_t *got)
{
    int compared = 0;
    char *rest = line, *field;
    for (int c = 0; columns[c] && (field = strsep(&rest, ",\r\n")); c++) {
        const json_t *value = json_object_get(got, columns[c]);
        if (!value) continue;
        compare_number(name, columns[c], step, json_number_value(value), strtod(field, NULL), tolerance_of(name));
        compared++;
    }
    return compared;
}

static void compare_metrics(qsr_arena *arena, const char *name, const char *folder)
{
    FILE *want = fopen(golden_path(arena, name, "metrics.csv"), "r");
    FILE *have = fopen(qsr_path_join(arena, folder, "metrics.jsonl"), "r");
    assert_non_null(want);
    assert_non_null(have);
    char header[1024], line[4096], got[4096], *columns[MOST_COLUMNS + 1] = {0}, *rest = header;
    assert_non_null(fgets(header, sizeof header, want));
    for (int c = 0; c < MOST_COLUMNS && (columns[c] = strsep(&rest, ",\r\n")) && *columns[c]; c++) continue;
    int step = 0, compared = 0;
    for (; fgets(line, sizeof line, want) && strlen(line) > 2; step++) {
        assert_non_null(fgets(got, sizeof got, have));
        json_t *object = json_loads(got, 0, NULL);
        compared += compare_line(name, step, columns, line, object);
        json_decref(object);
    }
    assert_int_equal(step, 30);
    assert_true(compared >= 30 * 6); /* at least step, loss, its parts, l0, grad_norm, dead_in_batch */
    assert_null(fgets(got, sizeof got, have));
    fclose(want);
    fclose(have);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* ||got - want|| <= tolerance ||want||, over the whole tensor; a golden tensor of zeros must be zeros. */
static void compare_tensor(const char *name, const char *tensor, const float *got, const double *want, size_t n, double tolerance)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    if (sqrt(off) <= tolerance * sqrt(size)) return;
    fail_msg("%s: %s is off by %.2e of its norm %.4g", name, tensor, sqrt(off / size), sqrt(size));
}

static double *to_double(const qsr_tensor *t)
{
    double *out = calloc(t->count, sizeof *out);
    float *narrow = calloc(t->count, sizeof *narrow);
    if (t->dtype == QSR_F64) {
        memcpy(out, t->data, t->count * sizeof *out);
    } else {
        qsr_to_float(t->dtype, t->data, t->count, narrow);
        for (size_t i = 0; i < t->count; i++) out[i] = narrow[i];
    }
    free(narrow);
    return out;
}

static void compare_weights(qsr_arena *arena, const char *name, const char *folder)
{
    qsr_safetensors *want, *have;
    assert_int_equal(qsr_safetensors_open(golden_path(arena, name, "final.safetensors"), &want, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_open(qsr_path_join(arena, folder, "sae/sae_weights.safetensors"), &have, NULL), QSR_OK);
    for (size_t i = 0; i < qsr_safetensors_count(want); i++) {
        const qsr_tensor *w = qsr_safetensors_at(want, i);
        bool is_log = strcmp(w->name, "log_threshold") == 0; /* sae/ stores threshold = exp(log_threshold) */
        const qsr_tensor *h = qsr_safetensors_find(have, is_log ? "threshold" : w->name);
        if (!h) fail_msg("%s: sae/ has no %s", name, w->name);
        assert_int_equal(h->count, w->count);
        double *expected = to_double(w);
        float *got = calloc(h->count, sizeof *got);
        qsr_to_float(h->dtype, h->data, h->count, got);
        for (size_t k = 0; is_log && k < w->count; k++) expected[k] = exp(expected[k]);
        compare_tensor(name, w->name, got, expected, w->count, tolerance_of(name));
        free(expected);
        free(got);
    }
    qsr_safetensors_close(want);
    qsr_safetensors_close(have);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static void follows_the_golden_trajectory(void **state)
{
    const char *name = *state;
    qsr_arena arena = {0};
    qsr_spec *spec = load_spec(&arena, name);
    qsr_run_options options = {.out = test_folder(), .pool = pool, .registry = registry, .rerun = QSR_RERUN_ALL};
    qsr_run_summary summary;
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_status status = qsr_lab_run((const qsr_spec *const[]){spec}, 1, &options, &summary, &problems, &e);
    if (status || summary.outcome != QSR_RUN_COMPLETED) fail_msg("%s: %s %s", name, e.text, summary.reason);
    compare_metrics(&arena, name, summary.folder);
    compare_weights(&arena, name, summary.folder);
    qsr_problems_free(&problems);
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

static const float *gradient_named(const qsr_learner *l, const char *name)
{
    if (strcmp(name, "grad.W_enc") == 0) return l->gradient.w_enc;
    if (strcmp(name, "grad.W_dec") == 0) return l->gradient.w_dec;
    if (strcmp(name, "grad.b_enc") == 0) return l->gradient.b_enc;
    if (strcmp(name, "grad.b_dec") == 0) return l->gradient.b_dec;
    if (strcmp(name, "grad.log_threshold") == 0) return l->gradient.param[0];
    return NULL;
}

/* W_enc is [d_in][d_sae] in the file and latent-major here. */
static void compare_gradient(const char *name, const qsr_learner *l, const qsr_tensor *t)
{
    const float *got = gradient_named(l, t->name);
    if (!got) fail_msg("%s: no gradient %s", name, t->name);
    double *want = to_double(t), *turned = calloc(t->count, sizeof *turned);
    bool turn = strcmp(t->name, "grad.W_enc") == 0;
    for (size_t i = 0; i < t->count; i++)
        turned[i] = turn ? want[i % l->d_in * l->d_sae + i / l->d_in] : want[i];
    compare_tensor(name, t->name, got, turned, t->count, tolerance_of(name));
    free(want);
    free(turned);
}

static void has_the_golden_gradients(void **state)
{
    const char *name = *state;
    qsr_arena arena = {0};
    qsr_safetensors *want;
    const char *path = golden_path(&arena, name, "grads_step0.safetensors");
    if (!qsr_exists(path)) {
        qsr_arena_free(&arena);
        skip();
    }
    assert_int_equal(qsr_safetensors_open(path, &want, NULL), QSR_OK);
    qsr_spec *spec = load_spec(&arena, name);
    qsr_dataset data;
    qsr_learner *l;
    qsr_cursor *cursor;
    assert_int_equal(qsr_dataset_open(spec, pool, &data, NULL), QSR_OK);
    assert_int_equal(qsr_learner_create(spec, data.d_in, pool, &l, NULL, NULL), QSR_OK);
    assert_int_equal(qsr_learner_start(l, &data, NULL), QSR_OK);
    assert_int_equal(qsr_cursor_create(&data, &spec->data, &cursor, NULL), QSR_OK);
    float *rows = calloc(l->batch * l->d_in, sizeof *rows);
    size_t got;
    assert_int_equal(qsr_cursor_next(cursor, l->batch, rows, &got, NULL), QSR_OK);
    assert_int_equal(qsr_learner_gradients(l, rows, NULL), QSR_OK);
    for (size_t i = 0; i < qsr_safetensors_count(want); i++) compare_gradient(name, l, qsr_safetensors_at(want, i));
    free(rows);
    qsr_cursor_free(cursor);
    qsr_learner_free(l);
    qsr_dataset_close(&data);
    qsr_spec_free(spec);
    qsr_safetensors_close(want);
    qsr_arena_free(&arena);
}

int main(void)
{
    enum { N = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[2 * N];
    for (size_t i = 0; i < N; i++) {
        void *name = (void *)(uintptr_t)cases[i];
        tests[i] = (struct CMUnitTest){cases[i], follows_the_golden_trajectory, NULL, NULL, name};
        tests[N + i] = (struct CMUnitTest){cases[i], has_the_golden_gradients, NULL, NULL, name};
    }
    if (qsr_pool_create(2, &pool, NULL)) return 99;
    registry = qsr_registry_create(NULL);
    int failures = cmocka_run_group_tests_name("golden trajectories", tests, NULL, NULL);
    qsr_registry_free(registry);
    qsr_pool_free(pool);
    if (!getenv("KEEP")) qsr_remove_tree(test_folder(), NULL);
    return failures;
}

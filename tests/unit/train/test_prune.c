/* Rules that choose among all candidates of a batch: with memory bounded by what may stay, the outcome is that of seeing every
 * candidate at once, whatever the number of threads, also where most candidates tie. */
#include "../unit.h"

#include "../bench.h"
#include "train/together.h"

enum { D = 6, D_SAE = 101, BATCH = 300, K = 2, STEPS = 4 };

static qsr_activation_ops real, wrapped;
static size_t early_calls, most_candidates, final_calls;

static uint8_t stayed[BATCH][D_SAE]; /* what the last final call was shown */

static qsr_status counting_prune(qsr_instance *self, const qsr_candidates *c)
{
    early_calls += !c->final;
    final_calls += c->final;
    if (c->final && c->count > most_candidates) most_candidates = c->count;
    if (c->final) memset(stayed, 0, sizeof stayed);
    for (size_t i = 0; c->final && i < c->count; i++) stayed[c->row[i]][c->latent[i]] = 1;
    return real.prune(self, c);
}

/* tied: few distinct values, so that the cut goes through a crowd of equal candidates. */
static void make_rows(float *raw, bool tied, size_t t)
{
    bench_normal(raw, BATCH * D, 60 + t, 1);
    for (size_t i = 0; tied && i < BATCH * D; i++) raw[i] = roundf(raw[i]);
}

/* by_host: the host decides, and the plugin's prune sees what stays. */
static qsr_learner *make_learner(const qsr_spec *spec, unsigned threads, bool tied, bool bounded, bool by_host)
{
    qsr_learner *l = bench_learner(spec, D, bench_pool(threads));
    for (size_t i = 0; tied && i < D_SAE * D; i++) l->sae.params.w_enc[i] = roundf(2 * l->sae.params.w_enc[i]);
    if (tied) qsr_sae_refresh(&l->sae);
    if (tied) memset(l->sae.params.b_dec, 0, D * sizeof(float));
    assert_true(l->by_host);
    l->by_host = by_host;
    real = *l->sae.ops;
    wrapped = real;
    wrapped.prune = counting_prune;
    if (!bounded) wrapped.keep_limit = NULL;
    l->sae.ops = &wrapped;
    early_calls = final_calls = most_candidates = 0;
    return l;
}

static double threshold_of(const qsr_learner *l)
{
    const char *name;
    double value;
    l->metrics->get(l->sae.activation->instance, 0, &name, &value);
    assert_string_equal(name, "threshold");
    return value;
}

/* Everything a training leaves behind, as bytes. */
typedef struct {
    float xhat[STEPS][BATCH * D], w_enc[STEPS][D_SAE * D], w_dec[STEPS][D_SAE * D];
    double threshold[STEPS], l0[STEPS], loss[STEPS];
} trace;

static void follow(qsr_learner *l, bool tied, trace *out)
{
    float raw[BATCH * D];
    for (size_t t = 0; t < STEPS; t++) {
        make_rows(raw, tied, t);
        if (tied && t)
            assert_ok(qsr_learner_gradients(l, raw, NULL)); /* weights stay whole numbers, so ties stay */
        else
            assert_ok(qsr_learner_step(l, raw, NULL));
        if (tied)
            for (size_t i = 0; i < D_SAE * D; i++) l->sae.params.w_enc[i] = roundf(l->sae.params.w_enc[i]);
        if (tied) memset(l->sae.params.b_dec, 0, D * sizeof(float));
        qsr_sae_refresh(&l->sae);
        memcpy(out->xhat[t], l->xhat, sizeof out->xhat[t]);
        memcpy(out->w_enc[t], l->sae.params.w_enc, sizeof out->w_enc[t]);
        memcpy(out->w_dec[t], l->gradient.w_dec, sizeof out->w_dec[t]);
        out->threshold[t] = threshold_of(l);
        out->l0[t] = l->report.l0;
        out->loss[t] = l->report.loss;
        assert_close(l->report.l0, K, 1e-12);
    }
}

static qsr_spec *spec_with(const char *screen)
{
    return bench_spec("name: prune\ndataset: {plugin: synthetic}\nactivation: {plugin: batchtopk, k: %d}\n"
                      "sae: {d_sae: %d, normalize: none, screen: %s}\ntrain: {tokens: 3000, batch: %d}\n",
                      K, D_SAE, screen, BATCH);
}

static trace want, got;

/* What the plugin keeps when it sees every candidate at once. */
static void let_plugin_decide(const qsr_spec *spec, bool tied)
{
    qsr_learner *l = make_learner(spec, 1, tied, false, false);
    memset(&want, 0, sizeof want);
    follow(l, tied, &want);
    assert_int_equal(early_calls, 0);
    assert_true(most_candidates > 10 * K * BATCH);
    qsr_learner_free(l);
}

static void compare(bool tied)
{
    qsr_spec *spec = spec_with("off");
    let_plugin_decide(spec, tied);
    for (unsigned threads = 1; threads <= 3; threads++) {
        qsr_learner *l = make_learner(spec, threads, tied, true, false);
        memset(&got, 0, sizeof got);
        follow(l, tied, &got);
        assert_true(early_calls >= final_calls && final_calls == STEPS);
        assert_true(most_candidates <= 2 * K * BATCH); /* what DESIGN promises of memory */
        assert_memory_equal(&got, &want, sizeof want);
        qsr_learner_free(l);
    }
    qsr_spec_free(spec);
}

/* The host's way gives the same, from values and from bounds; the plugin is shown what stays, once. */
static void compare_host(bool tied, const char *screen)
{
    qsr_spec *off = spec_with("off"), *spec = spec_with(screen);
    let_plugin_decide(off, tied);
    for (unsigned threads = 1; threads <= 3; threads++) {
        qsr_learner *l = make_learner(spec, threads, tied, true, true);
        assert_string_equal(qsr_sae_screen_name(&l->sae), screen);
        memset(&got, 0, sizeof got);
        follow(l, tied, &got);
        assert_true(early_calls == 0 && final_calls == STEPS);
        assert_int_equal(most_candidates, K * BATCH);
        assert_memory_equal(&got, &want, sizeof want);
        qsr_learner_free(l);
    }
    qsr_spec_free(spec);
    qsr_spec_free(off);
}

static void the_host_keeps_what_the_plugin_would(void **state)
{
    (void)state;
    compare_host(false, "off");
    compare_host(true, "off");
}

static const char *const screens[] = {"off", "bf16", "int8"};
enum { SCREENS = 3 };

static bool possible(int screen)
{
    return screen == 0 || qsr_screen_tiles_get(screen == 1 ? QSR_SCREEN_BF16 : QSR_SCREEN_INT8);
}

static void also_from_bounds(void **state)
{
    (void)state;
    if (!possible(1) && !possible(2)) skip();
    for (int s = 1; s < SCREENS; s++) {
        if (!possible(s)) continue;
        compare_host(false, screens[s]);
        compare_host(true, screens[s]);
    }
}

/* Batches whose threshold falls far below the one before, whatever was guessed, and batches with fewer positive values than may stay. */
static void guesses_do_not_show(void **state)
{
    (void)state;
    float raw[BATCH * D], first[BATCH * D];
    for (int s = 0; s < SCREENS; s++) {
        if (!possible(s)) continue;
        qsr_spec *spec = spec_with(screens[s]);
        qsr_learner *guessing = make_learner(spec, 2, false, true, true);
        for (size_t t = 0; t < 6; t++) {
            static const double loud[] = {1, 1, 0.3, 1e-30, 0, 2};
            bench_normal(raw, BATCH * D, 80 + t, loud[t]);
            qsr_learner *fresh = make_learner(spec, 1, false, true, true);
            assert_true(fresh->guess == 0);
            if (t) assert_true(guessing->guess > 0 || loud[t - 1] == 0);
            for (size_t i = 0; i < D; i++) fresh->sae.params.b_dec[i] = guessing->sae.params.b_dec[i] = 0;
            assert_ok(qsr_learner_gradients(guessing, raw, NULL));
            memcpy(first, guessing->xhat, sizeof first);
            assert_ok(qsr_learner_gradients(fresh, raw, NULL));
            assert_memory_equal(first, fresh->xhat, sizeof first);
            assert_true(fresh->report.l0 == guessing->report.l0);
            qsr_learner_free(fresh);
        }
        qsr_learner_free(guessing);
        qsr_spec_free(spec);
    }
}

/* The first floor comes from every so many rows of the batch: also where these are nothing like the others. Rows are kept as where the
 * plugin decides. */
static void nor_do_rows_that_stand_for_the_batch(void **state)
{
    (void)state;
    enum { ALL = 300, SAMPLED = 64 };
    static const double loud[] = {1, 100, 0.01, 0};
    float raw[BATCH * D];
    for (int s = 0; s < SCREENS; s++)
        for (size_t i = 0; i < sizeof loud / sizeof *loud && possible(s); i++) {
            qsr_spec *spec = spec_with(screens[s]);
            qsr_learner *host = make_learner(spec, 2, false, true, true), *plugin = make_learner(spec, 1, false, true, false);
            bench_normal(raw, BATCH * D, 90, 1);
            for (size_t r = 0; r < SAMPLED; r++)
                for (size_t c = 0; c < D; c++) raw[r * ALL / SAMPLED * D + c] *= (float)loud[i];
            for (size_t c = 0; c < D; c++) host->sae.params.b_dec[c] = plugin->sae.params.b_dec[c] = 0;
            float floor = 0;
            assert_ok(qsr_learner_gradients(host, raw, NULL));
            floor = qsr_together_sample(host);
            assert_true(loud[i] == 0 ? floor == 0 : floor > 0);
            /* of loud rows alone the floor is far above the batch's threshold, which host->guess is 0.95 of */
            assert_int_equal(floor > host->guess / 0.95f, loud[i] > 1);
            assert_ok(qsr_learner_gradients(plugin, raw, NULL));
            assert_memory_equal(host->xhat, plugin->xhat, sizeof raw);
            qsr_learner_free(host);
            qsr_learner_free(plugin);
            qsr_spec_free(spec);
        }
}

static void bounded_memory_changes_nothing(void **state)
{
    (void)state;
    compare(false);
}

static void nor_where_candidates_tie(void **state)
{
    (void)state;
    compare(true);
}

typedef struct {
    double value;
    size_t row, latent;
} exact_entry;

static int larger_first(const void *a, const void *b)
{
    const exact_entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

/* Whole weights and rows with a bias of one digit more: crowds of values that differ by what float32 rounds away. What stays is
 * what dot products in double say, whichever way float32 went. */
static void near_ties_go_by_double(void **state)
{
    (void)state;
    static exact_entry all[BATCH * D_SAE];
    for (int s = 0; s < SCREENS; s++) {
        if (!possible(s)) continue;
        qsr_spec *spec = spec_with(screens[s]);
        qsr_learner *l = make_learner(spec, 2, true, true, true);
        float raw[BATCH * D];
        make_rows(raw, true, 1);
        for (size_t i = 0; i < D; i++) l->sae.params.b_dec[i] = 1e-6f * (float)(i + 1);
        assert_ok(qsr_learner_gradients(l, raw, NULL));
        size_t n = 0, apart = 0;
        for (size_t r = 0; r < BATCH; r++)
            for (size_t j = 0; j < D_SAE; j++, n++) {
                all[n] = (exact_entry){0, r, j};
                for (size_t i = 0; i < D; i++)
                    all[n].value += (double)(l->x[r * D + i] - l->sae.params.b_dec[i]) * l->sae.params.w_enc[j * D + i];
            }
        qsort(all, n, sizeof *all, larger_first);
        for (size_t i = 0; i < n; i++) assert_int_equal(stayed[all[i].row][all[i].latent], i < K * BATCH);
        for (size_t i = K * BATCH - 20; i < K * BATCH + 20; i++) apart += all[i].value != all[i + 1].value;
        assert_true(apart > 5); /* or else this was no test of near ties */
        assert_true(all[K * BATCH - 20].value - all[K * BATCH + 20].value < 0x1p-16 * all[K * BATCH].value);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded_memory_changes_nothing),
        cmocka_unit_test(nor_where_candidates_tie),
        cmocka_unit_test(the_host_keeps_what_the_plugin_would),
        cmocka_unit_test(also_from_bounds),
        cmocka_unit_test(guesses_do_not_show),
        cmocka_unit_test(nor_do_rows_that_stand_for_the_batch),
        cmocka_unit_test(near_ties_go_by_double),
    };
    int failures = cmocka_run_group_tests_name("pruning", tests, NULL, NULL);
    bench_end();
    return failures;
}

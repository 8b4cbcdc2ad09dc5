/* Rules that choose among all candidates of a batch: with memory bounded by what may stay, the outcome is that of seeing every
 * candidate at once, whatever the number of threads, also where most candidates tie. */
#include "../unit.h"

#include "../bench.h"

enum { D = 6, D_SAE = 101, BATCH = 300, K = 2, STEPS = 4 };

static qsr_activation_ops real, wrapped;
static size_t early_calls, most_candidates, final_calls;

static qsr_status counting_prune(qsr_instance *self, const qsr_candidates *c)
{
    early_calls += !c->final;
    final_calls += c->final;
    if (c->final && c->count > most_candidates) most_candidates = c->count;
    return real.prune(self, c);
}

/* tied: few distinct values, so that the cut goes through a crowd of equal candidates. */
static void make_rows(float *raw, bool tied, size_t t)
{
    bench_normal(raw, BATCH * D, 60 + t, 1);
    for (size_t i = 0; tied && i < BATCH * D; i++) raw[i] = roundf(raw[i]);
}

static qsr_learner *make_learner(const qsr_spec *spec, unsigned threads, bool tied, bool bounded)
{
    qsr_learner *l = bench_learner(spec, D, bench_pool(threads));
    for (size_t i = 0; tied && i < D_SAE * D; i++) l->sae.params.w_enc[i] = roundf(2 * l->sae.params.w_enc[i]);
    if (tied) qsr_sae_refresh(&l->sae);
    if (tied) memset(l->sae.params.b_dec, 0, D * sizeof(float));
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

static void compare(bool tied)
{
    static trace want, got;
    qsr_spec *spec = bench_spec("name: prune\ndataset: {plugin: synthetic}\nactivation: {plugin: batchtopk, k: %d}\n"
                                "sae: {d_sae: %d, normalize: none}\ntrain: {tokens: 3000, batch: %d}\n",
                                K, D_SAE, BATCH);
    qsr_learner *l = make_learner(spec, 1, tied, false);
    memset(&want, 0, sizeof want);
    follow(l, tied, &want);
    assert_int_equal(early_calls, 0);
    assert_true(most_candidates > 10 * K * BATCH);
    qsr_learner_free(l);
    for (unsigned threads = 1; threads <= 3; threads++) {
        l = make_learner(spec, threads, tied, true);
        memset(&got, 0, sizeof got);
        follow(l, tied, &got);
        assert_true(early_calls >= final_calls && final_calls == STEPS);
        assert_true(most_candidates <= 2 * K * BATCH); /* what DESIGN promises of memory */
        assert_memory_equal(&got, &want, sizeof want);
        qsr_learner_free(l);
    }
    qsr_spec_free(spec);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounded_memory_changes_nothing),
        cmocka_unit_test(nor_where_candidates_tie),
    };
    int failures = cmocka_run_group_tests_name("pruning", tests, NULL, NULL);
    bench_end();
    return failures;
}

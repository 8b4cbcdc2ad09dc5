/* What quasar/plugin.h promises an activation in training: the inputs it asked for, in backward as in forward, and that no other
 * call on the instance runs beside a serial one. */
#include "../unit.h"

#include <stdatomic.h>
#include <time.h>

#include "../bench.h"

enum { D = 6, D_SAE = 50, BATCH = 300 };

static qsr_activation_ops real, wrapped;

static qsr_learner *make_learner(const qsr_spec *spec, unsigned threads)
{
    qsr_learner *l = bench_learner(spec, D, bench_pool(threads));
    wrapped = real = *l->sae.ops;
    l->sae.ops = &wrapped;
    return l;
}

static void step(qsr_learner *l)
{
    float raw[BATCH * D];
    qsr_error e = {0};
    bench_normal(raw, BATCH * D, 7, 1);
    if (qsr_learner_step(l, raw, &e)) fail_msg("%s", e.text);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static double norms[BATCH];
static size_t rows_seen, bad_rows;

static qsr_status forward_with_norms(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    for (size_t r = 0; r < in->rows; r++) norms[in->row0 + r] = in->input_norm[r];
    return real.forward(self, in, out);
}

static qsr_status backward_with_norms(const qsr_instance *self, const qsr_rows *in, const qsr_code *code, qsr_entry_grads *grads)
{
    (void)self;
    for (size_t r = 0; r < in->rows; r++, rows_seen++) bad_rows += !in->input_norm || in->input_norm[r] != norms[in->row0 + r];
    bad_rows += !in->dec_norm || in->pre != NULL;
    for (size_t i = 0; i < code->row_begin[in->rows]; i++) grads->d_pre[i] = grads->d_value[i];
    return QSR_OK;
}

static void backward_has_the_norms_that_forward_had(void **state)
{
    (void)state;
    static const char *const losses[] = {"mse: {}", "mse: {}, prefixes: {first: 5, second: 9, top: 3, mode: after}"};
    for (size_t i = 0; i < 2; i++) { /* block by block, and with all codes of the batch kept */
        qsr_spec *spec = bench_spec("name: norms\ndataset: {plugin: synthetic}\nactivation: {plugin: topafa}\nlosses: {%s}\n"
                                    "sae: {d_sae: %d, normalize: none}\ntrain: {tokens: 3000, batch: %d}\n",
                                    losses[i], D_SAE, BATCH);
        qsr_learner *l = make_learner(spec, 2);
        wrapped.forward = forward_with_norms;
        wrapped.backward = backward_with_norms;
        rows_seen = bad_rows = 0;
        l->pool = NULL; /* the counters above are plain */
        step(l);
        assert_int_equal(rows_seen, BATCH);
        assert_int_equal(bad_rows, 0);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
}

/* ---- serial calls ------------------------------------------------------------------------------------------------ */

static atomic_int inside, together;
static atomic_size_t early;

static qsr_status slow_forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    const struct timespec pause = {.tv_nsec = 3000000 * (long)(1 + in->row0 / 80)}; /* blocks end one after another */
    inside++;
    nanosleep(&pause, NULL);
    qsr_status status = real.forward(self, in, out);
    inside--;
    return status;
}

static qsr_status lonely_prune(qsr_instance *self, const qsr_candidates *c)
{
    early += !c->final;
    together += inside;
    return real.prune(self, c);
}

static void prune_runs_alone(void **state)
{
    (void)state;
    qsr_spec *spec = bench_spec("name: alone\ndataset: {plugin: synthetic}\nactivation: {plugin: batchtopk, k: 1}\n"
                                "sae: {d_sae: %d, normalize: none}\ntrain: {tokens: 3000, batch: %d}\n",
                                D_SAE, BATCH);
    qsr_learner *l = make_learner(spec, 3);
    l->by_host = false; /* as with an activation whose rule the host does not know */
    wrapped.forward = slow_forward;
    wrapped.prune = lonely_prune;
    step(l);
    assert_true(early > 0);
    assert_int_equal(together, 0);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

/* ---- statuses ---------------------------------------------------------------------------------------------------- */

static qsr_status ends(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    (void)self, (void)in, (void)out;
    return QSR_END;
}

/* The end of something is no answer of forward's; taken for one, the block would be left out of the step without a word. */
static void a_status_that_means_nothing_is_an_error(void **state)
{
    (void)state;
    qsr_spec *spec = bench_spec("name: end\ndataset: {plugin: synthetic}\nactivation: {plugin: relu}\n"
                                "sae: {d_sae: %d, normalize: none}\ntrain: {tokens: 3000, batch: %d}\n",
                                D_SAE, BATCH);
    qsr_learner *l = make_learner(spec, 2);
    float raw[BATCH * D] = {0};
    qsr_error e = {0};
    wrapped.forward = ends;
    assert_int_equal(qsr_learner_step(l, raw, &e), QSR_E_INTERNAL);
    assert_int_equal(e.code, QSR_E_INTERNAL);
    assert_true(e.text[0]);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backward_has_the_norms_that_forward_had),
        cmocka_unit_test(prune_runs_alone),
        cmocka_unit_test(a_status_that_means_nothing_is_an_error),
    };
    int failures = cmocka_run_group_tests_name("promises", tests, NULL, NULL);
    bench_end();
    return failures;
}

/* The language model's loss under an SAE: what reconstructs exactly recovers exactly 1, what gives zeros exactly 0; positions count as
 * eval/splice.h says; and nothing depends on threads or company. On the small GPT-2 of experiments/data. */
#include "../unit.h"

#include "../bench.h"
#include "base/arena.h"
#include "eval/evaluate.h"

enum { D = 128, CONTEXT = 64, SKIP = 1, PER_UNIT = CONTEXT - SKIP, TOKENS = 1500, MOST = 4 };

typedef struct {
    qsr_spec *spec;
    qsr_dataset data;
    qsr_learner *learners[MOST];
    qsr_judged judged[MOST];
} bench;

static bench *open_bench(unsigned threads, const char *more, int ce_tokens)
{
    bench *b = calloc(1, sizeof *b);
    b->spec = bench_spec(
        "name: splice\ndataset: {plugin: gpt2, model: %s/experiments/data/tiny-gpt2, tokens: "
        "%s/experiments/data/tiny-gpt2/tokens.npy, hook: {site: resid_post, layer: 3}, context: %d, skip_first: %d, "
        "forward_contexts: 3%s}\nactivation: {plugin: relu}\nsae: {d_sae: %d, normalize: none, pre_bias: false}\n"
        "train: {tokens: 1000, batch: 100}\neval: {tokens: 2000, ce_tokens: %d}\n",
        bench_source(), bench_source(), CONTEXT, SKIP, more, 2 * D, ce_tokens);
    assert_ok(qsr_dataset_open(b->spec, bench_pool(threads), &b->data, NULL));
    return b;
}

static void close_bench(bench *b)
{
    for (size_t i = 0; i < MOST; i++) qsr_learner_free(b->learners[i]);
    qsr_dataset_close(&b->data);
    qsr_spec_free(b->spec);
    free(b);
}

/* relu(x) and relu(-x) with their rows: x to the last bit, where nothing else is added. With `weight` 0 only b_dec is left. */
static void set_sae(bench *b, size_t index, float weight, const float *b_dec)
{
    qsr_learner *l = b->learners[index] = bench_learner(b->spec, D, b->data.pool);
    qsr_params *p = &l->sae.params;
    memset(p->w_enc, 0, 2 * D * D * sizeof(float));
    memset(p->w_dec, 0, 2 * D * D * sizeof(float));
    memset(p->b_enc, 0, 2 * D * sizeof(float));
    memset(p->b_dec, 0, D * sizeof(float));
    if (b_dec) memcpy(p->b_dec, b_dec, D * sizeof(float));
    for (size_t i = 0; i < D; i++) {
        p->w_enc[i * D + i] = p->w_dec[i * D + i] = weight;
        p->w_enc[(D + i) * D + i] = p->w_dec[(D + i) * D + i] = -weight;
    }
    qsr_sae_refresh(&l->sae);
    b->judged[index] = (qsr_judged){.sae = &l->sae, .layer = -1, .ce_tokens = (uint64_t)b->spec->eval.ce_tokens};
}

static void judge(bench *b, size_t n)
{
    const qsr_evaluate_options options = {0};
    qsr_error e = {0};
    if (qsr_evaluate(b->judged, n, &b->data, &options, &e)) fail_msg("%s", e.text);
    for (size_t i = 0; i < n; i++)
        if (b->judged[i].error.code) fail_msg("%s", b->judged[i].error.text);
}

static double value(const bench *b, size_t index, const char *name)
{
    return qsr_evaluation_get(&b->judged[index].evaluation, name);
}

/* The mean of training as eval/splice.h defines it: units spread evenly, here by plain division. */
static void mean_of_training(const bench *b, float *mean)
{
    const uint64_t n = (QSR_MEAN_ROWS + PER_UNIT - 1) / PER_UNIT;
    double sum[D] = {0}, count = 0;
    float rows[PER_UNIT * D];
    assert_true(b->data.train_units > n);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t unit = i * b->data.train_units / n;
        uint8_t keep[PER_UNIT];
        assert_ok(qsr_dataset_read(&b->data, &unit, 1, rows, NULL));
        assert_ok(qsr_dataset_mask(&b->data, &unit, 1, keep, NULL));
        for (size_t r = 0; r < PER_UNIT; r++) {
            for (size_t k = 0; keep[r] && k < D; k++) sum[k] += rows[r * D + k];
            count += keep[r];
        }
    }
    for (size_t k = 0; k < D; k++) mean[k] = (float)(sum[k] / count);
}

static void exact_reconstructions_recover_exactly(void **state)
{
    (void)state;
    bench *b = open_bench(2, "", TOKENS);
    float mean[D];
    mean_of_training(b, mean);
    set_sae(b, 0, 1, NULL);
    set_sae(b, 1, 0, NULL);
    set_sae(b, 2, 0, mean);
    set_sae(b, 3, 0.9f, NULL);
    judge(b, 4);
    assert_true(value(b, 0, "mse") == 0);
    assert_true(value(b, 0, "ce_sae") == value(b, 0, "ce_clean"));
    assert_true(value(b, 0, "ce_recovered_zero") == 1 && value(b, 0, "ce_recovered_mean") == 1);
    assert_true(value(b, 0, "kl") == 0);
    assert_true(value(b, 1, "kl") == value(b, 0, "kl_zero") && value(b, 1, "kl") > 1);
    assert_true(value(b, 1, "ce_sae") == value(b, 1, "ce_zero") && value(b, 1, "ce_recovered_zero") == 0);
    assert_true(value(b, 2, "ce_sae") == value(b, 2, "ce_mean") && value(b, 2, "ce_recovered_mean") == 0);
    assert_true(value(b, 3, "ce_recovered_zero") > 0.9 && value(b, 3, "ce_recovered_zero") < 1 && value(b, 3, "kl") > 0);
    assert_true(value(b, 0, "ce_clean") > 2 && value(b, 0, "ce_clean") < 5); /* of a trained model of 2,048 tokens */
    assert_true(value(b, 0, "ce_mean") > value(b, 0, "ce_clean") + 1);
    close_bench(b);
}

/* From the model's own losses: rows that count, less the last position of each context. */
static void count_by_hand(const bench *b, double *ret_mean, uint64_t *ret_tokens)
{
    const qsr_splice_ops *ops = qsr_made_extension(b->data.made, QSR_EXT_SPLICE);
    double loss[CONTEXT], sum = 0;
    uint64_t rows = 0, tokens = 0;
    const qsr_splice splice = {.struct_size = sizeof splice, .loss = loss};
    for (uint64_t unit = b->data.held_first; rows < TOKENS; unit++) {
        uint8_t keep[PER_UNIT];
        assert_ok(qsr_dataset_mask(&b->data, &unit, 1, keep, NULL));
        assert_ok(qsr_made_finish(b->data.made, ops->run(b->data.made->instance, &unit, 1, &splice), NULL));
        for (size_t r = 0; r < PER_UNIT && rows < TOKENS; r++, rows++) {
            if (!keep[r] || r + 1 == PER_UNIT) continue;
            sum += loss[SKIP + r];
            tokens++;
        }
    }
    *ret_mean = sum / (double)tokens;
    *ret_tokens = tokens;
}

static void positions_count_as_defined(void **state)
{
    (void)state;
    static const char *const masks[] = {"", ", exclude: [11, 263]"};
    uint64_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        bench *b = open_bench(3, masks[i], TOKENS);
        double mean;
        set_sae(b, 0, 1, NULL);
        judge(b, 1);
        count_by_hand(b, &mean, &counts[i]);
        assert_true(value(b, 0, "ce_tokens") == (double)counts[i]);
        assert_close(value(b, 0, "ce_clean"), mean, 1e-12); /* the same numbers, added in another order */
        assert_true(value(b, 0, "kl") == 0);
        close_bench(b);
    }
    assert_int_equal(counts[0], TOKENS - TOKENS / PER_UNIT);
    assert_true(counts[1] < counts[0]);
}

static void losses_depend_on_neither_threads_nor_company(void **state)
{
    (void)state;
    static const char *const names[] = {"ce_clean", "ce_sae", "ce_zero", "ce_mean", "kl", "ce_tokens"};
    bench *alone = open_bench(1, "", TOKENS), *company = open_bench(3, "", TOKENS);
    set_sae(alone, 0, 0.8f, NULL);
    set_sae(company, 0, 0.5f, NULL);
    set_sae(company, 1, 0.8f, NULL);
    set_sae(company, 2, 0, NULL);
    company->judged[0].ce_tokens = 400; /* it leaves early */
    judge(alone, 1);
    judge(company, 3);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(value(alone, 0, names[i]) == value(company, 1, names[i]));
    assert_true(value(company, 0, "ce_tokens") == 400 - 400 / PER_UNIT);
    assert_true(value(company, 0, "ce_clean") != value(company, 1, "ce_clean"));
    close_bench(alone);
    close_bench(company);
}

static void nobody_asks_and_nothing_is_said(void **state)
{
    (void)state;
    bench *b = open_bench(1, "", 0);
    set_sae(b, 0, 1, NULL);
    judge(b, 1);
    assert_true(isnan(value(b, 0, "ce_clean")) && isnan(value(b, 0, "ce_recovered_zero")));
    assert_true(value(b, 0, "mse") == 0);
    close_bench(b);
}

static int clean_up(void **state)
{
    (void)state;
    bench_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_reconstructions_recover_exactly),
        cmocka_unit_test(positions_count_as_defined),
        cmocka_unit_test(losses_depend_on_neither_threads_nor_company),
        cmocka_unit_test(nobody_asks_and_nothing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}

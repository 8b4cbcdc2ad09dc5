/* Evaluation of an SAE on held-out rows: it depends on the rows alone, not on how they are cut into units, read or shared out among
 * threads, nor on what else is judged with it; it changes nothing; and it agrees with the formulae on a case worked by hand. */
#include "../unit.h"

#include "../bench.h"

enum { D = 24, D_SAE = 77 };

static const char *const activations[] = {"topk, k: 5", "batchtopk, k: 5", "topafa", "relu", "jumprelu"};

typedef struct {
    qsr_spec *spec;
    qsr_dataset data;
    qsr_learner *learner;
    qsr_judged judged;
} bench;

/* 3000 rows, cut into units of rows_per_unit; the last 700 are scored. */
static bench *open_bench(const char *activation, const char *normalize, int rows_per_unit, int units_per_read,
                         unsigned threads)
{
    bench *b = calloc(1, sizeof *b);
    b->spec = bench_spec("name: judge\ndataset: {plugin: counted, d_in: %d, index: false, units: %d, rows_per_unit: %d, "
                         "units_per_read: %d}\nactivation: {plugin: %s}\nsae: {d_sae: %d, normalize: %s}\n"
                         "train: {tokens: 1000, batch: 100}\neval: {tokens: 700}\n",
                         D, 3000 / rows_per_unit, rows_per_unit, units_per_read, activation, D_SAE, normalize);
    assert_ok(qsr_dataset_open(b->spec, bench_pool(threads), &b->data, NULL));
    b->learner = bench_learner(b->spec, D, bench_pool(threads));
    b->learner->sae.normalise.scale = 1.5;
    return b;
}

static void close_bench(bench *b)
{
    qsr_learner_free(b->learner);
    qsr_dataset_close(&b->data);
    qsr_spec_free(b->spec);
    free(b);
}

static void judge(bench *b, const char *csv)
{
    const qsr_evaluate_options options = {0};
    qsr_error e = {0};
    b->judged = (qsr_judged){.sae = &b->learner->sae, .tokens_csv = csv, .layer = -1};
    if (qsr_evaluate(&b->judged, 1, &b->data, &options, &e)) fail_msg("%s", e.text);
    if (b->judged.error.code) fail_msg("%s", b->judged.error.text);
    assert_true(b->judged.evaluation.scored);
}

static void same_values(const qsr_evaluation *a, const qsr_evaluation *b)
{
    double x, y;
    const char *name;
    size_t i = 0;
    for (; (name = qsr_evaluation_value(a, i, &x)); i++) {
        assert_string_equal(qsr_evaluation_value(b, i, &y), name);
        if (memcmp(&x, &y, sizeof x) != 0) fail_msg("%s: %.17g and %.17g", name, x, y);
    }
    assert_true(i > 20);
    assert_memory_equal(a->metrics.firing, b->metrics.firing, sizeof a->metrics.firing);
}

/* Rows that are left out at the end of the held-out ones might as well not be there. */
static void rows_left_out_are_not_scored(void **state)
{
    (void)state;
    static const int cuts[][3] = {{1, 1, 1}, {5, 7, 2}, {20, 2, 3}};
    qsr_arena arena = {0};
    char *csv = qsr_path_join(&arena, test_folder(), "left-out.csv");
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        size_t n[2];
        char *text[2];
        qsr_evaluation evaluation[2];
        for (size_t i = 0; i < 2; i++) { /* of the rows 2300 to 2999, 2300 to 2779 remain */
            bench *b = open_bench("topk, k: 5", "token", i ? cuts[c][0] : 1, cuts[c][1], (unsigned)cuts[c][2]);
            qsr_dataset_close(&b->data);
            qsr_spec_free(b->spec);
            b->spec = bench_spec("name: judge\ndataset: {plugin: counted, d_in: %d, index: false, units: %d, rows_per_unit: %d, "
                                 "units_per_read: %d%s}\nactivation: {plugin: topk, k: 5}\nsae: {d_sae: %d}\n"
                                 "train: {tokens: 1000, batch: 100}\neval: {tokens: %d}\n",
                                 D, i ? 3000 / cuts[c][0] : 2780, i ? cuts[c][0] : 1, cuts[c][1],
                                 i ? ", drop_begin: 2780, drop_end: 3000" : "", D_SAE, i ? 700 : 480);
            assert_ok(qsr_dataset_open(b->spec, bench_pool((unsigned)cuts[c][2]), &b->data, NULL));
            judge(b, csv);
            evaluation[i] = b->judged.evaluation;
            text[i] = bench_file(&arena, test_folder(), "left-out.csv", &n[i]);
            close_bench(b);
        }
        same_values(&evaluation[0], &evaluation[1]);
        assert_true(qsr_evaluation_get(&evaluation[1], "tokens") == 480);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(text[0], text[1], n[0]);
    }
    qsr_arena_free(&arena);
}

static void how_rows_are_read_does_not_show(void **state)
{
    (void)state;
    static const int cuts[][2] = {{1, 1}, {1, 4096}, {2, 3}, {4, 1}, {5, 7}, {20, 2}, {50, 5}, {100, 1}, {25, 30}};
    static const char *const normalisations[] = {"token", "none", "dataset"};
    qsr_arena arena = {0};
    char *first_csv = qsr_path_join(&arena, test_folder(), "first.csv"),
         *csv = qsr_path_join(&arena, test_folder(), "now.csv");
    for (size_t a = 0; a < 5; a++) {
        bench *first = open_bench(activations[a], normalisations[a % 3], 1, 1, 1);
        judge(first, first_csv);
        assert_true(qsr_evaluation_get(&first->judged.evaluation, "l0") > 0);
        assert_true(qsr_evaluation_get(&first->judged.evaluation, "tokens") == 700);
        for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
            bench *now =
                open_bench(activations[a], normalisations[a % 3], cuts[c][0], cuts[c][1], (unsigned)(c + a) % 3 + 1);
            judge(now, csv);
            same_values(&first->judged.evaluation, &now->judged.evaluation);
            size_t n, m;
            const char *want = bench_file(&arena, test_folder(), "first.csv", &n),
                       *got = bench_file(&arena, test_folder(), "now.csv", &m);
            assert_int_equal(n, m);
            assert_memory_equal(want, got, n);
            close_bench(now);
        }
        close_bench(first);
    }
    qsr_arena_free(&arena);
}

static void company_does_not_show(void **state)
{
    (void)state;
    bench *all[5];
    qsr_judged together[5];
    const qsr_evaluate_options options = {0};
    for (size_t a = 0; a < 5; a++) {
        all[a] = open_bench(activations[a], "token", 10, 4, 2);
        judge(all[a], NULL);
        together[a] = (qsr_judged){.sae = &all[a]->learner->sae, .layer = -1};
    }
    assert_ok(qsr_evaluate(together, 5, &all[0]->data, &options, NULL));
    for (size_t a = 0; a < 5; a++) {
        assert_int_equal(together[a].error.code, QSR_OK);
        same_values(&together[a].evaluation, &all[a]->judged.evaluation);
        close_bench(all[a]);
    }
}

static void judging_changes_nothing(void **state)
{
    (void)state;
    for (size_t a = 0; a < 5; a++) {
        bench *b = open_bench(activations[a], "token", 10, 4, 2);
        const qsr_params *p = &b->learner->sae.params;
        float enc[D_SAE * D], dec[D_SAE * D], rows[100 * D];
        bench_normal(rows, 100 * D, 8, 1);
        assert_ok(qsr_learner_step(b->learner, rows, NULL)); /* so that there is a state to change */
        memcpy(enc, p->w_enc, sizeof enc);
        memcpy(dec, p->w_dec, sizeof dec);
        uint64_t silent[D_SAE];
        memcpy(silent, b->learner->silent, sizeof silent);
        judge(b, NULL);
        qsr_evaluation first = b->judged.evaluation;
        judge(b, NULL);
        same_values(&first, &b->judged.evaluation);
        assert_memory_equal(enc, p->w_enc, sizeof enc);
        assert_memory_equal(dec, p->w_dec, sizeof dec);
        assert_memory_equal(silent, b->learner->silent, sizeof silent);
        close_bench(b);
    }
}

/* All of it in double, straight from the rows: the numbers that training is judged by. */
static void values_agree_with_their_formulae(void **state)
{
    (void)state;
    bench *b = open_bench("relu", "none", 1, 100, 1);
    const qsr_params *p = &b->learner->sae.params;
    judge(b, NULL);
    double l0 = 0, l1 = 0, error = 0, square = 0, mean[D] = {0}, spread = 0;
    float(*rows)[D] = calloc(700, sizeof *rows);
    for (size_t r = 0; r < 700; r++) {
        uint64_t unit = 2300 + r;
        assert_ok(qsr_dataset_read(&b->data, &unit, 1, rows[r], NULL));
        double hat[D];
        for (size_t i = 0; i < D; i++) hat[i] = p->b_dec[i], mean[i] += rows[r][i] / 700.0;
        for (size_t j = 0; j < D_SAE; j++) {
            double pre = p->b_enc[j];
            for (size_t i = 0; i < D; i++) pre += ((double)rows[r][i] - p->b_dec[i]) * p->w_enc[j * D + i];
            if (!(pre > 0)) continue;
            l0 += 1 / 700.0, l1 += pre / 700;
            for (size_t i = 0; i < D; i++) hat[i] += pre * p->w_dec[j * D + i];
        }
        for (size_t i = 0; i < D; i++) {
            error += (rows[r][i] - hat[i]) * (rows[r][i] - hat[i]);
            square += (double)rows[r][i] * rows[r][i];
        }
    }
    for (size_t r = 0; r < 700; r++)
        for (size_t i = 0; i < D; i++) spread += (rows[r][i] - mean[i]) * (rows[r][i] - mean[i]);
    const qsr_evaluation *v = &b->judged.evaluation;
    assert_close(qsr_evaluation_get(v, "l0"), l0, 1e-9);
    assert_close(qsr_evaluation_get(v, "l1"), l1, 1e-6);
    assert_close(qsr_evaluation_get(v, "mse"), error / 700 / D, 1e-6);
    assert_close(qsr_evaluation_get(v, "nmse"), error / square, 1e-6);
    assert_close(qsr_evaluation_get(v, "fvu"), error / spread, 1e-6);
    assert_close(qsr_evaluation_get(v, "mse_norm"), error / 700 / D, 1e-6);
    assert_true(isnan(qsr_evaluation_get(v, "no such value")));
    free(rows);
    close_bench(b);
}

/* A value that is not finite among the held-out rows is an error of the data. */
static void unusable_rows_are_named(void **state)
{
    (void)state;
    qsr_spec *spec = bench_spec("name: judge\ndataset: {plugin: counted, d_in: %d, units: 3000, bad_row: 2700}\n"
                                "activation: {plugin: topk, k: 5}\nsae: {d_sae: %d}\ntrain: {tokens: 1000, batch: 100}\n"
                                "eval: {tokens: 700}\n",
                                D, D_SAE);
    qsr_dataset data;
    assert_ok(qsr_dataset_open(spec, bench_pool(3), &data, NULL));
    qsr_learner *l = bench_learner(spec, D, bench_pool(3));
    qsr_judged judged = {.sae = &l->sae, .layer = -1};
    const qsr_evaluate_options options = {0};
    qsr_error e = {0};
    assert_int_equal(qsr_evaluate(&judged, 1, &data, &options, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "row 2700 of counted has nan in column 0: data must be finite");
    assert_false(judged.evaluation.scored);
    qsr_learner_free(l);
    qsr_dataset_close(&data);
    qsr_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_left_out_are_not_scored),
        cmocka_unit_test(how_rows_are_read_does_not_show), cmocka_unit_test(company_does_not_show),
        cmocka_unit_test(judging_changes_nothing),         cmocka_unit_test(values_agree_with_their_formulae),
        cmocka_unit_test(unusable_rows_are_named),
    };
    int failures = cmocka_run_group_tests_name("evaluation", tests, NULL, NULL);
    bench_end();
    return failures;
}

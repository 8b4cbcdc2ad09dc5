#include "lab/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "data/cursor.h"
#include "eval/evaluate.h"
#include "math/blas.h"
#include "math/kernel.h"
#include "train/start.h"

static const uint64_t DEAD_FOR = (uint64_t)1 << 60; /* tokens */
enum { WARM_UP = 2, FEWEST = 5, MOST = 200, SERIES = QSR_PHASES + 3 };
static const double SECONDS_TO_FILL = 10, LONG_STEP = 2;

typedef struct {
    const qsr_spec *spec;
    qsr_pool *pool;
    qsr_dataset data;
    qsr_learner *learner;
    qsr_cursor *cursor;
    float *rows;               /* [batch][d_in] */
    qsr_bench_product *product; /* [batch][d_sae], of T */
    double series[SERIES][MOST]; /* milliseconds: phases, step, data, T */
    size_t n;
    size_t n_dead;
    qsr_sparse_count walked; /* before the first timed step */
    qsr_sift_count sifted;
} bench_state;

/* ---- T ----------------------------------------------------------------------------------------------------------- */

static qsr_status product_part(void *arg, size_t begin, size_t end)
{
    bench_state *b = arg;
    const qsr_learner *l = b->learner;
    qsr_gemm(false, true, end - begin, l->d_sae, l->d_in, 1, b->rows + begin * l->d_in, l->d_in, l->sae.params.w_enc, l->d_in, 0,
             b->product->at + begin * l->d_sae, l->d_sae);
    return QSR_OK;
}

/* One call of OpenBLAS per thread, on equal shares of the batch: the fewest calls, so the least packing. */
static double time_product(bench_state *b)
{
    double start = qsr_clock();
    qsr_pool_run(b->pool, b->learner->batch, qsr_div_up(b->learner->batch, qsr_pool_threads(b->pool)), product_part, b);
    return 1e3 * (qsr_clock() - start);
}

/* ---- ceilings ---------------------------------------------------------------------------------------------------- */

struct copying {
    char *to;
    const char *from;
};

static qsr_status copy_part(void *arg, size_t begin, size_t end)
{
    struct copying *c = arg;
    memcpy(c->to + begin, c->from + begin, end - begin);
    return QSR_OK;
}

/* Bytes read and written per second by a copy of 128 MiB, best of five; 0 when there is no memory for it. */
static double copy_rate(qsr_pool *pool)
{
    const size_t n = (size_t)128 << 20;
    struct copying c = {qsr_block_alloc(n, 1), qsr_block_alloc(n, 1)};
    double best = 0;
    for (int i = 0; c.to && c.from && i < 5; i++) {
        double start = qsr_clock();
        qsr_pool_run(pool, n, qsr_div_up(n, qsr_pool_threads(pool)), copy_part, &c);
        double rate = 2 * (double)n / (qsr_clock() - start);
        if (rate > best) best = rate;
    }
    qsr_block_free(c.to);
    qsr_block_free((void *)(uintptr_t)c.from);
    return best / 1e9;
}

enum { FMA_WIDTH = QSR_QUARTET_STRIP, FMA_TERMS = 48, FMA_ROUNDS = 13000, FMA_TRIES = 10 };

/* Sums of four times 96 numbers that stay in registers, from vectors that stay in the first cache: the plainest loop there is. */
static qsr_status multiply_add(void *arg, size_t begin, size_t end)
{
    (void)arg;
    _Alignas(64) float m[FMA_TERMS][FMA_WIDTH], factor[FMA_TERMS][QSR_QUARTET], sums[QSR_QUARTET * FMA_WIDTH] = {0};
    uint8_t mask[FMA_TERMS];
    qsr_quartet list;
    for (size_t i = 0; i < FMA_TERMS; i++) {
        mask[i] = 15;
        for (size_t c = 0; c < FMA_WIDTH; c++) m[i][c] = 1;
        for (size_t r = 0; r < QSR_QUARTET; r++) factor[i][r] = 0x1p-20f;
    }
    qsr_quartet_sort(mask, FMA_TERMS, &list);
    for (size_t i = begin; i < end; i++)
        for (int round = 0; round < FMA_ROUNDS; round++)
            qsr_kernels_get()->quartet->gather(&list, factor[0], m[0], FMA_WIDTH, sums, FMA_WIDTH);
    return QSR_OK;
}

static double fma_rate(qsr_pool *pool)
{
    double best = 0, operations = 2.0 * QSR_QUARTET * FMA_WIDTH * FMA_TERMS * FMA_ROUNDS * qsr_pool_threads(pool);
    for (int i = 0; i < FMA_TRIES; i++) {
        double start = qsr_clock();
        qsr_pool_run(pool, qsr_pool_threads(pool), 1, multiply_add, NULL);
        double rate = operations / (qsr_clock() - start);
        if (rate > best) best = rate;
    }
    return best / 1e9;
}

/* Several benchmarks in one process should not see each other's peak. False: the system refuses, and they do. */
static bool forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    bool done = file && fputs("5", file) >= 0 && fflush(file) == 0;
    if (file) fclose(file);
    return done;
}

static size_t peak_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1) break;
    if (file) fclose(file);
    return (size_t)kib * 1024;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static qsr_status open_all(bench_state *b, qsr_problems *problems, qsr_error *e)
{
    const qsr_block *guilty = NULL;
    qsr_status status = qsr_dataset_open(b->spec, b->pool, &b->data, e);
    if (status) qsr_spec_blame(b->spec, &b->spec->dataset, e, problems);
    if (!status) status = qsr_learner_create(b->spec, b->data.d_in, b->pool, &b->learner, &guilty, e);
    if (status && guilty) qsr_spec_blame(b->spec, guilty, e, problems);
    if (!status) status = qsr_learner_start(b->learner, &b->data, e);
    if (!status) status = qsr_cursor_create(&b->data, &b->spec->data, &b->cursor, e);
    if (status) return status;
    b->rows = qsr_block_raw(b->learner->batch, b->data.d_in * sizeof(float));
    return b->rows ? QSR_OK : qsr_fail_nomem(e, "a batch of rows", b->learner->batch * b->data.d_in * sizeof(float));
}

/* A step whose times go to column n, unless it only warms up; reads: on rows of its own. */
static qsr_status timed_step(bench_state *b, bool counts, bool reads, qsr_error *e)
{
    qsr_learner *l = b->learner;
    double before[QSR_PHASES], start = qsr_clock();
    size_t got;
    memcpy(before, l->watch.seconds, sizeof before);
    for (size_t i = 0; i < b->n_dead; i++) l->silent[i * l->d_sae / b->n_dead] = DEAD_FOR;
    qsr_status status = reads ? qsr_cursor_next(b->cursor, l->batch, b->rows, &got, e) : QSR_OK;
    double middle = qsr_clock();
    if (status == QSR_END) return qsr_fail(e, QSR_E_OPTION, "the data of dataset.epochs ends before the benchmark does");
    if (!status) status = qsr_learner_step(l, b->rows, e);
    double step = qsr_clock() - middle, sum = 0;
    if (status || !counts) return status;
    for (int p = 0; p < QSR_PHASES; p++) {
        b->series[p][b->n] = 1e3 * (l->watch.seconds[p] - before[p]);
        if (p != QSR_PHASE_OTHER) sum += b->series[p][b->n];
    }
    b->series[QSR_PHASE_OTHER][b->n] = 1e3 * step - sum;
    b->series[QSR_PHASES][b->n] = 1e3 * step;
    b->series[QSR_PHASES + 1][b->n] = 1e3 * (middle - start);
    return QSR_OK;
}

/* Latents that are as good as never kept, and have been silent for long: their encoder rows are made small. */
static void put_to_sleep(bench_state *b, double share)
{
    qsr_learner *l = b->learner;
    b->n_dead = (size_t)(share * (double)l->d_sae);
    for (size_t i = 0; i < b->n_dead; i++) {
        float *row = l->sae.params.w_enc + i * l->d_sae / b->n_dead * l->d_in;
        for (size_t c = 0; c < l->d_in; c++) row[c] *= 1e-3f;
    }
    if (b->n_dead) qsr_sae_refresh(&l->sae);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static qsr_bench_time quartiles(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return (qsr_bench_time){values[n / 2], values[n / 4], values[n - 1 - n / 4]};
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

static void count_ways(const bench_state *b, qsr_bench *ret)
{
    const qsr_learner *l = b->learner;
    qsr_sift_count sifted = qsr_learner_sifted(l);
    ret->walked = (qsr_sparse_count){(l->walked.by_row - b->walked.by_row) / b->n, (l->walked.in_panels - b->walked.in_panels) / b->n,
                                     (l->walked.in_quartets - b->walked.in_quartets) / b->n};
    ret->sifted = (qsr_sift_count){(sifted.rows - b->sifted.rows) / b->n, (sifted.bf16 - b->sifted.bf16) / b->n,
                                   (sifted.full - b->sifted.full) / b->n, (sifted.bounds - b->sifted.bounds) / b->n,
                                   (sifted.pairs - b->sifted.pairs) / b->n};
    ret->screen = qsr_sae_screen_name(&l->sae);
    ret->plain_bytes = 8 * l->d_in * l->d_sae * sizeof(float) + qsr_cursor_bytes(b->cursor);
}

static void conclude(bench_state *b, qsr_bench *ret)
{
    const qsr_learner *l = b->learner;
    for (int p = 0; p < QSR_PHASES; p++) ret->phase[p] = quartiles(b->series[p], b->n);
    ret->step = quartiles(b->series[QSR_PHASES], b->n);
    ret->data = quartiles(b->series[QSR_PHASES + 1], b->n);
    ret->t = quartiles(b->series[QSR_PHASES + 2], b->n);
    ret->l0 = l->report.l0;
    ret->repeats = b->n;
    ret->counts = qsr_phase_count(l->batch, l->d_in, l->d_sae, l->report.l0);
    ret->gemm_gflops = 2 * (double)l->batch * (double)l->d_in * (double)l->d_sae / ret->t.median / 1e6;
    count_ways(b, ret);
}

static void find_ceilings(qsr_pool *pool, qsr_bench *ret)
{
    ret->copy_gbps = copy_rate(pool);
    ret->fma_gflops = fma_rate(pool);
}

/* ---- the model that data comes from ------------------------------------------------------------------------------ */

enum { MODEL_ROWS = 4096, MODEL_FEWEST = 3 };
static const double MODEL_SECONDS = 5;

/* Full reads on every thread, together at least MODEL_ROWS rows: what training asks of a model, without shuffling. */
static size_t model_units(const bench_state *b)
{
    const qsr_dataset *data = &b->data;
    const size_t round = data->info.units_per_read * qsr_pool_threads(b->pool);
    const size_t n = round * qsr_div_up(MODEL_ROWS, round * data->info.rows_per_unit);
    return n < data->train_units ? n : (size_t)data->train_units;
}

static qsr_status time_model(bench_state *b, size_t repeats, qsr_bench *ret, qsr_error *e)
{
    const qsr_dataset *data = &b->data;
    const size_t n = model_units(b);
    double series[MOST], begun = qsr_clock();
    size_t done = 0;
    if (!(data->info.unit_flops > 0)) return QSR_OK;
    uint64_t *units = qsr_xcalloc(n, sizeof *units);
    for (size_t i = 0; i < n; i++) units[i] = i;
    float *rows = qsr_block_raw(n * data->rows_per_unit, data->d_in * sizeof(float));
    qsr_status status = rows ? QSR_OK : qsr_fail_nomem(e, "rows of the model", n * data->rows_per_unit * data->d_in * sizeof(float));
    if (!status) status = qsr_dataset_read(data, units, n, rows, e); /* warms up */
    while (!status && done < (repeats ? qsr_min_size(repeats, MOST) : MOST)) {
        double start = qsr_clock();
        status = qsr_dataset_read(data, units, n, rows, e);
        series[done++] = 1e3 * (qsr_clock() - start);
        if (!repeats && done >= MODEL_FEWEST && qsr_clock() - begun > MODEL_SECONDS) break;
    }
    if (!status) ret->model = quartiles(series, done);
    ret->model_rows = n * data->info.rows_per_unit;
    ret->model_flops = (double)n * data->info.unit_flops;
    qsr_block_free(rows);
    free(units);
    return status;
}

/* ---- evaluation -------------------------------------------------------------------------------------------------- */

enum { EVALUATIONS = 3 };

static qsr_status time_evaluation(bench_state *b, qsr_bench *ret, qsr_error *e)
{
    const qsr_learner *l = b->learner;
    double scoring[EVALUATIONS], coherence[EVALUATIONS];
    qsr_status status = QSR_OK;
    for (int i = 0; !status && i < EVALUATIONS; i++) {
        double seconds = 0, start = qsr_clock();
        qsr_coherence pairs;
        status = qsr_coherence_of(b->pool, l->sae.params.w_dec, l->d_sae, l->d_in, &pairs, NULL, e);
        coherence[i] = 1e3 * (qsr_clock() - start);
        qsr_judged judged = {.sae = &l->sae, .layer = -1};
        qsr_evaluate_options options = {.scoring_seconds = &seconds, .rows_alone = true};
        if (!status) status = qsr_evaluate(&judged, 1, &b->data, &options, e);
        if (!status && judged.error.code) *e = judged.error, status = judged.error.code;
        scoring[i] = 1e3 * seconds * (double)l->batch / (double)b->data.held_rows;
    }
    if (status) return status;
    ret->evaluation = quartiles(scoring, EVALUATIONS);
    ret->coherence = quartiles(coherence, EVALUATIONS);
    return QSR_OK;
}

void qsr_bench_product_free(qsr_bench_product *p)
{
    qsr_block_free(p->at);
    *p = (qsr_bench_product){0};
}

/* Memory that was used before is warm. */
static qsr_status make_product(bench_state *b, qsr_error *e)
{
    qsr_bench_product *p = b->product;
    size_t floats = b->learner->batch * b->learner->d_sae;
    if (p->floats >= floats) return QSR_OK;
    qsr_bench_product_free(p);
    p->at = qsr_block_raw(floats, sizeof(float));
    if (!p->at) return qsr_fail_nomem(e, "the product that T is", floats * sizeof(float));
    p->floats = floats;
    time_product(b);
    return QSR_OK;
}

static qsr_status warm_up(bench_state *b, bool brief, qsr_error *e)
{
    qsr_status status = QSR_OK;
    double begun = qsr_clock();
    for (int i = 0; !status && i < WARM_UP; i++) {
        status = timed_step(b, false, true, e);
        if (brief && qsr_clock() - begun > LONG_STEP) break;
    }
    return status;
}

static qsr_status measure(bench_state *b, const qsr_bench_options *options, qsr_bench *ret, qsr_error *e)
{
    qsr_learner *l = b->learner;
    size_t before = b->product->floats * sizeof(float);
    qsr_status status = warm_up(b, options->brief, e);
    b->walked = l->walked;
    b->sifted = qsr_learner_sifted(l);
    double begun = qsr_clock(), *t = b->series[QSR_PHASES + 2];
    size_t repeats = options->repeats, most = repeats ? qsr_min_size(repeats, MOST) : MOST;
    while (!status && b->n < most) {
        status = timed_step(b, true, !options->brief, e);
        if (b->n == 0) ret->peak_bytes = peak_memory() - qsr_min_size(before, peak_memory()); /* T has no memory of its own yet */
        if (!status && b->n == 0) status = make_product(b, e);
        if (status) break;
        t[b->n] = options->t_once && b->n ? t[0] : time_product(b);
        b->n++;
        if (!repeats && b->n >= FEWEST && qsr_clock() - begun > SECONDS_TO_FILL) break;
    }
    return status;
}

qsr_status qsr_bench_run(const qsr_spec *spec, qsr_pool *pool, const qsr_bench_options *options, qsr_bench *ret,
                         qsr_problems *problems, qsr_error *e)
{
    bench_state *b = qsr_xcalloc(1, sizeof *b);
    qsr_bench_product own = {0};
    *b = (bench_state){.spec = spec, .pool = pool, .product = options->product ? options->product : &own};
    *ret = (qsr_bench){.threads = qsr_pool_threads(pool), .peak_is_older = !forget_peak()};
    qsr_status status = qsr_blas_verify(e);
    if (!status) status = open_all(b, problems, e);
    if (!status) {
        ret->d_in = b->learner->d_in, ret->d_sae = b->learner->d_sae, ret->batch = b->learner->batch;
        put_to_sleep(b, options->dead);
        status = measure(b, options, ret, e);
    }
    if (!status) status = time_model(b, options->repeats, ret, e);
    if (!status && options->evaluate) status = time_evaluation(b, ret, e);
    if (!status) conclude(b, ret);
    if (!status && !options->brief) find_ceilings(pool, ret);
    qsr_bench_product_free(&own);
    qsr_block_free(b->rows);
    qsr_cursor_free(b->cursor);
    qsr_learner_free(b->learner);
    qsr_dataset_close(&b->data);
    free(b);
    qsr_memory_trim();
    return status;
}

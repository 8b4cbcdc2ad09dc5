#include "train/batch.h"

#include <math.h>
#include <string.h>

#include "base/sizes.h"
#include "train/prune.h"
#include "train/together.h"
#include "train/view.h"

/* Entries that a row of a late loss is taken to have. */
enum { LATE_ENTRIES = 512 };

/* What the tasks of one batch share. */
typedef struct {
    qsr_learner *l;
    qsr_pruning *pruning; /* or NULL */
    size_t first;         /* block of the batch that work[0] holds */
    bool from_kept;       /* the second half of a kept batch */
    bool late;            /* losses that look through views alone */
    qsr_first_error failed;
} batch_run;

static size_t rows_of(const qsr_learner *l, size_t block)
{
    return qsr_min_size(l->block_rows, l->batch - block * l->block_rows);
}

/* Whether an encode leaves pre-activations behind: where codes come from bounds there are none. */
static bool has_pre(const qsr_learner *l) { return !(l->by_host ? l->sae.sieve.on : qsr_sae_sifts(&l->sae, QSR_TRAIN)); }

static const float *rows_at(const qsr_learner *l, const float *matrix, const qsr_block_work *b)
{
    return matrix + b->row0 * l->d_in;
}

/* ---- forward of a block ------------------------------------------------------------------------------------------ */

enum { PARTS = 8 }; /* of a sum, so that no addition waits for the one before */

/* sum |f| of n values; *active grows by how many are not 0. */
static double magnitude(const float *f, size_t n, size_t *active)
{
    double part[PARTS] = {0}, sum = 0;
    int32_t count[PARTS] = {0}; /* n is below 2^32 */
    size_t e = 0;
    for (; e + PARTS <= n; e += PARTS)
        for (size_t p = 0; p < PARTS; p++) {
            part[p] += fabs((double)f[e + p]);
            count[p] += f[e + p] != 0;
        }
    for (size_t p = 0; e < n; e++, p++) {
        part[p] += fabs((double)f[e]);
        count[p] += f[e] != 0;
    }
    for (size_t p = 0; p < PARTS; p++) sum += part[p], *active += (size_t)count[p];
    return sum;
}

/* Firing, L0 and L1 of a decided code, row by row while its entries are in the cache. Several threads may set the same mark. */
static void observe(qsr_learner *l, size_t block, const qsr_code *code)
{
    size_t active = 0;
    double sum = 0;
    for (size_t r = 0; r < code->rows; r++) {
        sum += magnitude(code->value + code->row_begin[r], code->row_begin[r + 1] - code->row_begin[r], &active);
        for (size_t e = code->row_begin[r]; e < code->row_begin[r + 1]; e++)
            if (code->value[e] != 0) __atomic_store_n(&l->fired[code->latent[e]], 1, __ATOMIC_RELAXED);
    }
    l->l0_share[block] = (double)active;
    l->l1_share[block] = sum;
}

static void decode(qsr_learner *l, size_t block, qsr_block_work *b)
{
    observe(l, block, b->code);
    qsr_sae_decode(&l->sae, b->code, l->xhat + b->row0 * l->d_in, &b->walked);
    qsr_stopwatch_lap(&b->watch, QSR_PHASE_DECODE);
}

static qsr_status encode(batch_run *run, size_t block, qsr_block_work *b, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_block_begin(b, &l->lanes[qsr_pool_worker()], block * l->block_rows, rows_of(l, block), l->d_in);
    qsr_sae_centre(&l->sae, rows_at(l, l->x, b), b->rows, b->xc);
    b->lane->encoder.candidates = l->by_host;
    b->lane->encoder.floor = run->pruning ? run->pruning->floor : 0;
    qsr_status status = qsr_sae_encode(&l->sae, QSR_TRAIN, b->xc, b->rows, b->row0, l->batch, &b->lane->encoder, &b->lane->code, e);
    qsr_stopwatch_lap(&b->watch, QSR_PHASE_ENCODE);
    if (!status) status = qsr_block_take_code(b, l->block_rows, e);
    for (size_t i = 0; !status && i < l->n_losses; i++)
        if (l->losses[i].outlook.active) status = qsr_outlook_keep(&l->losses[i].outlook, block, b->lane->encoder.pre, b->rows, e);
    qsr_stopwatch_lap(&b->watch, QSR_PHASE_SELECT);
    b->watch.seconds[QSR_PHASE_ENCODE] -= b->lane->encoder.selecting;
    b->watch.seconds[QSR_PHASE_SELECT] += b->lane->encoder.selecting;
    return status;
}

/* ---- losses and backward of a block ------------------------------------------------------------------------------ */

static bool runs_now(const qsr_learner_loss *loss, bool late)
{
    bool view_only = (loss->traits & QSR_LOSS_AFTER_BATCH) && (loss->traits & QSR_LOSS_VIEW_ONLY);
    return loss->active && view_only == late;
}

static qsr_status judge_with(qsr_learner *l, qsr_learner_loss *loss, size_t block, qsr_block_work *b, bool late, bool fresh,
                             qsr_error *e)
{
    qsr_view_work view_work = {.sae = &l->sae, .block = b, .pre_is_fresh = fresh && has_pre(l),
                               .outlook = &loss->outlook, .number = block};
    qsr_view view = qsr_view_make(&view_work);
    qsr_loss_rows in = {.struct_size = sizeof in, .rows = b->rows, .d_in = l->d_in, .d_sae = l->d_sae, .row0 = b->row0,
                        .batch_rows = l->batch, .x = rows_at(l, l->x, b), .xhat = rows_at(l, l->xhat, b),
                        .code = late ? NULL : b->code, .dec_norm = loss->needs & QSR_NEED_DEC_NORM ? l->sae.dec_norm : NULL,
                        .b_dec = loss->needs & QSR_NEED_B_DEC ? l->sae.params.b_dec : NULL, .view = &view};
    qsr_loss_grads grads = {.struct_size = sizeof grads};
    if (!late)
        grads = (qsr_loss_grads){.struct_size = sizeof grads, .d_xhat = b->d_xhat, .d_value = b->d_value,
                                 .d_active = b->d_active, .d_norm = loss->needs & QSR_NEED_D_NORM ? b->d_norm : NULL};
    qsr_status status = loss->ops->rows(loss->made->instance, &in, &grads, &loss->share[block]);
    if (status < 0 && view_work.error.code) {
        qsr_made_finish(loss->made, status, NULL);
        if (e) *e = view_work.error;
        return status;
    }
    return qsr_made_finish(loss->made, status, e);
}

static qsr_status judge(batch_run *run, size_t block, qsr_block_work *b, bool fresh, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < l->n_losses; i++)
        if (runs_now(&l->losses[i], run->late)) {
            status = judge_with(l, &l->losses[i], block, b, run->late, fresh, e);
            if (status) qsr_context(e, "losses.%s", l->losses[i].name);
        }
    qsr_stopwatch_lap(&b->watch, QSR_PHASE_LOSS);
    return status;
}

/* Gradients pass unchanged through active entries: what a NULL backward means. */
static void pass_through(qsr_block_work *b)
{
    size_t n = b->code->row_begin[b->code->rows];
    for (size_t e = 0; e < n; e++) b->d_pre[e] = b->code->value[e] != 0 ? b->d_value[e] : 0;
}

static qsr_status activation_backward(qsr_learner *l, qsr_block_work *b, qsr_error *e)
{
    if (!l->sae.ops->backward) {
        pass_through(b);
        return QSR_OK;
    }
    qsr_rows in = qsr_sae_rows(&l->sae, QSR_TRAIN, b->rows, b->row0, l->batch, &b->lane->encoder);
    qsr_entry_grads grads = {.struct_size = sizeof grads, .d_value = b->d_value, .d_active = b->d_active, .d_pre = b->d_pre,
                             .d_param = {b->d_param[0], b->d_param[1]}};
    return qsr_made_finish(l->sae.activation, l->sae.ops->backward(l->sae.activation->instance, &in, b->code, &grads), e);
}

static void add_bias_share(const qsr_learner *l, qsr_block_work *b)
{
    for (size_t r = 0; r < b->rows; r++)
        for (size_t i = 0; i < l->d_in; i++) b->d_bias[i] += b->d_xhat[r * l->d_in + i];
}

/* Everything after the decode: losses, code gradient, activation, and the block's streams for the weight gradients. */
static qsr_status differentiate(batch_run *run, size_t block, qsr_block_work *b, bool fresh, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_status status = qsr_block_gradients(b, b->code, &l->wants, e);
    if (status) return status;
    memset(b->d_xhat, 0, b->rows * l->d_in * sizeof *b->d_xhat);
    qsr_use_stream main_stream = {.code = b->code, .begin = 0, .end = (uint32_t)l->d_sae, .d_out = b->d_xhat, .d_pre = b->d_pre,
                                  .d_norm = b->d_norm, .d_param = {b->d_param[0], b->d_param[1]}};
    status = qsr_block_add_stream(b, &main_stream, e);
    if (!status) status = judge(run, block, b, fresh, e);
    if (status) return status;
    qsr_sparse_dots(b->code, 0, (uint32_t)l->d_sae, l->sae.params.w_dec, l->d_in, b->d_xhat, b->d_value, &b->walked);
    add_bias_share(l, b);
    status = activation_backward(l, b, e);
    qsr_stopwatch_lap(&b->watch, QSR_PHASE_CODE_GRADIENT);
    return status;
}

/* ---- tasks: one block each --------------------------------------------------------------------------------------- */

static qsr_status first_half(batch_run *run, size_t block, qsr_block_work *b, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_status status = encode(run, block, b, e);
    if (status || l->coupled) return status;
    decode(l, block, b);
    if (l->keep) return qsr_code_copy(&b->own, &l->kept[block], e);
    return differentiate(run, block, b, true, e);
}

static qsr_status second_half(batch_run *run, size_t block, qsr_block_work *b, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_block_begin(b, &l->lanes[qsr_pool_worker()], block * l->block_rows, rows_of(l, block), l->d_in);
    qsr_sae_centre(&l->sae, rows_at(l, l->x, b), b->rows, b->xc);
    if (run->late) return judge(run, block, b, false, e);
    b->code = &l->kept[block];
    qsr_sae_input_norms(&l->sae, b->xc, b->rows, &b->lane->encoder); /* another block's are there by now */
    return differentiate(run, block, b, false, e);
}

static qsr_status block_task(void *arg, size_t begin, size_t end)
{
    batch_run *run = arg;
    qsr_error e = {0};
    for (size_t i = begin; i < end; i++) {
        size_t block = run->first + i;
        qsr_status status = run->from_kept || run->late ? second_half(run, block, &run->l->work[i], &e)
                                                        : first_half(run, block, &run->l->work[i], &e);
        if (status > 0) /* QSR_END from a plugin that has nothing to end */
            status = qsr_fail(&e, QSR_E_INTERNAL, "a plugin answered for block %zu with the status %d", block, (int)status);
        if (status) return qsr_first_error_note(&run->failed, block, &e);
    }
    return QSR_OK;
}

static qsr_status decode_task(void *arg, size_t begin, size_t end)
{
    qsr_learner *l = arg;
    for (size_t block = begin; block < end; block++) {
        observe(l, block, &l->kept[block]);
        qsr_sae_decode(&l->sae, &l->kept[block], l->xhat + block * l->block_rows * l->d_in, NULL);
    }
    return QSR_OK;
}

/* A group of blocks took as long as its slowest thread; each phase counts with the average over threads, the rest is `other`. */
static void count_blocks(qsr_learner *l, size_t n)
{
    size_t threads = qsr_min_size(qsr_pool_threads(l->pool), n);
    double average = 0, wall = l->watch.seconds[QSR_PHASE_OTHER];
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_OTHER);
    wall = l->watch.seconds[QSR_PHASE_OTHER] - wall;
    for (int p = 0; p < QSR_PHASES; p++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += l->work[i].watch.seconds[p];
        l->watch.seconds[p] += sum / (double)threads;
        average += sum / (double)threads;
    }
    l->watch.seconds[QSR_PHASE_OTHER] -= average < wall ? average : wall;
    for (size_t i = 0; i < n; i++) {
        l->walked.by_row += l->work[i].walked.by_row;
        l->walked.in_panels += l->work[i].walked.in_panels;
        l->walked.in_quartets += l->work[i].walked.in_quartets;
    }
}

/* The candidates of the blocks in flight. Here and not in their tasks, because prune is a serial call: no forward runs beside it. */
static qsr_status add_candidates(batch_run *run, size_t n, qsr_error *e)
{
    qsr_learner *l = run->l;
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < n; i++) status = qsr_pruning_add(run->pruning, run->first + i, &l->work[i].own, e);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_SELECT);
    return status;
}

/* How many blocks go together: the more there are, the fewer times a latent's gradients are fetched from memory, and the more
 * codes wait. Their size is guessed from the step before. Which does not show in the results: gradients add up in block order. */
static size_t blocks_together(const batch_run *run, bool gradients)
{
    const qsr_learner *l = run->l;
    size_t threads = qsr_min_size(qsr_pool_threads(l->pool), l->n_work);
    if (!gradients) return threads;
    double per_row = run->late ? LATE_ENTRIES : l->report.l0 > 0 ? l->report.l0 : (double)l->d_sae;
    double blocks = QSR_WAITING_ENTRIES / (per_row * (double)l->block_rows);
    if (blocks >= (double)l->n_work) return l->n_work;
    size_t groups = qsr_div_up(l->n_blocks, blocks > 1 ? (size_t)blocks : 1); /* of nearly equal size: threads wait for the last */
    return qsr_min_size(l->n_work, qsr_round_up(qsr_div_up(l->n_blocks, groups), threads));
}

/* All blocks of the batch, some in flight together; weight gradients after each group. */
static qsr_status run_blocks(batch_run *run, bool gradients, qsr_error *e)
{
    qsr_learner *l = run->l;
    size_t together = blocks_together(run, gradients);
    for (run->first = 0; run->first < l->n_blocks; run->first += together) {
        size_t n = qsr_min_size(together, l->n_blocks - run->first);
        qsr_status status = qsr_pool_run(l->pool, n, 1, block_task, run);
        count_blocks(l, n);
        if (status) {
            if (e) *e = run->failed.error;
            return status;
        }
        if (run->pruning) status = add_candidates(run, n, e);
        if (!status && gradients) status = qsr_gradient_add(&l->gradient, l->work, n, l->pool, e);
        qsr_stopwatch_lap(&l->watch, QSR_PHASE_WEIGHTS);
        if (status) return status;
    }
    return QSR_OK;
}

/* A floor for the next batch: thresholds rarely fall by four times as much as this one moved, or by a hundredth. */
static void guess_next(qsr_learner *l, float threshold)
{
    float moved = l->threshold > 0 ? fabsf(threshold / l->threshold - 1) : 1;
    l->guess = threshold * (1 - fminf(0.05f, fmaxf(0.01f, 4 * moved)));
    l->threshold = threshold;
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

static qsr_status decide_together(qsr_learner *l, qsr_pruning *pruning, qsr_error *e)
{
    qsr_status status = qsr_pruning_decide(pruning, e);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_SELECT);
    if (!status) qsr_pool_run(l->pool, l->n_blocks, 1, decode_task, l);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_DECODE);
    return status;
}

/* Dead counters move on before the losses that ask for them. */
static void count_silence(qsr_learner *l)
{
    uint64_t dead = 0, quiet = 0;
    for (size_t j = 0; j < l->d_sae; j++) {
        l->silent[j] = l->fired[j] ? 0 : l->silent[j] + l->batch;
        quiet += !l->fired[j];
        dead += l->silent[j] >= l->spec->train.dead_after;
    }
    l->report.dead = dead;
    l->report.dead_in_batch = quiet;
}

static qsr_status ask_losses(qsr_learner *l, bool *ret_late, qsr_error *e)
{
    *ret_late = false;
    for (size_t i = 0; i < l->n_losses; i++) {
        qsr_learner_loss *loss = &l->losses[i];
        if (!(loss->traits & QSR_LOSS_AFTER_BATCH)) continue;
        qsr_loss_batch in = {.struct_size = sizeof in, .rows = l->batch, .d_in = l->d_in, .d_sae = l->d_sae, .x = l->x,
                             .xhat = l->xhat, .silent = loss->needs & QSR_NEED_SILENT ? l->silent : NULL};
        qsr_status status = QSR_OK;
        if (loss->ops->batch) {
            qsr_made_serial(loss->made);
            status = qsr_made_finish(loss->made, loss->ops->batch(loss->made->instance, &in), e);
        }
        if (status < 0) return qsr_context(e, "losses.%s", loss->name);
        loss->active = status == QSR_OK;
        *ret_late |= loss->active && loss->traits & QSR_LOSS_VIEW_ONLY;
    }
    return QSR_OK;
}

static qsr_status ask_outlooks(qsr_learner *l, qsr_error *e)
{
    for (size_t i = 0; i < l->n_losses; i++) {
        qsr_learner_loss *loss = &l->losses[i];
        loss->outlook.active = false;
        if (!has_pre(l) || !(loss->traits & QSR_LOSS_AFTER_BATCH) || !loss->ops->outlook) continue;
        const uint64_t *silent = loss->needs & QSR_NEED_SILENT ? l->silent : NULL;
        qsr_status status = qsr_outlook_ask(&loss->outlook, loss->made, loss->ops, silent, e);
        if (status) return qsr_context(e, "losses.%s", loss->name);
    }
    return QSR_OK;
}

static void begin(qsr_learner *l)
{
    memset(l->fired, 0, l->d_sae);
    qsr_gradient_clear(&l->gradient);
    for (size_t i = 0; i < l->n_losses; i++) {
        memset(l->losses[i].share, 0, l->n_blocks * sizeof(double));
        l->losses[i].active = !(l->losses[i].traits & QSR_LOSS_AFTER_BATCH);
    }
}

static void sum_up(qsr_learner *l)
{
    double active = 0, magnitude = 0;
    l->report.loss = 0;
    for (size_t b = 0; b < l->n_blocks; b++) active += l->l0_share[b], magnitude += l->l1_share[b];
    l->report.l0 = active / (double)l->batch;
    l->report.l1 = magnitude / (double)l->batch;
    for (size_t i = 0; i < l->n_losses; i++) {
        qsr_learner_loss *loss = &l->losses[i];
        loss->value = 0;
        for (size_t b = 0; b < l->n_blocks; b++) loss->value += loss->share[b];
        l->report.loss += loss->value;
    }
}

static void drop_kept(qsr_learner *l)
{
    for (size_t b = 0; l->kept && b < l->n_blocks; b++) qsr_code_free(&l->kept[b]);
}

/* Forward where rows decide together. QSR_END: the guess was too high. */
static qsr_status run_coupled(qsr_learner *l, float guess, qsr_error *e)
{
    batch_run run = {.l = l};
    qsr_pruning pruning;
    qsr_first_error_init(&run.failed);
    qsr_pruning_begin(&pruning, l, guess);
    run.pruning = &pruning;
    qsr_status status = run_blocks(&run, false, e);
    if (!status) status = decide_together(l, &pruning, e);
    guess_next(l, status ? 0 : pruning.threshold);
    qsr_pruning_end(&pruning);
    return status;
}

static qsr_status run_forward(qsr_learner *l, qsr_error *e)
{
    if (l->coupled) {
        float guess = l->by_host && !(l->guess > 0) ? qsr_together_sample(l) : l->guess;
        qsr_status status = run_coupled(l, guess, e);
        if (status != QSR_END) return status;
        drop_kept(l);
        return run_coupled(l, 0, e);
    }
    batch_run run = {.l = l};
    qsr_first_error_init(&run.failed);
    return run_blocks(&run, !l->keep, e);
}

qsr_status qsr_batch_run(qsr_learner *l, qsr_error *e)
{
    begin(l);
    bool late = false;
    qsr_status status = ask_outlooks(l, e);
    if (!status) status = run_forward(l, e);
    if (!status) {
        count_silence(l);
        status = ask_losses(l, &late, e);
        qsr_stopwatch_lap(&l->watch, QSR_PHASE_LOSS);
    }
    if (!status && l->keep) {
        batch_run run = {.l = l, .from_kept = true};
        qsr_first_error_init(&run.failed);
        status = run_blocks(&run, true, e);
    }
    if (!status && late) {
        batch_run run = {.l = l, .late = true};
        qsr_first_error_init(&run.failed);
        status = run_blocks(&run, true, e);
    }
    drop_kept(l);
    if (status) return status;
    sum_up(l);
    return qsr_gradient_finish(&l->gradient, &l->sae.params, l->pool, e);
}

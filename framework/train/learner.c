#include "train/learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "train/batch.h"

/* 256 rows keep OpenBLAS within 6 % of its best and fit selection into the cache; smaller batches are cut finer, so that two or
 * four threads have something to do. */
size_t qsr_block_rows(size_t batch)
{
    if (batch >= 1024) return 256;
    return qsr_max_size(32, qsr_round_up(qsr_div_up(batch, 4), 16));
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static qsr_status create_loss(qsr_learner *l, const qsr_block *block, qsr_learner_loss *ret, qsr_error *e)
{
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = l->d_in, .d_sae = l->d_sae, .batch_rows = l->batch,
                       .has_surrogate = (l->spec->activation.plugin->caps & QSR_CAP_SURROGATE) != 0,
                       .dead_after = l->spec->train.dead_after};
    *ret = (qsr_learner_loss){.name = block->instance, .spec = block, .ops = block->plugin->ops,
                              .share = qsr_xcalloc(l->n_blocks, sizeof(double)),
                              .outlook = {.d_in = l->d_in, .d_sae = l->d_sae, .batch = l->batch, .block_rows = l->block_rows}};
    qsr_status status = qsr_made_create(block->plugin, &shape, block->values, l->spec->seed, l->pool, &ret->made, e);
    if (status) return status;
    ret->traits = ret->ops->traits ? ret->ops->traits(ret->made->instance) : 0;
    ret->needs = ret->ops->needs ? ret->ops->needs(ret->made->instance) : block->plugin->needs;
    return QSR_OK;
}

static qsr_status create_losses(qsr_learner *l, qsr_error *e)
{
    l->losses = qsr_xcalloc(l->spec->n_losses, sizeof *l->losses);
    for (size_t i = 0; i < l->spec->n_losses; i++) {
        l->n_losses = i + 1;
        qsr_status status = create_loss(l, &l->spec->losses[i], &l->losses[i], e);
        if (status) return status;
    }
    return QSR_OK;
}

static void free_losses(qsr_learner *l)
{
    for (size_t i = 0; i < l->n_losses; i++) {
        qsr_made_free(l->losses[i].made);
        free(l->losses[i].share);
    }
    free(l->losses);
}

static qsr_status create_params(qsr_learner *l, qsr_error *e)
{
    const qsr_params_ops *ops = qsr_made_extension(l->sae.activation, QSR_EXT_PARAMS);
    for (uint32_t i = 0; ops && i < ops->count && i < 2; i++) {
        l->param[i] = (qsr_param){.struct_size = sizeof l->param[i]};
        qsr_status status = qsr_made_finish(l->sae.activation, ops->get(l->sae.activation->instance, i, &l->param[i]), e);
        if (status) return status;
        l->param_before[i] = qsr_block_raw(l->d_sae, sizeof(float));
        if (!l->param_before[i]) return qsr_fail_nomem(e, "activation parameters", l->d_sae * sizeof(float));
        l->n_params++;
    }
    return QSR_OK;
}

/* What the plugins' promises mean for the plan of a batch. */
static void plan(qsr_learner *l)
{
    uint64_t caps = l->spec->activation.plugin->caps;
    l->coupled = caps & QSR_CAP_ROWS_COUPLED;
    l->by_host = l->coupled && l->sae.rule[QSR_TRAIN].rule == QSR_SELECT_BATCH;
    l->keep = l->coupled;
    l->wants = (qsr_block_wants){.active = caps & QSR_CAP_SURROGATE, .params = l->n_params};
    for (size_t i = 0; i < l->n_losses; i++) {
        l->keep |= (l->losses[i].traits & QSR_LOSS_AFTER_BATCH) && !(l->losses[i].traits & QSR_LOSS_VIEW_ONLY);
        l->wants.norm |= (l->losses[i].needs & QSR_NEED_D_NORM) != 0;
    }
}

static bool losses_want_norms(const qsr_spec *spec)
{
    for (size_t i = 0; i < spec->n_losses; i++)
        if (spec->losses[i].plugin->needs & (QSR_NEED_DEC_NORM | QSR_NEED_D_NORM)) return true;
    return false;
}

static qsr_status create_work(qsr_learner *l, qsr_error *e)
{
    size_t threads = qsr_min_size(qsr_pool_threads(l->pool), l->n_blocks), block = l->block_rows * l->d_in;
    uint32_t planes = l->by_host ? l->sae.sieve.on : l->sae.ops->planes; /* a lower bound beside the upper one */
    qsr_status status = QSR_OK;
    l->lanes = qsr_xcalloc(qsr_pool_threads(l->pool), sizeof *l->lanes);
    for (; !status && l->n_lanes < qsr_pool_threads(l->pool); l->n_lanes++)
        status = qsr_lane_create(&l->sae, l->block_rows, planes, &l->lanes[l->n_lanes], e);
    if (status) return status;
    size_t most = qsr_min_size(qsr_max_size(threads, QSR_BLOCKS_IN_FLIGHT), l->n_blocks);
    l->work = qsr_xcalloc(most, sizeof *l->work);
    l->xc = qsr_block_raw(most, block * sizeof(float));
    l->d_xhat = qsr_block_raw(most, block * sizeof(float));
    if (!l->xc || !l->d_xhat) return qsr_fail_nomem(e, "blocks of rows", 2 * most * block * sizeof(float));
    for (; !status && l->n_work < most; l->n_work++)
        status = qsr_block_create(l->d_in, l->xc + l->n_work * block, l->d_xhat + l->n_work * block, &l->work[l->n_work], e);
    return status;
}

static qsr_status create_buffers(qsr_learner *l, qsr_error *e)
{
    size_t rows = l->batch, d = l->d_in;
    l->x = qsr_block_raw(rows, d * sizeof(float));
    l->xhat = qsr_block_raw(rows, d * sizeof(float));
    l->fired = qsr_block_alloc(l->d_sae, 1);
    l->silent = qsr_block_alloc(l->d_sae, sizeof *l->silent);
    l->l0_share = qsr_xcalloc(l->n_blocks, sizeof(double));
    l->l1_share = qsr_xcalloc(l->n_blocks, sizeof(double));
    if (l->keep) l->kept = qsr_xcalloc(l->n_blocks, sizeof *l->kept);
    if (!l->x || !l->xhat || !l->fired || !l->silent) return qsr_fail_nomem(e, "a batch of rows (train.batch)", 2 * rows * d * sizeof(float));
    return create_work(l, e);
}

qsr_status qsr_learner_create(const qsr_spec *spec, size_t d_in, qsr_pool *pool, qsr_learner **ret, const qsr_block **ret_blame,
                              qsr_error *e)
{
    const qsr_block *blame = &spec->activation;
    qsr_learner *l = qsr_xcalloc(1, sizeof *l);
    *l = (qsr_learner){.spec = spec, .pool = pool, .d_in = d_in, .d_sae = (size_t)spec->sae.d_sae,
                       .batch = (size_t)spec->train.batch, .steps = qsr_training_steps(&spec->train)};
    l->block_rows = qsr_block_rows(l->batch);
    l->n_blocks = qsr_div_up(l->batch, l->block_rows);
    qsr_status status = qsr_sae_create(spec, d_in, l->batch, losses_want_norms(spec), pool, &l->sae, e);
    if (!status) {
        status = create_losses(l, e);
        blame = status ? &spec->losses[l->n_losses - 1] : NULL;
    }
    if (!status) status = create_params(l, e);
    if (!status) {
        plan(l);
        status = create_buffers(l, e);
    }
    if (!status) status = qsr_gradient_create(&l->sae.params, l->n_params, l->wants.norm, &l->gradient, e);
    if (!status) status = qsr_adam_create(&l->sae.params, l->n_params, &l->adam, e);
    if (status) {
        if (ret_blame) *ret_blame = blame;
        qsr_learner_free(l);
        return status;
    }
    l->metrics = qsr_made_extension(l->sae.activation, QSR_EXT_METRICS);
    *ret = l;
    return QSR_OK;
}

qsr_status qsr_learner_check(const qsr_spec *spec, size_t d_in, const qsr_block **ret_blame, qsr_error *e)
{
    qsr_learner l = {.spec = spec, .d_in = d_in, .d_sae = (size_t)spec->sae.d_sae, .batch = (size_t)spec->train.batch, .n_blocks = 1};
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = d_in, .d_sae = l.d_sae, .batch_rows = l.batch,
                       .dead_after = spec->train.dead_after};
    qsr_made *activation = NULL;
    *ret_blame = NULL;
    qsr_status status = qsr_sae_check_screen(spec->sae.screen, e);
    if (status) return status;
    *ret_blame = &spec->activation;
    status = qsr_made_create(spec->activation.plugin, &shape, spec->activation.values, spec->seed, NULL, &activation, e);
    qsr_made_free(activation);
    if (status) return status;
    status = create_losses(&l, e);
    *ret_blame = status ? &spec->losses[l.n_losses - 1] : NULL;
    free_losses(&l);
    return status;
}

static void free_buffers(qsr_learner *l)
{
    for (size_t i = 0; i < l->n_work; i++) qsr_block_destroy(&l->work[i]);
    for (size_t b = 0; l->kept && b < l->n_blocks; b++) qsr_code_free(&l->kept[b]);
    for (size_t i = 0; i < l->n_lanes; i++) qsr_lane_destroy(&l->lanes[i]);
    free(l->work);
    free(l->lanes);
    free(l->kept);
    l->work = NULL;
    l->lanes = NULL;
    l->kept = NULL;
    l->n_work = l->n_lanes = 0;
    float **rows[] = {&l->x, &l->xhat, &l->xc, &l->d_xhat};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qsr_block_free(*rows[i]);
        *rows[i] = NULL;
    }
    for (size_t i = 0; i < l->n_losses; i++) qsr_outlook_free(&l->losses[i].outlook);
    qsr_gradient_free(&l->gradient);
    qsr_adam_free(&l->adam);
}

qsr_sift_count qsr_learner_sifted(const qsr_learner *l)
{
    qsr_sift_count sum = {0};
    for (size_t i = 0; i < l->n_lanes; i++) qsr_sift_count_add(&sum, &l->lanes[i].encoder.sifted);
    return sum;
}

void qsr_learner_retire(qsr_learner *l) { free_buffers(l); }

void qsr_learner_free(qsr_learner *l)
{
    if (!l) return;
    free_buffers(l);
    free_losses(l);
    free(l->l0_share);
    free(l->l1_share);
    void *blocks[] = {l->fired, l->silent, l->param_before[0], l->param_before[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    qsr_sae_free(&l->sae);
    free(l);
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

struct normalising {
    qsr_learner *l;
    const float *raw;
};

static qsr_status normalise_task(void *arg, size_t begin, size_t end)
{
    const struct normalising *in = arg;
    size_t at = begin * in->l->d_in;
    qsr_normalise_rows(&in->l->sae.normalise, in->raw + at, end - begin, in->l->d_in, in->l->x + at, NULL);
    return QSR_OK;
}

static qsr_status tell_activation(qsr_learner *l, qsr_status (*call)(qsr_instance *, const qsr_batch *), qsr_error *e)
{
    if (!call) return QSR_OK;
    bool norms = l->spec->activation.plugin->needs & QSR_NEED_DEC_NORM;
    qsr_batch batch = {.struct_size = sizeof batch, .mode = QSR_TRAIN, .rows = l->batch, .d_in = l->d_in, .d_sae = l->d_sae,
                       .step = l->step, .dec_norm = norms ? l->sae.dec_norm : NULL};
    qsr_made_serial(l->sae.activation);
    return qsr_made_finish(l->sae.activation, call(l->sae.activation->instance, &batch), e);
}

static void follow_schedules(qsr_learner *l)
{
    qsr_spec_schedule(&l->spec->activation, l->step, l->steps);
    for (size_t i = 0; i < l->n_losses; i++) qsr_spec_schedule(l->losses[i].spec, l->step, l->steps);
    qsr_sae_follow(&l->sae);
}

qsr_status qsr_learner_gradients(qsr_learner *l, const float *raw, qsr_error *e)
{
    struct normalising normalising = {l, raw};
    qsr_stopwatch_start(&l->watch);
    follow_schedules(l);
    qsr_pool_run(l->pool, l->batch, 64, normalise_task, &normalising);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_NORMALISE);
    qsr_status status = tell_activation(l, l->sae.ops->begin_batch, e);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_OTHER);
    if (!status) status = qsr_batch_run(l, e);
    if (!status) status = tell_activation(l, l->sae.ops->end_batch, e);
    if (status) return status;
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_OTHER);
    l->report.grad_norm = qsr_gradient_norm(&l->gradient, &l->sae.params, l->pool);
    return QSR_OK;
}

static double mean_change(const float *before, const float *after, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)after[i] - before[i]);
    return sum / (double)n;
}

static void update(qsr_learner *l)
{
    const qsr_train_options *t = &l->spec->train;
    for (unsigned i = 0; i < l->n_params; i++) memcpy(l->param_before[i], l->param[i].value, l->d_sae * sizeof(float));
    qsr_update u = {.decoder_norm = qsr_decoder_norm_parse(t->decoder_norm), .lr = l->report.lr, .beta1 = t->beta1,
                    .beta2 = t->beta2, .step = l->step, .clip = fmin(1, t->clip_norm / (l->report.grad_norm + 1e-6))};
    qsr_adam_apply(&l->adam, &u, &l->gradient, &l->sae.params, l->param, l->pool);
    qsr_sae_refresh(&l->sae);
    for (unsigned i = 0; i < l->n_params; i++)
        l->report.param_update[i] = mean_change(l->param_before[i], l->param[i].value, l->d_sae);
    qsr_stopwatch_lap(&l->watch, QSR_PHASE_OPTIMISER);
}

qsr_status qsr_learner_step(qsr_learner *l, const float *raw, qsr_error *e)
{
    l->report.step = l->step;
    l->report.tokens = (l->step + 1) * l->batch;
    l->report.lr = qsr_learning_rate(&l->spec->train, l->step, l->steps);
    qsr_status status = qsr_learner_gradients(l, raw, e);
    if (status) return status;
    if (!isfinite(l->report.loss) || !isfinite(l->report.grad_norm))
        return qsr_fail(e, QSR_E_NUMERIC, "step %llu: the loss is %g and the gradient's norm %g: lower train.lr or look at the data",
                        (unsigned long long)l->step, l->report.loss, l->report.grad_norm);
    update(l);
    l->step++;
    return QSR_OK;
}

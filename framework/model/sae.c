#include "model/sae.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "math/rows.h"
#include "math/select.h"
#include "model/choose.h"

static bool resolve(const char *word, bool otherwise)
{
    return strcmp(word, "auto") == 0 ? otherwise : strcmp(word, "true") == 0;
}

/* The rule that the activation is in this mode, where the host can be that rule: without planes, unless nobody reads them or the rule
 * says what they hold. */
static qsr_selection rule_of(const qsr_sae *sae, uint32_t mode)
{
    const qsr_selector_ops *ops = qsr_made_extension(sae->activation, QSR_EXT_SELECTOR);
    qsr_selection selection = {.struct_size = sizeof selection};
    if (!ops) return (qsr_selection){0};
    if (qsr_made_finish(sae->activation, ops->get(sae->activation->instance, mode, &selection), NULL) != QSR_OK) return (qsr_selection){0};
    bool says_planes = selection.edge && sae->ops->planes == 1;
    if (mode == QSR_TRAIN && sae->ops->planes && !says_planes) return (qsr_selection){0};
    if (selection.rule == QSR_SELECT_BATCH && mode == QSR_EVAL)
        return (qsr_selection){.rule = QSR_SELECT_ABOVE, .k = selection.k, .scalar = selection.scalar};
    return selection;
}

static void find_rules(qsr_sae *sae)
{
    sae->rule[QSR_TRAIN] = rule_of(sae, QSR_TRAIN);
    sae->rule[QSR_EVAL] = rule_of(sae, QSR_EVAL);
}

/* ---- screening --------------------------------------------------------------------------------------------------- */

enum { FEW = 64, LEAST_WIDTH = 64, LEAST_LATENTS = 1024, WIDEST_SORTED = 4096, WIDEST = 1024 }; /* where bounds cost less than what they save */

static bool keeps_few(const qsr_selection *rule)
{
    return rule->rule == QSR_SELECT_ROW || (rule->rule == QSR_SELECT_ABOVE && (rule->threshold || rule->k));
}

static bool worth_it(const qsr_sae *sae, const qsr_selection *rule)
{
    const qsr_params *p = &sae->params;
    return keeps_few(rule) && rule->k && rule->k <= p->d_sae / FEW && p->d_sae >= LEAST_LATENTS && p->d_in >= LEAST_WIDTH &&
           p->d_in <= QSR_SCREEN_MOST_DEPTH;
}

/* Bounds of integers widen with the root of d_in: what they leave open costs little where bfloat16 sorts it out, more where each has to
 * be computed. */
static bool integers_suit(size_t d_in)
{
    size_t widest = qsr_screen_tiles_get(QSR_SCREEN_BF16) ? WIDEST_SORTED : WIDEST;
    return qsr_screen_tiles_get(QSR_SCREEN_INT8) && d_in <= widest;
}

qsr_status qsr_sae_check_screen(const char *wanted, qsr_error *e)
{
    const bool int8 = strcmp(wanted, "int8") == 0, named = int8 || strcmp(wanted, "bf16") == 0;
    if (!named || qsr_screen_tiles_get(int8 ? QSR_SCREEN_INT8 : QSR_SCREEN_BF16)) return QSR_OK;
    return qsr_fail_option(e, QSR_E_OPTION, "sae.screen",
                           "%s needs a processor and a compiler with %s, and QUASAR_ISA not to say otherwise: use auto", wanted,
                           int8 ? "AVX512-VNNI" : "AVX512-BF16");
}

/* Whether the kind that is asked for can be had. */
static qsr_status check_screen(const char *wanted, const qsr_sae *sae, qsr_error *e)
{
    qsr_status status = qsr_sae_check_screen(wanted, e);
    if (status) return status;
    if (!keeps_few(&sae->rule[QSR_EVAL]))
        return qsr_fail_option(e, QSR_E_OPTION, "sae.screen", "%s is for activations that keep few latents, which %s does not say: use auto",
                               wanted, sae->activation->plugin->name);
    if (sae->params.d_in > QSR_SCREEN_MOST_DEPTH)
        return qsr_fail_option(e, QSR_E_OPTION, "sae.screen", "%s has bounds for d_in of %d at most, and this is %zu: use auto", wanted,
                               QSR_SCREEN_MOST_DEPTH, sae->params.d_in);
    return QSR_OK;
}

/* sae.screen on this machine. The rules are those of evaluation, which every such activation has. */
static qsr_status resolve_screen(const char *wanted, qsr_sae *sae, qsr_error *e)
{
    size_t d_in = sae->params.d_in, d_sae = sae->params.d_sae;
    qsr_screen_kind kind = strcmp(wanted, "int8") == 0 ? QSR_SCREEN_INT8 : QSR_SCREEN_BF16;
    if (strcmp(wanted, "off") == 0) return QSR_OK;
    if (strcmp(wanted, "auto") == 0) {
        if (integers_suit(d_in)) kind = QSR_SCREEN_INT8;
        if (!qsr_screen_tiles_get(kind) || !worth_it(sae, &sae->rule[QSR_EVAL])) return QSR_OK;
    }
    qsr_status status = check_screen(wanted, sae, e);
    return status ? status : qsr_sieve_create(kind == QSR_SCREEN_INT8, d_sae, d_in, &sae->sieve, e);
}

const char *qsr_sae_screen_name(const qsr_sae *sae) { return !sae->sieve.on ? "off" : sae->sieve.integers ? "int8" : "bf16"; }

bool qsr_sae_sifts(const qsr_sae *sae, uint32_t mode) { return sae->sieve.on && keeps_few(&sae->rule[mode]); }

/* Into *sae, whose pool and normalisation are set, with this word of sae.screen; on failure it is freed. */
static qsr_status build(qsr_sae *sae, const qsr_plugin *plugin, const qsr_shape *shape, const void *options, uint64_t seed, const char *screen,
                        qsr_error *e)
{
    sae->ops = plugin->ops;
    qsr_status status = qsr_made_create(plugin, shape, options, seed, sae->pool, &sae->activation, e);
    if (!status) status = qsr_params_alloc(shape->d_in, shape->d_sae, &sae->params, e);
    if (!status) find_rules(sae);
    if (!status) status = resolve_screen(screen, sae, e);
    if (!status)
        status = qsr_packed_create(qsr_tiles_get(), sae->params.w_enc, shape->d_sae, shape->d_in, !sae->sieve.on, &sae->packed, e);
    if (status) qsr_sae_free(sae);
    return status;
}

qsr_status qsr_sae_create(const qsr_spec *spec, size_t d_in, size_t batch_rows, bool want_norms, qsr_pool *pool, qsr_sae *ret,
                          qsr_error *e)
{
    const qsr_plugin *plugin = spec->activation.plugin;
    size_t d_sae = (size_t)spec->sae.d_sae;
    *ret = (qsr_sae){.pool = pool, .normalise = {qsr_normalise_parse(spec->sae.normalize), 1}};
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = d_in, .d_sae = d_sae, .batch_rows = batch_rows,
                       .dead_after = spec->train.dead_after};
    qsr_status status = build(ret, plugin, &shape, spec->activation.values, spec->seed, spec->sae.screen, e);
    if (status) return status;
    ret->params.pre_bias = resolve(spec->sae.pre_bias, plugin->caps & QSR_CAP_PRE_BIAS);
    ret->params.encoder_bias = resolve(spec->sae.encoder_bias, plugin->caps & QSR_CAP_ENCODER_BIAS);
    if (!want_norms && !(plugin->needs & QSR_NEED_DEC_NORM)) return QSR_OK;
    ret->dec_norm = qsr_block_alloc(d_sae, sizeof(float));
    if (ret->dec_norm) return QSR_OK;
    qsr_sae_free(ret);
    return qsr_fail_nomem(e, "decoder norms", d_sae * sizeof(float));
}

qsr_status qsr_sae_assemble(const qsr_plugin *plugin, const void *options, qsr_normalise normalise, size_t d_in, size_t d_sae,
                            qsr_pool *pool, qsr_sae *ret, qsr_error *e)
{
    *ret = (qsr_sae){.pool = pool, .normalise = normalise};
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = d_in, .d_sae = d_sae};
    return build(ret, plugin, &shape, options, 0, "auto", e);
}

void qsr_sae_free(qsr_sae *sae)
{
    qsr_made_free(sae->activation);
    qsr_params_free(&sae->params);
    qsr_packed_free(&sae->packed);
    qsr_sieve_free(&sae->sieve);
    qsr_block_free(sae->dec_norm);
    *sae = (qsr_sae){0};
}

void qsr_sae_follow(qsr_sae *sae) { find_rules(sae); }

void qsr_sae_refresh(qsr_sae *sae)
{
    find_rules(sae);
    qsr_packed_fill(&sae->packed, sae->pool);
    if (sae->sieve.on) qsr_sieve_fill(&sae->sieve, sae->params.w_enc, sae->pool);
    if (sae->dec_norm) qsr_params_decoder_norms(&sae->params, sae->dec_norm, sae->pool);
}

static void scale_all(float *to, const float *from, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)(from[i] * factor);
}

static qsr_status save_folded(const qsr_sae *sae, const char *path, qsr_error *e)
{
    const qsr_params *p = &sae->params;
    qsr_params folded;
    double s = sae->normalise.scale;
    size_t n = p->d_in * p->d_sae;
    qsr_status status = qsr_params_alloc(p->d_in, p->d_sae, &folded, e);
    if (status) return status;
    scale_all(folded.w_enc, p->w_enc, n, s);
    scale_all(folded.w_dec, p->w_dec, n, 1 / s);
    scale_all(folded.b_dec, p->b_dec, p->d_in, 1 / s);
    memcpy(folded.b_enc, p->b_enc, p->d_sae * sizeof(float));
    status = qsr_params_save(&folded, path, sae->activation, e);
    qsr_params_free(&folded);
    return status;
}

qsr_status qsr_sae_save(const qsr_sae *sae, const char *path, qsr_error *e)
{
    if (sae->normalise.mode == QSR_NORMALISE_DATASET) return save_folded(sae, path, e);
    return qsr_params_save(&sae->params, path, sae->activation, e);
}

qsr_status qsr_encoder_create(const qsr_sae *sae, size_t rows, qsr_encoder *ret, qsr_error *e)
{
    bool norms = sae->activation->plugin->needs & QSR_NEED_INPUT_NORM;
    *ret = (qsr_encoder){.rows = rows};
    ret->pre = qsr_block_raw(rows, sae->params.d_sae * sizeof(float));
    ret->scratch = qsr_block_raw(qsr_product_scratch(&sae->packed), sizeof(float));
    if (norms) ret->input_norm = qsr_block_raw(rows, sizeof(double));
    bool ready = ret->pre && ret->scratch && (!norms || ret->input_norm);
    qsr_status status = ready && sae->sieve.on ? qsr_sift_room_create(&sae->sieve, rows, sae->params.d_in, &ret->sift, e) : QSR_OK;
    if (ready && !status) return QSR_OK;
    qsr_encoder_free(ret);
    if (status) return status;
    return qsr_fail_nomem(e, "a block of pre-activations", rows * sae->params.d_sae * sizeof(float));
}

void qsr_encoder_free(qsr_encoder *encoder)
{
    void *blocks[] = {encoder->pre, encoder->scratch, encoder->input_norm};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    qsr_sift_room_free(&encoder->sift);
    *encoder = (qsr_encoder){0};
}

void qsr_sae_centre(const qsr_sae *sae, const float *x, size_t rows, float *xc)
{
    size_t d = sae->params.d_in;
    const float *b = sae->params.b_dec;
    if (!sae->params.pre_bias) {
        memcpy(xc, x, rows * d * sizeof *xc);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < d; i++) xc[r * d + i] = x[r * d + i] - b[i];
}

qsr_rows qsr_sae_rows(const qsr_sae *sae, uint32_t mode, size_t rows, size_t row0, size_t batch_rows, const qsr_encoder *encoder)
{
    bool norms = sae->activation->plugin->needs & QSR_NEED_DEC_NORM;
    return (qsr_rows){.struct_size = sizeof(qsr_rows), .mode = mode, .rows = rows, .d_sae = sae->params.d_sae,
                      .d_in = sae->params.d_in, .row0 = row0, .batch_rows = batch_rows, .ld_pre = sae->params.d_sae,
                      .input_norm = encoder->input_norm, .dec_norm = norms ? sae->dec_norm : NULL};
}

void qsr_sae_input_norms(const qsr_sae *sae, const float *xc, size_t rows, qsr_encoder *encoder)
{
    size_t d = sae->params.d_in;
    for (size_t r = 0; encoder->input_norm && r < rows; r++) encoder->input_norm[r] = qsr_row_norm(xc + r * d, d);
}

static void list_candidates(const float *pre, size_t rows, size_t d_sae, float floor, qsr_code *code)
{
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        n += qsr_select_reaching(pre + r * d_sae, d_sae, floor, d_sae + QSR_SELECT_LANES, code->latent + n, code->value + n);
        code->row_begin[r + 1] = n;
    }
}

/* From pre-activations to a code: by the host where the activation is a rule of its own, else by the activation. */
static qsr_status select_entries(const qsr_sae *sae, uint32_t mode, const float *xc, size_t rows, size_t row0, size_t batch_rows,
                                 const qsr_encoder *encoder, qsr_code *code, qsr_error *e)
{
    qsr_rows in = qsr_sae_rows(sae, mode, rows, row0, batch_rows, encoder);
    in.pre = encoder->pre;
    code->rows = rows;
    code->row_begin[0] = 0;
    if (encoder->candidates) {
        list_candidates(encoder->pre, rows, sae->params.d_sae, encoder->floor, code);
        return QSR_OK;
    }
    if (sae->rule[mode].rule == QSR_SELECT_ROW) {
        qsr_choose_rows(&sae->params, sae->rule[mode].k, xc, rows, encoder->pre, code);
        return QSR_OK;
    }
    return qsr_made_finish(sae->activation, sae->ops->forward(sae->activation->instance, &in, code), e);
}

/* From bounds to a code. */
static void encode_sifting(const qsr_sae *sae, uint32_t mode, const float *xc, size_t rows, qsr_encoder *encoder, qsr_code *code)
{
    const qsr_selection *rule = &sae->rule[mode];
    qsr_sifting s = {.p = &sae->params, .product = &sae->packed, .sieve = &sae->sieve, .room = &encoder->sift, .rows = rows, .xc = xc,
                     .upper = encoder->pre, .scratch = encoder->scratch, .count = encoder->sifted};
    double start = qsr_clock();
    if (encoder->candidates) qsr_sift_candidates(&s, encoder->floor, code);
    else if (rule->rule == QSR_SELECT_ROW) qsr_sift_largest(&s, rule->k, code);
    else if (rule->edge) qsr_sift_window(&s, rule->threshold, rule->edge, code);
    else qsr_sift_above(&s, rule->threshold, rule->scalar, code);
    encoder->selecting = qsr_clock() - start - s.screening;
    encoder->sifted = s.count;
}

qsr_status qsr_sae_encode(const qsr_sae *sae, uint32_t mode, const float *xc, size_t rows, size_t row0, size_t batch_rows,
                          qsr_encoder *encoder, qsr_code *code, qsr_error *e)
{
    const qsr_params *p = &sae->params;
    if (encoder->candidates ? sae->sieve.on : qsr_sae_sifts(sae, mode)) {
        qsr_sae_input_norms(sae, xc, rows, encoder);
        encode_sifting(sae, mode, xc, rows, encoder, code);
        return QSR_OK;
    }
    qsr_product_all(&sae->packed, xc, rows, p->encoder_bias ? p->b_enc : NULL, encoder->scratch, encoder->pre, p->d_sae);
    qsr_sae_input_norms(sae, xc, rows, encoder);
    double start = qsr_clock();
    qsr_status status = select_entries(sae, mode, xc, rows, row0, batch_rows, encoder, code, e);
    encoder->selecting = qsr_clock() - start;
    return status;
}

void qsr_sae_decode(const qsr_sae *sae, const qsr_code *code, float *xhat, qsr_sparse_count *count)
{
    const qsr_params *p = &sae->params;
    qsr_sparse_decode(code, 0, (uint32_t)p->d_sae, p->w_dec, p->d_in, p->b_dec, xhat, count);
}

#include "train/together.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/rows.h"
#include "math/select.h"

enum { MOST_DOUBTFUL = 1 << 16 }; /* near ties that are settled; among more of them float32 decides */

static size_t entries_of(const qsr_code *code) { return code->row_begin[code->rows]; }

/* ---- candidates -------------------------------------------------------------------------------------------------- */

/* The limit-th largest lower bound of all stored, or 0 when fewer are positive. */
static qsr_status cut_of(const qsr_pruning *p, float *ret, qsr_error *e)
{
    const qsr_learner *l = p->learner;
    float *lower = qsr_block_raw(p->stored, sizeof *lower);
    if (!lower && p->stored) return qsr_fail_nomem(e, "candidates of a batch", p->stored * sizeof *lower);
    size_t n = 0;
    for (size_t b = 0; b < l->n_blocks; b++) {
        if (!p->filled[b]) continue;
        const qsr_code *code = &l->kept[b];
        memcpy(lower + n, code->planes ? code->plane[0] : code->value, entries_of(code) * sizeof *lower);
        n += entries_of(code);
    }
    *ret = qsr_select_cut(lower, n, p->limit);
    qsr_block_free(lower);
    return QSR_OK;
}

/* Keeps the entries of a code that reach the floor, in place. */
static void drop_below(qsr_code *code, float floor)
{
    size_t n = 0, from = 0;
    for (size_t r = 0; r < code->rows; r++) {
        for (size_t e = from; e < code->row_begin[r + 1]; e++) {
            code->latent[n] = code->latent[e];
            code->value[n] = code->value[e];
            if (code->planes) code->plane[0][n] = code->plane[0][e];
            n += code->value[e] >= floor;
        }
        from = code->row_begin[r + 1];
        code->row_begin[r + 1] = n;
    }
}

static qsr_status drop_task(void *arg, size_t begin, size_t end)
{
    const qsr_pruning *p = arg;
    for (size_t b = begin; b < end; b++)
        if (p->filled[b]) drop_below(&p->learner->kept[b], p->floor);
    return QSR_OK;
}

static void drop_all_below(qsr_pruning *p)
{
    qsr_learner *l = p->learner;
    qsr_pool_run(l->pool, l->n_blocks, 1, drop_task, p);
    p->stored = 0;
    for (size_t b = 0; b < l->n_blocks; b++)
        if (p->filled[b]) p->stored += entries_of(&l->kept[b]);
}

qsr_status qsr_together_tighten(qsr_pruning *p, qsr_error *e)
{
    float bound;
    qsr_status status = cut_of(p, &bound, e);
    if (status) return status;
    float floor = qsr_sift_least(bound, p->a);
    if (floor > p->floor) p->floor = floor;
    drop_all_below(p);
    return QSR_OK;
}

/* ---- a floor to begin with --------------------------------------------------------------------------------------- */

/* Without one the first batch lists every positive pre-activation of the blocks in flight, and that memory is never given back: 60 MB and
 * more. Thresholds of some rows and of the batch differ by their rows' scales. */
float qsr_together_sample(qsr_learner *l)
{
    enum { ROWS = 64 };
    static const float SAFE = 0.8f;
    const qsr_params *p = &l->sae.params;
    qsr_encoder *encoder = &l->lanes[0].encoder;
    size_t rows = qsr_min_size(ROWS, qsr_min_size(l->block_rows, l->batch)), limit;
    float *xc = l->work[0].xc;
    for (size_t r = 0; r < rows; r++) qsr_sae_centre(&l->sae, l->x + r * l->batch / rows * l->d_in, 1, xc + r * l->d_in);
    qsr_product_all(&l->sae.packed, xc, rows, p->encoder_bias ? p->b_enc : NULL, encoder->scratch, encoder->pre, p->d_sae);
    if (!qsr_mul_size(l->sae.rule[QSR_TRAIN].k, rows, &limit) || limit > rows * p->d_sae) return 0;
    return SAFE * qsr_select_cut(encoder->pre, rows * p->d_sae, limit);
}

/* ---- from bounds to values --------------------------------------------------------------------------------------- */

/* Pre-activations in place of a block's bounds: one by one, or through the full product where there are too many. */
static void find_values(qsr_learner *l, size_t block, qsr_code *code, qsr_encoder *work)
{
    const qsr_params *p = &l->sae.params;
    const float *bias = p->encoder_bias ? p->b_enc : NULL;
    bool all = entries_of(code) > code->rows * qsr_sift_most(p->d_sae);
    float *xc = work->sift.again;
    qsr_sae_centre(&l->sae, l->x + block * l->block_rows * l->d_in, code->rows, xc);
    if (all) qsr_product_all(&l->sae.packed, xc, code->rows, bias, work->scratch, work->pre, p->d_sae);
    for (size_t r = 0; r < code->rows; r++) {
        size_t begin = code->row_begin[r], n = code->row_begin[r + 1] - begin;
        if (!all) qsr_product_entries(&l->sae.packed, code->latent + begin, n, xc + r * l->d_in, bias, code->value + begin);
        for (size_t i = begin; all && i < begin + n; i++) code->value[i] = work->pre[r * p->d_sae + code->latent[i]];
    }
    qsr_block_free(code->plane[0]);
    code->plane[0] = NULL;
    code->planes = 0;
    if (all)
        work->sifted.full += code->rows;
    else
        work->sifted.pairs += entries_of(code);
}

static qsr_status value_task(void *arg, size_t begin, size_t end)
{
    qsr_learner *l = arg;
    for (size_t b = begin; b < end; b++)
        if (l->kept[b].planes) find_values(l, b, &l->kept[b], &l->lanes[qsr_pool_worker()].encoder);
    return QSR_OK;
}

/* ---- the decision ------------------------------------------------------------------------------------------------ */

typedef struct {
    double value;
    uint32_t block, row; /* row of the block */
    size_t entry;        /* of the block's code: in order of row, then latent */
} doubtful_entry;

static int by_value_then_place(const void *a, const void *b)
{
    const doubtful_entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    if (x->block != y->block) return x->block < y->block ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* How many values reach `bound`, or exceed it. */
static size_t count_values(const qsr_learner *l, float bound, bool or_equal)
{
    size_t count = 0;
    for (size_t b = 0; b < l->n_blocks; b++)
        for (size_t e = 0; e < entries_of(&l->kept[b]); e++)
            count += or_equal ? l->kept[b].value[e] >= bound : l->kept[b].value[e] > bound;
    return count;
}

static void collect_doubtful(const qsr_learner *l, float low, float high, doubtful_entry *out)
{
    for (size_t b = 0; b < l->n_blocks; b++) {
        const qsr_code *code = &l->kept[b];
        for (size_t r = 0; r < code->rows; r++)
            for (size_t e = code->row_begin[r]; e < code->row_begin[r + 1]; e++)
                if (code->value[e] >= low && code->value[e] <= high)
                    *out++ = (doubtful_entry){0, (uint32_t)b, (uint32_t)r, e};
    }
}

static void look_again(const qsr_learner *l, doubtful_entry *d, size_t n)
{
    const qsr_params *p = &l->sae.params;
    float *xc = qsr_xcalloc(l->d_in, sizeof *xc);
    for (size_t i = 0; i < n; i++) {
        size_t j = l->kept[d[i].block].latent[d[i].entry];
        qsr_sae_centre(&l->sae, l->x + (d[i].block * l->block_rows + d[i].row) * l->d_in, 1, xc);
        d[i].value = qsr_row_dot(xc, p->w_enc + j * p->d_in, p->d_in) + (p->encoder_bias ? p->b_enc[j] : 0);
    }
    free(xc);
}

/* The first `ties` of the entries with the value `cut` stay, in order of row and latent, and all above it. */
static void keep_by_value(qsr_learner *l, float cut, size_t ties)
{
    for (size_t b = 0; b < l->n_blocks; b++) {
        qsr_code *code = &l->kept[b];
        uint8_t *keep = qsr_xcalloc(entries_of(code) + 1, 1);
        for (size_t e = 0; e < entries_of(code); e++) {
            bool tie = code->value[e] == cut && ties;
            ties -= tie;
            keep[e] = code->value[e] > cut || tie;
        }
        qsr_code_compact(code, keep);
        free(keep);
    }
}

/* All above `high` stay, and of the doubtful the first n in their order. */
static void keep_by_double(qsr_learner *l, float high, const doubtful_entry *d, size_t n)
{
    uint8_t **keep = qsr_xcalloc(l->n_blocks, sizeof *keep);
    for (size_t b = 0; b < l->n_blocks; b++) {
        keep[b] = qsr_xcalloc(entries_of(&l->kept[b]) + 1, 1);
        for (size_t e = 0; e < entries_of(&l->kept[b]); e++) keep[b][e] = l->kept[b].value[e] > high;
    }
    for (size_t i = 0; i < n; i++) keep[d[i].block][d[i].entry] = 1;
    for (size_t b = 0; b < l->n_blocks; b++) {
        qsr_code_compact(&l->kept[b], keep[b]);
        free(keep[b]);
    }
    free(keep);
}

/* cut: the limit-th largest value, positive. */
static void keep_largest(qsr_learner *l, float cut, size_t limit)
{
    float low = cut * (1 - QSR_CHOOSE_BAND), high = cut * (1 + QSR_CHOOSE_BAND);
    size_t above = count_values(l, high, false), doubtful = count_values(l, low, true) - above;
    if (above + doubtful == limit || doubtful > MOST_DOUBTFUL) {
        keep_by_value(l, cut, limit - count_values(l, cut, false));
        return;
    }
    doubtful_entry *d = qsr_xcalloc(doubtful, sizeof *d);
    collect_doubtful(l, low, high, d);
    look_again(l, d, doubtful);
    qsort(d, doubtful, sizeof *d, by_value_then_place);
    keep_by_double(l, high, d, limit - above);
    free(d);
}

qsr_status qsr_together_decide(qsr_pruning *p, qsr_error *e)
{
    qsr_learner *l = p->learner;
    float bound, cut;
    qsr_status status = cut_of(p, &bound, e);
    if (status) return status;
    float least = qsr_sift_least(bound, p->a);
    if (least > p->floor) p->floor = least;
    drop_all_below(p);
    qsr_pool_run(l->pool, l->n_blocks, 1, value_task, l);
    status = cut_of(p, &cut, e);
    if (status) return status;
    if (p->guessed && qsr_sift_least(cut, p->a) < p->guess) return QSR_END;
    if (cut > 0)
        keep_largest(l, cut, p->limit);
    else
        keep_by_value(l, 0, 0);
    p->stored = 0;
    for (size_t b = 0; b < l->n_blocks; b++) p->stored += entries_of(&l->kept[b]);
    p->threshold = cut;
    return QSR_OK;
}

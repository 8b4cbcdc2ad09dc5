#include "eval/latents.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "base/text.h"
#include "math/rows.h"
#include "model/code.h"

enum { PANEL = 2048, FLUSH_BYTES = 1 << 16 };

struct qsr_latents {
    size_t d_sae, top;
    qsr_latent_sums *latent; /* [d_sae] */
    float
        *floor; /* [d_sae] what f must exceed to be among the top: the last of them once there are `top`, else -INFINITY */
    uint32_t *kept;    /* [d_sae] */
    qsr_top_row *rows; /* [d_sae][top], largest first */
};

/* ---- memory ------------------------------------------------------------------------------------------------------ */

qsr_status qsr_latents_create(size_t d_sae, size_t top, qsr_latents **ret, qsr_error *e)
{
    size_t entries = 0;
    qsr_latents *l = qsr_xcalloc(1, sizeof *l);
    l->d_sae = d_sae;
    l->top = top;
    l->latent = qsr_block_alloc(d_sae, sizeof *l->latent);
    l->floor = qsr_block_alloc(d_sae, sizeof *l->floor);
    l->kept = qsr_block_alloc(d_sae, sizeof *l->kept);
    bool fits = qsr_mul_size(d_sae, top, &entries);
    if (fits) l->rows = qsr_block_raw(qsr_max_size(entries, 1), sizeof *l->rows);
    *ret = l;
    if (!l->latent || !l->floor || !l->kept || !l->rows) {
        qsr_latents_free(l);
        *ret = NULL;
        return qsr_fail(e, QSR_E_NOMEM, "out of memory: %zu top rows for each of %zu latents; lower eval.top_contexts", top,
                        d_sae);
    }
    for (size_t j = 0; j < d_sae; j++) l->latent[j].largest = l->floor[j] = -INFINITY;
    return QSR_OK;
}

void qsr_latents_free(qsr_latents *l)
{
    if (!l) return;
    qsr_block_free(l->latent);
    qsr_block_free(l->floor);
    qsr_block_free(l->kept);
    qsr_block_free(l->rows);
    free(l);
}

/* ---- adding rows ------------------------------------------------------------------------------------------------- */

/* Rows come unit by unit, so an entry of the same unit is that unit's largest so far and makes way for a larger one. */
static void keep(qsr_latents *l, size_t j, qsr_place place, float value)
{
    qsr_top_row *rows = l->rows + j * l->top;
    size_t n = l->kept[j], at = 0;
    while (at < n && rows[at].unit != place.unit) at++;
    if (at < n && value <= rows[at].value) return;
    if (at == n && n < l->top) l->kept[j]++;
    if (at == n && n == l->top) at--; /* the last one goes */
    for (; at > 0 && rows[at - 1].value < value; at--) rows[at] = rows[at - 1];
    rows[at] = (qsr_top_row){place.unit, place.row, value};
    if (l->kept[j] == l->top) l->floor[j] = rows[l->top - 1].value;
}

static void add_entry(qsr_latents *l, size_t j, qsr_place place, float value)
{
    qsr_latent_sums *to = &l->latent[j];
    to->fired++;
    to->sum += value;
    if (value > to->largest) to->largest = value;
    if (l->top && value > l->floor[j]) keep(l, j, place, value);
}

typedef struct {
    qsr_latents *latents;
    const qsr_code *const *codes;
    const qsr_place *const *place;
    size_t n;
} addition;

static qsr_status add_panel(void *arg, size_t begin, size_t end)
{
    const addition *a = arg;
    for (size_t i = 0; i < a->n; i++) {
        const qsr_code *code = a->codes[i];
        for (size_t r = 0; r < code->rows; r++)
            for (size_t k = qsr_code_find(code, r, begin); k < code->row_begin[r + 1] && code->latent[k] < end; k++)
                if (code->value[k] != 0) add_entry(a->latents, code->latent[k], a->place[i][r], code->value[k]);
    }
    return QSR_OK;
}

void qsr_latents_add(qsr_latents *l, qsr_pool *pool, const qsr_code *const *codes, const qsr_place *const *place, size_t n)
{
    addition a = {l, codes, place, n};
    qsr_pool_run(pool, l->d_sae, PANEL, add_panel, &a);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

size_t qsr_latents_count(const qsr_latents *l) { return l->d_sae; }
size_t qsr_latents_most(const qsr_latents *l) { return l->top; }
const qsr_latent_sums *qsr_latents_get(const qsr_latents *l, size_t latent) { return &l->latent[latent]; }

size_t qsr_latents_top(const qsr_latents *l, size_t latent, const qsr_top_row **ret)
{
    *ret = l->rows + latent * l->top;
    return l->kept[latent];
}

typedef struct {
    const qsr_params *params;
    float *cosine; /* [d_sae] */
} alignment;

static qsr_status align(void *arg, size_t begin, size_t end)
{
    const alignment *a = arg;
    size_t d = a->params->d_in;
    for (size_t j = begin; j < end; j++) {
        const float *enc = a->params->w_enc + j * d, *dec = a->params->w_dec + j * d;
        double norms = qsr_row_norm(enc, d) * qsr_row_norm(dec, d);
        a->cosine[j] = norms > 0 ? (float)(qsr_row_dot(enc, dec, d) / norms) : 0;
    }
    return QSR_OK;
}

/* An empty field where there is no such number. */
static void put(qsr_text *line, double value)
{
    char text[32];
    qsr_text_puts(line, ",");
    if (isfinite(value)) qsr_text_puts(line, qsr_float_text((float)value, text, sizeof text));
}

static void put_latent(const qsr_latents *l, size_t j, uint64_t rows, float dec_norm, qsr_neighbour nearest, float cosine,
                       qsr_text *line)
{
    const qsr_latent_sums *x = &l->latent[j];
    qsr_text_add(line, "%zu", j);
    put(line, rows ? (double)x->fired / (double)rows : NAN);
    put(line, x->fired ? x->sum / (double)x->fired : NAN);
    put(line, x->largest);
    put(line, dec_norm);
    if (nearest.other == UINT32_MAX)
        qsr_text_puts(line, ",");
    else
        qsr_text_add(line, ",%" PRIu32, nearest.other);
    put(line, nearest.cosine);
    put(line, cosine);
    qsr_text_puts(line, "\n");
}

qsr_status qsr_latents_write(const qsr_latents *l, const char *path, uint64_t rows, const qsr_params *params,
                             const float *dec_norm, const qsr_neighbour *neighbour, qsr_pool *pool, qsr_error *e)
{
    alignment a = {params, qsr_block_raw(l->d_sae, sizeof(float))};
    if (!a.cosine) return qsr_fail_nomem(e, "encoder-decoder cosines", l->d_sae * sizeof(float));
    qsr_pool_run(pool, l->d_sae, 256, align, &a);
    qsr_writer writer = {.fd = -1};
    qsr_text lines = {0};
    qsr_status status = qsr_writer_open(&writer, path, e);
    qsr_text_puts(&lines, "latent,frequency,mean_activation,max_activation,decoder_norm,nearest_latent,nearest_cosine,"
                          "encoder_decoder_cosine\n");
    for (size_t j = 0; j < l->d_sae && !status; j++) {
        put_latent(l, j, rows, dec_norm[j], neighbour[j], a.cosine[j], &lines);
        status = qsr_writer_drain(&writer, &lines, FLUSH_BYTES, e);
    }
    if (!status) status = qsr_writer_drain(&writer, &lines, 0, e);
    if (!status) status = qsr_writer_commit(&writer, e);
    qsr_writer_abort(&writer);
    qsr_text_free(&lines);
    qsr_block_free(a.cosine);
    return status;
}

#include "train/prune.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "train/together.h"

/* A floor of 0 for values, and for bounds beneath it by what they may be off. */
static void begin_by_host(qsr_pruning *p, float guess)
{
    const qsr_learner *l = p->learner;
    p->limit = SIZE_MAX;
    qsr_mul_size(l->sae.rule[QSR_TRAIN].k, l->batch, &p->limit);
    if (l->sae.sieve.on) p->a = qsr_screen_flushed(l->d_in);
    p->guess = guess;
    p->guessed = guess > 0;
    p->floor = p->guessed ? guess : -4 * p->a;
}

void qsr_pruning_begin(qsr_pruning *p, qsr_learner *l, float guess)
{
    *p = (qsr_pruning){.learner = l, .limit = SIZE_MAX, .filled = qsr_xcalloc(l->n_blocks, sizeof(bool))};
    if (l->by_host) begin_by_host(p, guess);
    else if (l->sae.ops->keep_limit) p->limit = l->sae.ops->keep_limit(l->sae.activation->instance, l->batch);
}

void qsr_pruning_end(qsr_pruning *p) { free(p->filled); }

static size_t entries_of(const qsr_code *code) { return code->row_begin[code->rows]; }

/* Flat arrays of the candidates of some codes, in row order. */
typedef struct {
    uint32_t *row, *latent;
    float *value;
    uint8_t *keep;
    size_t count;
} flat;

static void flat_free(flat *f)
{
    qsr_block_free(f->row);
    qsr_block_free(f->latent);
    qsr_block_free(f->value);
    qsr_block_free(f->keep);
}

static qsr_status flat_alloc(flat *f, size_t n, qsr_error *e)
{
    *f = (flat){qsr_block_raw(n, sizeof *f->row), qsr_block_raw(n, sizeof *f->latent), qsr_block_raw(n, sizeof *f->value),
                qsr_block_raw(n, 1), 0};
    if (f->row && f->latent && f->value && f->keep) return QSR_OK;
    flat_free(f);
    return qsr_fail_nomem(e, "candidates of a batch", n * 13);
}

static void flat_add(flat *f, const qsr_code *code, size_t row0)
{
    size_t n = entries_of(code);
    for (size_t r = 0; r < code->rows; r++)
        for (size_t e = code->row_begin[r]; e < code->row_begin[r + 1]; e++) f->row[f->count + e] = (uint32_t)(row0 + r);
    memcpy(f->latent + f->count, code->latent, n * sizeof *f->latent);
    memcpy(f->value + f->count, code->value, n * sizeof *f->value);
    f->count += n;
}

static qsr_status ask(qsr_learner *l, flat *f, bool final, qsr_error *e)
{
    qsr_candidates c = {.struct_size = sizeof c, .count = f->count, .final = final, .batch_rows = l->batch, .d_sae = l->d_sae,
                        .row = f->row, .latent = f->latent, .value = f->value, .keep = f->keep};
    qsr_made_serial(l->sae.activation);
    return qsr_made_finish(l->sae.activation, l->sae.ops->prune(l->sae.activation->instance, &c), e);
}

static qsr_status thin_out(qsr_learner *l, qsr_code *code, size_t row0, qsr_error *e)
{
    flat f;
    qsr_status status = flat_alloc(&f, entries_of(code), e);
    if (status) return status;
    flat_add(&f, code, row0);
    status = ask(l, &f, false, e);
    if (!status) qsr_code_compact(code, f.keep);
    flat_free(&f);
    return status;
}

static qsr_status prune_kept(qsr_pruning *p, bool final, qsr_error *e)
{
    qsr_learner *l = p->learner;
    flat f;
    qsr_status status = flat_alloc(&f, p->stored, e);
    if (status) return status;
    for (size_t b = 0; b < l->n_blocks; b++)
        if (p->filled[b]) flat_add(&f, &l->kept[b], b * l->block_rows);
    status = ask(l, &f, final, e);
    size_t at = 0;
    p->stored = 0;
    for (size_t b = 0; !status && b < l->n_blocks; b++) {
        if (!p->filled[b]) continue;
        size_t n = entries_of(&l->kept[b]);
        qsr_code_compact(&l->kept[b], f.keep + at);
        at += n;
        p->stored += entries_of(&l->kept[b]);
    }
    flat_free(&f);
    return status;
}

qsr_status qsr_pruning_add(qsr_pruning *p, size_t block, qsr_code *candidates, qsr_error *e)
{
    qsr_learner *l = p->learner;
    qsr_status status = QSR_OK;
    if (!l->by_host && entries_of(candidates) > p->limit) status = thin_out(l, candidates, block * l->block_rows, e);
    if (!status) status = qsr_code_copy(candidates, &l->kept[block], e);
    if (status) return status;
    p->filled[block] = true;
    p->stored += entries_of(&l->kept[block]);
    if (p->limit >= SIZE_MAX / 2 || p->stored <= 2 * p->limit) return QSR_OK;
    return l->by_host ? qsr_together_tighten(p, e) : prune_kept(p, false, e);
}

/* Where the host decides, the plugin sees what stays: its state follows. */
qsr_status qsr_pruning_decide(qsr_pruning *p, qsr_error *e)
{
    qsr_status status = p->learner->by_host ? qsr_together_decide(p, e) : QSR_OK;
    return status ? status : prune_kept(p, true, e);
}

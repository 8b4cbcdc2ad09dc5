#include "forward.h"

#include <string.h>

#include "base/sizes.h"
#include "head.h"

/* ---- looking ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const gpt2_tap *taps;
    size_t n_taps, first; /* first: context of the pass's first one */
} looking;

static void copy_out(void *ctx, const gpt2_pass *s, size_t place)
{
    const looking *l = ctx;
    const size_t each = s->plan->context * s->plan->model->config.d;
    for (size_t t = 0; t < l->n_taps; t++)
        for (size_t i = 0; l->taps[t].place == place && l->taps[t].out && i < s->n; i++)
            gpt2_pass_look(s, place, i, l->taps[t].out + (l->first + i) * each);
}

qsr_status gpt2_forward(const gpt2_plan *p, const int64_t *ids, size_t n, const gpt2_tap *taps, size_t n_taps)
{
    gpt2_pass s;
    looking l = {taps, n_taps, 0};
    size_t deepest = 0;
    for (size_t t = 0; t < n_taps; t++)
        if (taps[t].out) deepest = qsr_max_size(deepest, taps[t].place);
    qsr_status status = gpt2_pass_begin(p, &s);
    for (; !status && l.first < n; l.first += p->contexts) {
        gpt2_pass_embed(&s, ids + l.first * p->context, qsr_min_size(p->contexts, n - l.first));
        gpt2_pass_walk(&s, 0, deepest, copy_out, &l);
    }
    return status;
}

double gpt2_flops(const gpt2_model *m, size_t context, size_t place)
{
    const double d = (double)m->config.d, inner = (double)m->config.inner, t = (double)context;
    const double attention = 8 * d * d * t + 2 * d * t * (t + 1), mlp = 4 * d * inner * t;
    const size_t kind = place % GPT2_PLACES;
    return (double)(place / GPT2_PLACES) * (attention + mlp) + (kind >= GPT2_ATTN_OUT ? attention : 0) +
           (kind >= GPT2_MLP_OUT ? mlp : 0);
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

enum { PASS_ROWS = 1024 }; /* OpenBLAS packs the weights for every call: 1,024 rows make that about 1 % */

/* Random rows in the first slot, the same in every other. */
static void fill_slots(const gpt2_plan *p, size_t columns, float *in)
{
    const size_t each = p->slot * columns;
    for (size_t i = 0; i < each; i++) in[i] = (float)(p->host->random(p->host, "trial product", i) >> 40) * 0x1p-23f - 1;
    for (size_t c = 1; c < p->contexts; c++) memcpy(in + c * each, in, each * sizeof *in);
}

static bool slots_equal(const gpt2_plan *p, size_t columns, const float *out)
{
    const size_t each = p->slot * columns;
    for (size_t c = 1; c < p->contexts; c++)
        if (memcmp(out + c * each, out, each * sizeof *out) != 0) return false;
    return true;
}

/* Does this product give the same bytes in every slot? */
static bool slots_agree(const gpt2_pass *s, size_t inner, const gpt2_linear *linear, size_t columns)
{
    float *in = inner == s->plan->model->config.d ? s->in : s->wide, *out = in == s->in ? s->wide : s->in;
    fill_slots(s->plan, inner, in);
    gpt2_pass_product(s, in, inner, linear->weight, columns, out);
    return slots_equal(s->plan, columns, out);
}

/* The same of pieces of the head: a whole one, and the last where that is shorter. */
static bool head_agrees(const gpt2_pass *s)
{
    const gpt2_config *c = &s->plan->model->config;
    float *logits = s->plan->host->scratch(s->plan->host, s->rows, GPT2_LOGITS * sizeof *logits);
    bool same = logits != NULL;
    fill_slots(s->plan, c->d, s->in);
    for (size_t begin = 0; same && begin < c->vocabulary;) {
        const size_t n = qsr_min_size(GPT2_LOGITS, c->vocabulary - begin);
        gpt2_head_piece(s, s->in, begin, n, logits);
        for (size_t r = 0; same && r < s->rows; r++)
            same = memcmp(logits + r * GPT2_LOGITS, logits + r % s->plan->slot * GPT2_LOGITS, n * sizeof *logits) == 0;
        const size_t last = c->vocabulary - c->vocabulary % GPT2_LOGITS;
        begin = begin == 0 && c->vocabulary > GPT2_LOGITS ? last : c->vocabulary;
    }
    return same;
}

static qsr_status try_slot(gpt2_plan *p, size_t slot, bool *ret_good)
{
    p->slot = slot;
    p->tile = p->contexts * slot;
    gpt2_pass s;
    qsr_status status = gpt2_pass_begin(p, &s);
    if (status) return status;
    const gpt2_config *c = &p->model->config;
    const gpt2_block *b = p->model->blocks;
    *ret_good = slots_agree(&s, c->d, &b->qkv, 3 * c->d) && slots_agree(&s, c->d, &b->attention_out, c->d) &&
                slots_agree(&s, c->d, &b->mlp_in, c->inner) && slots_agree(&s, c->inner, &b->mlp_out, c->d) &&
                (!p->model->whole || head_agrees(&s));
    return QSR_OK;
}

/* Kernels of a BLAS may treat rows differently by their place in the matrix: OpenBLAS 0.3.21 for Haswell and Zen works on
 * 12 rows as two unlike groups of 6, so last bits depend on the row number modulo 12 (its AVX-512 kernels do not care).
 * Slots of a multiple of that period make all of them alike. The trial decides, not a table of processors; where no slot
 * passes, each context gets products of its own. */
qsr_status gpt2_plan_make(const qsr_host *host, const gpt2_model *model, size_t contexts, size_t context, bool centred,
                          gpt2_plan *ret)
{
    contexts = qsr_min_size(contexts, qsr_max_size(1, PASS_ROWS / context));
    *ret = (gpt2_plan){host, model, gpt2_rows_get(), contexts, context, context, contexts * context, centred};
    if (!model->n_blocks || contexts == 1) return QSR_OK;
    const size_t slots[] = {context, qsr_round_up(context, 12), qsr_round_up(context, 48)};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        bool good;
        qsr_status status = try_slot(ret, slots[i], &good);
        if (status || good) return status;
    }
    ret->slot = ret->tile = context;
    return QSR_OK;
}

/* topafa: each row keeps as many of its largest latents as it takes for the norm of the code to come nearest to the norm of what
 * was encoded. There is no k to tune.
 *
 * With s_j = (a_j ||W_dec,j||)^2 in descending order (ties by latent) and c_i = sqrt(s_1 + ... + s_i), the row keeps the first
 * i latents, i = argmin over i >= 1 of |c_i - n|, the smaller i on a tie; all positive ones when they stay at c <= n together.
 * So a row with any positive latent keeps at least one, even where keeping none would be nearer: that is the published form,
 * k = argmin_i |c_i - n| with c_{d_sae} := 10^4, at the scales it was made for (arXiv 2503.24277, section 5).
 *
 * s, its sums and c are doubles: in float32 the c of the tail tie, and argmin then cuts the tail off.
 *
 * Sorting a row is needless: a histogram over the leading bits of s finds the bin in which c passes n, and only that bin is
 * sorted. Its sums differ from those in sorted order by rounding alone. Where that could matter (a decision closer than the worst
 * rounding error), and in ties, the row is sorted after all, so that the result is the definition's in every case. */
#include <float.h>
#include <math.h>
#include <quasar/plugin.h>
#include <stdlib.h>
#include <string.h>

/* A bin is 1/32 of an octave of s; the lowest one also takes everything further down. */
enum { BINS = 1024, BIN_SHIFT = 47 };

struct qsr_instance {
    const qsr_host *host;
};

/* A positive latent of the row. Keys are the bits of s, which order like s. */
struct item {
    uint64_t key;
    uint32_t latent;
};

/* A row at work: its m positive latents, ascending, and memory to sort them in. */
struct row {
    size_t m;
    double n;     /* target */
    double total; /* sum of s */
    uint64_t top; /* largest key */
    uint32_t *latent;
    uint64_t *key;
    struct item *item;
    double *bin_sum; /* [BINS] */
    uint32_t *bin_size;
};

/* The last latent that stays: all with a larger key do, and those with its key up to its latent. */
struct last {
    uint64_t key;
    uint32_t latent;
};

static uint64_t bits_of(double s)
{
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    return bits;
}

static double value_of(uint64_t bits)
{
    double s;
    memcpy(&s, &bits, sizeof s);
    return s;
}

static int larger_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

/* Collects the positive latents. Each is written always and counted if positive, so that there is no branch to mispredict. */
static void collect(struct row *row, const float *pre, const float *dec_norm, size_t d_sae)
{
    size_t m = 0;
    for (size_t j = 0; j < d_sae; j++) {
        row->latent[m] = (uint32_t)j;
        m += pre[j] > 0;
    }
    double total[2] = {0};
    uint64_t top = 0;
    for (size_t i = 0; i < m; i++) {
        const double length = (double)pre[row->latent[i]] * dec_norm[row->latent[i]], s = length * length;
        const uint64_t key = bits_of(s);
        row->key[i] = key;
        total[i & 1] += s;
        top = key > top ? key : top;
    }
    row->m = m;
    row->total = total[0] + total[1];
    row->top = top;
}

/* ---- the definition: by sorting ---- */

static struct last sorted_last(struct row *row)
{
    for (size_t i = 0; i < row->m; i++) row->item[i] = (struct item){row->key[i], row->latent[i]};
    qsort(row->item, row->m, sizeof *row->item, larger_first);
    double sum = 0, nearest = INFINITY, c = 0;
    size_t best = 0;
    for (size_t i = 0; i < row->m && c <= row->n; i++) {
        sum += value_of(row->item[i].key);
        c = sqrt(sum);
        if (fabs(c - row->n) < nearest) nearest = fabs(c - row->n), best = i;
    }
    if (c <= row->n) best = row->m - 1;
    return (struct last){row->item[best].key, row->item[best].latent};
}

/* ---- the same by histogram ---- */

static size_t bin_of(uint64_t key, uint64_t top)
{
    const uint64_t down = (top >> BIN_SHIFT) - (key >> BIN_SHIFT);
    return down < BINS ? (size_t)down : BINS - 1;
}

/* Sums bins until c passes n; returns that bin, or BINS, with the sum of the bins before it and the last of them that is not
 * empty (BINS: none). */
static size_t crossing_bin(struct row *row, double *ret_before, size_t *ret_filled)
{
    memset(row->bin_sum, 0, BINS * sizeof *row->bin_sum);
    memset(row->bin_size, 0, BINS * sizeof *row->bin_size);
    for (size_t i = 0; i < row->m; i++) {
        const size_t b = bin_of(row->key[i], row->top);
        row->bin_sum[b] += value_of(row->key[i]);
        row->bin_size[b]++;
    }
    const double target = row->n * row->n;
    *ret_before = 0;
    *ret_filled = BINS;
    for (size_t b = 0; b < BINS; b++) {
        if (*ret_before + row->bin_sum[b] > target) return b;
        *ret_before += row->bin_sum[b];
        if (row->bin_size[b]) *ret_filled = b;
    }
    return BINS;
}

/* Puts the latents of a bin in order; returns how many. */
static size_t sort_bin(struct row *row, size_t bin)
{
    size_t n = 0;
    for (size_t i = 0; i < row->m; i++) {
        if (bin_of(row->key[i], row->top) != bin) continue;
        row->item[n++] = (struct item){row->key[i], row->latent[i]};
    }
    qsort(row->item, n, sizeof *row->item, larger_first);
    return n;
}

/* The row's cut, or false where rounding could decide. `slack` bounds the relative error of any c against that of sorted order,
 * with room to spare: m additions of at most DBL_EPSILON / 2 each, in both orders. */
static bool binned_last(struct row *row, struct last *ret_last)
{
    const double slack = (double)(row->m + 8) * 2 * DBL_EPSILON;
    double sum;
    size_t filled;
    const size_t bin = crossing_bin(row, &sum, &filled);
    if (bin == BINS) return false;
    const size_t n = sort_bin(row, bin);
    double below = sqrt(sum), above = below;
    size_t i = 0;
    for (; i < n; i++) {
        sum += value_of(row->item[i].key);
        above = sqrt(sum);
        if (above > row->n) break;
        below = above;
    }
    if (i == n) return false; /* rounding let the bin's sum pass n, but not that of its latents in order */
    const bool any_below = i > 0 || filled < BINS;
    const double up = above - row->n, down = any_below ? row->n - below : INFINITY, margin = slack * above;
    /* Also excludes latents so small that c does not move: of such ties the first would win. */
    if (up <= margin || down <= margin || fabs(up - down) <= margin) return false;
    if (up < down)
        *ret_last = (struct last){row->item[i].key, row->item[i].latent};
    else if (i > 0)
        *ret_last = (struct last){row->item[i - 1].key, row->item[i - 1].latent};
    else
        *ret_last = (struct last){((row->top >> BIN_SHIFT) - filled) << BIN_SHIFT, UINT32_MAX}; /* all earlier bins */
    return true;
}

/* ---- forward ---- */

static size_t append(const struct row *row, const float *pre, struct last last, qsr_code *out, size_t n)
{
    for (size_t i = 0; i < row->m; i++) {
        const uint64_t key = row->key[i];
        out->latent[n] = row->latent[i];
        out->value[n] = pre[row->latent[i]];
        n += (key > last.key) | ((key == last.key) & (row->latent[i] <= last.latent));
    }
    return n;
}

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    const qsr_host *host = self->host;
    struct row row = {.latent = host->scratch(host, in->d_sae, sizeof *row.latent),
                      .key = host->scratch(host, in->d_sae, sizeof *row.key),
                      .item = host->scratch(host, in->d_sae, sizeof *row.item),
                      .bin_sum = host->scratch(host, BINS, sizeof *row.bin_sum),
                      .bin_size = host->scratch(host, BINS, sizeof *row.bin_size)};
    if (!row.latent || !row.key || !row.item || !row.bin_sum || !row.bin_size) return QSR_E_NOMEM;
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        collect(&row, pre, in->dec_norm, in->d_sae);
        row.n = in->input_norm[r];
        if (!isfinite(row.total) || !isfinite(row.n))
            return host->fail(host, QSR_E_NUMERIC, NULL, "row %zu of the batch: the norm of its %s is not finite",
                              in->row0 + r, isfinite(row.n) ? "activations" : "input");
        struct last last = {0, UINT32_MAX}; /* all */
        const double clearly = 1 + (double)(row.m + 8) * 2 * DBL_EPSILON;
        if (row.m && !(sqrt(row.total) * clearly < row.n) && !binned_last(&row, &last)) last = sorted_last(&row);
        out->row_begin[r + 1] = n = append(&row, pre, last, out, n);
    }
    return QSR_OK;
}

/* ---- extensions ---- */

/* ---- the plugin ---- */

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    (void)options;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    self->host = host;
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .forward = forward};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "topafa",
    .version = "1",
    .summary = "as many of a row's largest latents as bring the code's norm nearest to the input's",
    .cite = "arXiv 2503.24277",
    .needs = QSR_NEED_INPUT_NORM | QSR_NEED_DEC_NORM,
    .caps = QSR_CAP_PRE_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

/* eval/metric: every metric that needs no language-model loss, summed over fixed tiles of evaluation rows.
 *
 * Evaluation rows are cut by their index into tiles of QSR_METRIC_TILE_ROWS (the last may be shorter). Any thread sums up a
 * tile, alone; the sums are then added in tile order. So neither threads nor the batches in which rows arrive can change a bit.
 *
 *     sums[worker slot] <- qsr_metric_tile_sums(tile)      [any thread, one qsr_tile_sums each]
 *     qsr_metric_add(metric, tile index, sums)             [one thread, tile 0, 1, 2, ...]
 *     qsr_metric_finish(metric, &metrics) */
#ifndef QSR_EVAL_METRIC_H
#define QSR_EVAL_METRIC_H
#include "base/error.h"
#include "eval/afa.h"
#include "model/normalise.h"

enum { QSR_METRIC_TILE_ROWS = 256, QSR_FIRING_BINS = 32, QSR_L0_BINS = 4096 };

/* What a tile is summed from; all borrowed for the call. */
typedef struct {
    size_t rows, d_in, d_sae;
    const float *raw, *raw_hat; /* [rows][d_in] model space: z and its reconstruction, normalisation undone */
    const float *x, *x_hat;     /* [rows][d_in] training space; the same two pointers where nothing was normalised */
    const qsr_row_scale *scale; /* [rows] raw_hat = x_hat * spread + mean; NULL: spread 1, mean 0 */
    const qsr_code *code;       /* rows 0 .. rows-1 (row_begin[0] need not be 0), latents below d_sae */
    const float *dec_norm;      /* [d_sae] l2 norm of each decoder row */
    double b_dec_norm;          /* l2 norm of b_dec */
} qsr_metric_tile;

/* Sums of one space. `center` and `scatter` are the mean row and the sum of squared distances to it. */
typedef struct {
    double error, square, square_hat, product, scatter; /* sums of |x-x_hat|^2, |x|^2, |x_hat|^2, x.x_hat, |x-center|^2 */
    double cosine, ratio;                               /* sums over rows with x != 0 */
    uint64_t nonzero;                                   /* rows with x != 0 */
    double *center;                                     /* [d_in] */
} qsr_space_sums;

/* Sums of one tile: made once per worker slot, overwritten by each tile. */
typedef struct {
    size_t rows, d_in, d_sae;
    qsr_space_sums model, training;
    uint64_t active;       /* entries with f != 0 */
    double magnitude;      /* sum of |f| */
    uint32_t *fired;       /* [d_sae] rows in which each latent had f != 0 */
    qsr_afa_token *tokens; /* [rows] in row order, for tokens.csv */
} qsr_tile_sums;

qsr_status qsr_tile_sums_create(size_t d_in, size_t d_sae, qsr_tile_sums **ret, qsr_error *e);
void qsr_tile_sums_free(qsr_tile_sums *);
/* rows <= QSR_METRIC_TILE_ROWS, and the shape that `sums` was made for. */
void qsr_metric_tile_sums(const qsr_metric_tile *, qsr_tile_sums *sums);

typedef struct qsr_metric qsr_metric;
/* Keeps 32 bytes per token for the medians. */
qsr_status qsr_metric_create(size_t d_in, size_t d_sae, qsr_metric **ret, qsr_error *e);
void qsr_metric_free(qsr_metric *);
/* `tile` counts from 0 without gaps; only the last tile may have fewer than QSR_METRIC_TILE_ROWS rows. */
qsr_status qsr_metric_add(qsr_metric *, uint64_t tile, const qsr_tile_sums *, qsr_error *e);
uint64_t qsr_metric_tokens(const qsr_metric *);
/* [d_sae] tokens on which each latent had f != 0; lives as long as the metric. */
const uint64_t *qsr_metric_fired(const qsr_metric *);

typedef struct {
    const char *name;
    double value; /* NaN: undefined on this data (null in JSON) */
} qsr_named_value;

/* Names and formulas are those of docs: sums over all tokens, never averages of batch values.
 *   tokens                    how many were scored
 *   l0, l1                    mean number of f != 0, mean sum |f|, per token
 *   mdl_bits_naive            l0 (7 + log2 d_sae)
 *   silent_fraction           latents without any f != 0, over d_sae
 *   mse                       sum |x-x_hat|^2 / (tokens d_in)
 *   nmse                      sum |x-x_hat|^2 / sum |x|^2
 *   fvu                       sum |x-x_hat|^2 / sum |x-x_mean|^2, x_mean over all tokens
 *   explained_variance        1 - fvu
 *   cosine                    mean cos(x, x_hat) over tokens with x != 0; 0 where x_hat = 0
 *   l2_ratio                  mean |x_hat| / |x| over tokens with x != 0
 *   relative_reconstruction_bias  sum |x_hat|^2 / sum x.x_hat
 *   ..._norm                  the seven from mse on in training space
 *   epsilon_lbo_median, epsilon_lbo_mean  over tokens where it is finite
 *   epsilon_lbo_infinite      tokens with ||f~|| = 0
 *   norm_ratio_median, coherence_lb_median, token_nmse_median  over tokens where they are defined */
enum { QSR_METRIC_VALUES = 25 };

/* Bin i of the histogram counts the latents with
 *     QSR_FIRING_LOW + i QSR_FIRING_WIDTH <= log10(frequency) < QSR_FIRING_LOW + (i + 1) QSR_FIRING_WIDTH,
 * frequency = tokens fired on / tokens. The first bin also takes lower ones, the last also frequency 1. Silent latents are in
 * no bin. */
#define QSR_FIRING_LOW (-8.0)
#define QSR_FIRING_WIDTH 0.25

typedef struct {
    qsr_named_value items[QSR_METRIC_VALUES]; /* in the order above; names are static */
    uint64_t firing[QSR_FIRING_BINS];
    uint64_t silent; /* latents in no bin */
    uint64_t l0[QSR_L0_BINS]; /* tokens with so many f != 0; the last bin also takes more */
} qsr_metrics;
/* May be called once all tiles are in; reorders what it kept for the medians, so nothing can be added after it. */
void qsr_metric_finish(qsr_metric *, qsr_metrics *ret);
const char *qsr_metric_name(size_t index); /* in the order above; NULL from QSR_METRIC_VALUES on */
double qsr_metrics_get(const qsr_metrics *, const char *name); /* NaN for a name that is not there */
#endif

/* report/tokens: per-token diagnostics read back from a tokens.csv, ours or the paper's published one, a layer at a time, in memory
 * that does not grow with the file: of a layer with more than QSR_TOKENS_KEPT tokens a uniform sample is kept. */
#ifndef QSR_REPORT_TOKENS_H
#define QSR_REPORT_TOKENS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

enum { QSR_TOKENS_KEPT = 1 << 18, QSR_TOKENS_LAYERS = 256 };

typedef struct {
    float ztz, ftf, l_recon; /* ||z||^2, ||f~||^2, ||z - z_hat||^2 */
} qsr_token;

typedef struct {
    const char *layer; /* as the file has it; "" when it does not say */
    uint64_t count;    /* tokens in the file; those with a number that is not finite are not among them */
    uint64_t left_out; /* those */
    qsr_token *kept;
    size_t n; /* count, or QSR_TOKENS_KEPT when there are more */
} qsr_token_layer;

typedef struct {
    qsr_token_layer *layers; /* by number, then by text */
    size_t n_layers;
    qsr_arena arena;
} qsr_token_table;

/* Columns are found by name: ztz, ftf, l_recon, and layer where there is one; others are passed over. QSR_E_INPUT as
 * "<path>:<line>: ...". */
qsr_status qsr_token_table_read(const char *path, qsr_token_table *ret, qsr_error *e);
void qsr_token_table_free(qsr_token_table *);

typedef enum { QSR_TOKEN_NMSE, QSR_TOKEN_EPSILON_LBO } qsr_token_value;
/* l_recon / ztz, or |ztz - ftf| / ((d_sae - 1) ftf) of every kept token for which it is finite, into values[layer->n]; returns how
 * many. Without d_sae (below 2) ε-LBO is taken times d_sae - 1. */
size_t qsr_token_values(const qsr_token_layer *, qsr_token_value, uint64_t d_sae, double *values);
/* Their median; NaN when there are none. */
double qsr_token_median(const qsr_token_layer *, qsr_token_value, uint64_t d_sae);
#endif

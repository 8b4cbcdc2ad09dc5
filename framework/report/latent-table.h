/* report/latent-table: latents.csv and top_contexts.jsonl of a run or an evaluation read back, without trust (eval/latents.h and
 * eval/contexts.h have the formats). */
#ifndef QSR_REPORT_LATENT_TABLE_H
#define QSR_REPORT_LATENT_TABLE_H
#include "format/csv.h"
#include "format/json.h"

/* What a latent can be ordered by, each a column of latents.csv. */
enum {
    QSR_LATENT_FREQUENCY,
    QSR_LATENT_MEAN,
    QSR_LATENT_MAX,
    QSR_LATENT_NORM,
    QSR_LATENT_NEAREST,
    QSR_LATENT_NEAREST_COSINE,
    QSR_LATENT_ALIGNMENT,
    QSR_LATENT_NUMBERS
};
extern const char *const qsr_latent_columns[QSR_LATENT_NUMBERS]; /* "frequency", ... */

typedef struct {
    size_t n;
    double (*number)[QSR_LATENT_NUMBERS]; /* [n]; NaN: the field is empty, or the column is missing */
    qsr_arena arena;
} qsr_latent_table;

/* `folder` holds latents.csv. QSR_E_INPUT as "<path>:<line>: ...". */
qsr_status qsr_latent_table_read(const char *folder, qsr_latent_table *ret, qsr_error *e);
void qsr_latent_table_free(qsr_latent_table *);

/* The objects of top_contexts.jsonl for latents [n], ascending; ret[n], NULL where the file says nothing; released by json_decref.
 * A missing file is fine. The file is read line by line. */
qsr_status qsr_latent_contexts_read(const char *folder, const size_t *latents, size_t n, json_t **ret, qsr_error *e);
#endif

/* math/quartet: four rows of a sparse matrix that are multiplied together, whether rows of a code (whose items are latents) or latents of a
 * code in latent order (whose items are rows of the batch).
 *
 * The items of a panel are sorted by their mask: which of the four use them. A kernel has one loop per mask, so that each loaded
 * vector is used once for each row that wants it, zeros are not multiplied, and nothing is decided item by item. Sums are added up mask by
 * mask, and by item within: an order that depends on what the four rows use and on nothing else. */
#ifndef QSR_MATH_QUARTET_H
#define QSR_MATH_QUARTET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Items of a panel; columns of a strip, of which a panel is 48 KiB; rows. */
enum { QSR_QUARTET_PANEL = 128, QSR_QUARTET_STRIP = 96, QSR_QUARTET = 4 };

/* Bit o of a mask: the row o uses the item. Items of mask m >= 1: item[begin[m]] .. item[begin[m + 1] - 1], ascending. */
typedef struct {
    uint16_t begin[17];
    uint8_t item[QSR_QUARTET_PANEL + 16]; /* the last are room for whole vectors */
} qsr_quartet;

/* acc[o][0..d) += value[item][o] * m[item][0..d) over all items of all o, d <= STRIP. m has STRIP floats per item, all of them
 * initialised; values without a bit in the mask are not read. */
typedef void qsr_quartet_gather(const qsr_quartet *, const float *value, const float *m, size_t d, float *acc,
                                size_t ld_acc);
/* out[item][o] = m[item] . x[o] where the mask has o; what else is in out is left. Each dot product is the same number as qsr_dots
 * has. Meanwhile n_ahead floats from `ahead` on, which are wanted next, are asked for. */
typedef void qsr_quartet_dots(const qsr_quartet *, const float *m, size_t ld, size_t d, const float *x, size_t ld_x,
                              float *out, const float *ahead, size_t n_ahead);
/* to[row][STRIP] = m[row][0..d), then zeros. */
typedef void qsr_quartet_pack(const float *m, size_t ld, size_t rows, size_t d, float *to);

typedef struct {
    qsr_quartet_gather *gather;
    qsr_quartet_dots *dots;
    qsr_quartet_pack *pack;
} qsr_quartet_kernels;

/* Whether rows x items with that many entries go in quartets. A rule on counts (docs/PERFORMANCE.md). */
bool qsr_quartet_pays(size_t entries, size_t rows, size_t items);
/* n <= PANEL masks. */
void qsr_quartet_sort(const uint8_t *mask, size_t n, qsr_quartet *ret);

/* n quartets that use the same items, in panels of PANEL. */
typedef struct {
    size_t n, items, panels;
    size_t *row;       /* [n] the first row of sums of each */
    qsr_quartet *list; /* [panels][n] */
    uint8_t *mask;     /* [panels][n][PANEL] */
    float *value[2];   /* [panels][n][STRIDE] each: one or two factors per entry */
} qsr_quartets;

/* Without entries; quartet q has row 4 q. Never refused: a few hundred KiB. */
void qsr_quartets_create(size_t n, size_t items, unsigned values, qsr_quartets *ret);
void qsr_quartets_free(qsr_quartets *);

/* Between the values of two quartets: 64 bytes more than a power of two, or the same item of all of them would share a set of the cache. */
enum { QSR_QUARTET_STRIDE = 4 * QSR_QUARTET_PANEL + 16 };

/* Where quartet q has its entries of a panel: those of row o with item i set the bit o of mask[i], and value[4 i + o] is the factor. */
static inline uint8_t *qsr_quartets_mask(const qsr_quartets *t, size_t panel, size_t q)
{
    return t->mask + (panel * t->n + q) * QSR_QUARTET_PANEL;
}
static inline float *qsr_quartets_value(const qsr_quartets *t, unsigned which, size_t panel, size_t q)
{
    return t->value[which] + (panel * t->n + q) * QSR_QUARTET_STRIDE;
}

/* Puts the entries in order. */
void qsr_quartets_sort(qsr_quartets *);
/* Takes all entries out, for other items. */
void qsr_quartets_clear(qsr_quartets *, size_t items);
/* acc[row + o][0..d) += the entries' factors times m[item][0..d), for all quartets; rows of m and acc have ld and ld_acc floats. [any] */
void qsr_quartets_gather(const qsr_quartets *, const float *value, const float *m, size_t ld, size_t d, float *acc,
                         size_t ld_acc);
#endif

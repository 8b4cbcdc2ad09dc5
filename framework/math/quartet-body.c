/* The inner loops of quartets: compiled once per instruction set, as kernel-body.c is. */
#include "math/lanes.h"
#include "math/quartet.h"

/* Four times VECTORS vectors hold sums. COUNT_p: items whose dot products with p rows are summed at once. */
#if defined __AVX512F__
enum { VECTORS = 6, COUNT_1 = 4, COUNT_2 = 4, COUNT_3 = 4, COUNT_4 = 4 };
#elif defined __AVX2__
enum { VECTORS = 3, COUNT_1 = 4, COUNT_2 = 4, COUNT_3 = 2, COUNT_4 = 2 };
#else
enum { VECTORS = 2, COUNT_1 = 4, COUNT_2 = 4, COUNT_3 = 2, COUNT_4 = 2 };
#endif

/* Vector by vector: memcpy of a row would be taken for a long one. */
static void pack(const float *m, size_t ld, size_t rows, size_t d, float *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < QSR_QUARTET_STRIP; i += WIDTH)
            store(to + r * QSR_QUARTET_STRIP + i,
                  i + WIDTH <= d ? load(m + r * ld + i) : load_part(m + r * ld + i, i < d ? d - i : 0));
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

INLINE void add_items(const qsr_quartet *q, const unsigned mask, const float *value, const float *m, lanes *sum,
                      const size_t vectors)
{
    for (size_t i = q->begin[mask]; i < q->begin[mask + 1]; i++) {
        const size_t item = q->item[i];
        const float *row = m + item * QSR_QUARTET_STRIP, *factor = value + item * QSR_QUARTET;
#pragma GCC unroll 6
        for (size_t v = 0; v < vectors; v++) {
            lanes x = load(row + v * WIDTH);
#pragma GCC unroll 4
            for (size_t o = 0; o < QSR_QUARTET; o++)
                if (mask >> o & 1) sum[o * vectors + v] += (factor[o] - (lanes){0}) * x;
        }
    }
}

INLINE void add_all(const qsr_quartet *q, const float *value, const float *m, lanes *sum, const size_t vectors)
{
    add_items(q, 1, value, m, sum, vectors), add_items(q, 2, value, m, sum, vectors),
        add_items(q, 3, value, m, sum, vectors);
    add_items(q, 4, value, m, sum, vectors), add_items(q, 5, value, m, sum, vectors),
        add_items(q, 6, value, m, sum, vectors);
    add_items(q, 7, value, m, sum, vectors), add_items(q, 8, value, m, sum, vectors),
        add_items(q, 9, value, m, sum, vectors);
    add_items(q, 10, value, m, sum, vectors), add_items(q, 11, value, m, sum, vectors),
        add_items(q, 12, value, m, sum, vectors);
    add_items(q, 13, value, m, sum, vectors), add_items(q, 14, value, m, sum, vectors),
        add_items(q, 15, value, m, sum, vectors);
}

INLINE void gather_vectors(const qsr_quartet *q, const float *value, const float *m, float *acc, size_t ld_acc,
                           const size_t vectors)
{
    lanes sum[QSR_QUARTET * VECTORS];
#pragma GCC unroll 24
    for (size_t i = 0; i < QSR_QUARTET * vectors; i++) sum[i] = load(acc + i / vectors * ld_acc + i % vectors * WIDTH);
    add_all(q, value, m, sum, vectors);
#pragma GCC unroll 24
    for (size_t i = 0; i < QSR_QUARTET * vectors; i++) store(acc + i / vectors * ld_acc + i % vectors * WIDTH, sum[i]);
}

/* d < WIDTH columns. */
static void gather_part(const qsr_quartet *q, const float *value, const float *m, size_t d, float *acc, size_t ld_acc)
{
    lanes sum[QSR_QUARTET];
    for (size_t o = 0; o < QSR_QUARTET; o++) sum[o] = load_part(acc + o * ld_acc, d);
    add_all(q, value, m, sum, 1);
    for (size_t o = 0; o < QSR_QUARTET; o++) memcpy(acc + o * ld_acc, &sum[o], d * sizeof *acc);
}

static void gather(const qsr_quartet *q, const float *value, const float *m, size_t d, float *acc, size_t ld_acc)
{
    size_t i = 0;
    for (; i + VECTORS * WIDTH <= d; i += VECTORS * WIDTH) gather_vectors(q, value, m + i, acc + i, ld_acc, VECTORS);
    for (; i + 2 * WIDTH <= d; i += 2 * WIDTH) gather_vectors(q, value, m + i, acc + i, ld_acc, 2);
    for (; i + WIDTH <= d; i += WIDTH) gather_vectors(q, value, m + i, acc + i, ld_acc, 1);
    if (i < d) gather_part(q, value, m + i, d - i, acc + i, ld_acc);
}

/* ---- dot products ------------------------------------------------------------------------------------------------ */

/* The rows of a mask. */
typedef struct {
    const float *x[QSR_QUARTET];
    size_t place[QSR_QUARTET];
} members;

/* WIDTH columns from i on. */
INLINE void dot_step(lanes *sum, const float *const *w, const float *const *x, size_t i, const size_t rows,
                     const size_t count)
{
    lanes xs[4];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) xs[r] = load(x[r] + i);
#pragma GCC unroll 4
    for (size_t l = 0; l < count; l++) {
        lanes v = load(w[l] + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) sum[l * rows + r] += v * xs[r];
    }
}

/* The last n < WIDTH columns. Unrolled, so that the sums stay in registers. */
INLINE void dot_part(lanes *sum, const float *const *w, const float *const *x, size_t i, size_t n, const size_t rows,
                     const size_t count)
{
#pragma GCC unroll 16
    for (size_t k = 0; k < rows * count; k++) sum[k] += load_part(w[k / rows] + i, n) * load_part(x[k % rows] + i, n);
}

/* `count` items times `rows` members. */
INLINE void dot_tile(const uint8_t *item, const float *m, size_t ld, size_t d, const members *in, float *out,
                     const size_t rows, const size_t count)
{
    lanes sum[16];
    const float *w[4], *x[4];
#pragma GCC unroll 4
    for (size_t l = 0; l < count; l++) w[l] = m + (size_t)item[l] * ld;
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) x[r] = in->x[r];
#pragma GCC unroll 16
    for (size_t k = 0; k < rows * count; k++) sum[k] = (lanes){0};
    size_t i = 0;
#pragma GCC unroll 4
    for (; i + WIDTH <= d; i += WIDTH) dot_step(sum, w, x, i, rows, count);
    if (i < d) dot_part(sum, w, x, i, d - i, rows, count);
#pragma GCC unroll 4
    for (size_t k = 0; k < rows * count; k += 4) {
        const size_t last = rows * count - 1;
        const quad four = sum_lanes_of_4(sum[k], sum[k + 1 < last ? k + 1 : last], sum[k + 2 < last ? k + 2 : last],
                                         sum[k + 3 < last ? k + 3 : last]);
#pragma GCC unroll 4
        for (size_t l = 0; l < 4; l++)
            if (k + l <= last) out[QSR_QUARTET * item[(k + l) / rows] + in->place[(k + l) % rows]] = four[l];
    }
}

INLINE void dot_items(const uint8_t *item, size_t n, const float *m, size_t ld, size_t d, const members *in, float *out,
                      const size_t rows, const size_t count)
{
    size_t i = 0;
    for (; i + count <= n; i += count) dot_tile(item + i, m, ld, d, in, out, rows, count);
    for (; count > 2 && i + 2 <= n; i += 2) dot_tile(item + i, m, ld, d, in, out, rows, 2);
    if (i < n) dot_tile(item + i, m, ld, d, in, out, rows, 1);
}

/* The share of one of 15 masks. */
static void fetch(const float *ahead, size_t n, size_t share)
{
    for (size_t i = n * share / 15 / 16; i < n * (share + 1) / 15 / 16; i++) __builtin_prefetch(ahead + 16 * i, 0, 2);
}

static void dots(const qsr_quartet *q, const float *m, size_t ld, size_t d, const float *x, size_t ld_x, float *out,
                 const float *ahead, size_t n_ahead)
{
    for (unsigned mask = 1; mask < 16; mask++) {
        fetch(ahead, n_ahead, mask - 1);
        const uint8_t *item = q->item + q->begin[mask];
        size_t n = (size_t)(q->begin[mask + 1] - q->begin[mask]), rows = 0;
        members in;
        for (size_t o = 0; o < QSR_QUARTET; o++)
            if (mask >> o & 1) in.x[rows] = x + o * ld_x, in.place[rows++] = o;
        if (rows == 1) dot_items(item, n, m, ld, d, &in, out, 1, COUNT_1);
        if (rows == 2) dot_items(item, n, m, ld, d, &in, out, 2, COUNT_2);
        if (rows == 3) dot_items(item, n, m, ld, d, &in, out, 3, COUNT_3);
        if (rows == 4) dot_items(item, n, m, ld, d, &in, out, 4, COUNT_4);
    }
}

#define TABLE_OF_(x_) qsr_quartet_kernels_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_quartet_kernels TABLE_OF(QSR_KERNELS);
const qsr_quartet_kernels TABLE_OF(QSR_KERNELS) = {gather, dots, pack};

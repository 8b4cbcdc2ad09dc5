/* gpt2/rows: what a transformer does to rows between its matrix products, compiled once per instruction set.
 *
 * Every function fixes its order of additions (16 lanes, then the lanes pairwise) and no product is fused into a sum, so
 * all versions give the same bytes. QUASAR_ISA=portable|avx2|avx512 forces one. Rows are contiguous unless a stride is
 * given. */
#ifndef GPT2_ROWS_H
#define GPT2_ROWS_H
#include <stddef.h>

/* A LayerNorm: y = normalised x * weight + bias, both [d]. */
typedef struct {
    const float *weight, *bias;
} gpt2_affine;

/* What is known of the softmax of a row of logits that comes in pieces: sum = sum e^(logit - most). With {-INFINITY, 0, 0}
 * nothing is. `apart` = sum e^(logit - most) (logit - other), where two rows are compared. */
typedef struct {
    float most;
    double sum, apart;
} gpt2_soft;

typedef struct {
    const char *isa;
    /* x[rows][d] += delta + bias (delta NULL: x stays), then out = LayerNorm(x), its mean and variance summed in double. */
    void (*add_norm)(float *x, const float *delta, const float *bias, const gpt2_affine *norm, double epsilon, size_t rows,
                     size_t d, float *out);
    /* x[rows][d] += delta + bias */
    void (*add)(float *x, const float *delta, const float *bias, size_t rows, size_t d);
    /* x[rows][n] += bias */
    void (*add_bias)(float *x, const float *bias, size_t rows, size_t n);
    /* x[rows][n] = gelu(x + bias), the tanh form: y/2 (1 + tanh(sqrt(2/pi) (y + 0.044715 y^3))) */
    void (*gelu)(float *x, const float *bias, size_t rows, size_t n);
    /* Row i of s[rows][stride] becomes the softmax of its first `first + i` values, followed by 0 up to `width`. stride is
     * a multiple of 16; what a row holds from `first + i` on may be garbage. */
    void (*softmax)(float *s, size_t rows, size_t stride, size_t first, size_t width);
    /* Adds a piece of n logits to what is known of their row. As in softmax, there must be memory up to a multiple of 16. */
    void (*soft)(const float *logits, size_t n, gpt2_soft *);
    /* The same, with `apart` from the same piece of another row. */
    void (*soft_apart)(const float *logits, const float *other, size_t n, gpt2_soft *);
    /* out[n] = half-precision values (IEEE binary16), or bfloat16 ones, which need no alignment. */
    void (*widen_half)(const void *from, size_t n, float *out);
    void (*widen_bfloat)(const void *from, size_t n, float *out);
    /* out[rows][d] = x[rows][d], each row less its mean */
    void (*centre)(const float *x, size_t rows, size_t d, float *out);
    /* out[i] = exp(x[i]), x clamped to [-87.3, 88]: for tests of the function that gelu and softmax share */
    void (*exp)(const float *x, size_t n, float *out);
} gpt2_rows;

/* The best set this processor has, or the one QUASAR_ISA names. */
const gpt2_rows *gpt2_rows_get(void);
/* The set of that name, or NULL when it was not built or the processor lacks it. */
const gpt2_rows *gpt2_rows_named(const char *isa);
#endif

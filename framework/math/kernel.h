/* math/kernel: the inner loops of a training step, compiled once per instruction set and chosen when the program starts.
 *
 * Every kernel fixes its order of additions (16 lanes, then the lanes pairwise), so all versions give the same bytes; the
 * instruction set changes the time alone. QUASAR_ISA=portable|avx2|avx512 forces one. Vectors have length d; W is
 * latent-major, [d_sae][d], and an entry e of a code means (latent[e], value[e]). */
#ifndef QSR_MATH_KERNEL_H
#define QSR_MATH_KERNEL_H
#include "base/error.h"

/* One use of a latent by a row: its share of both weight gradients. */
typedef struct {
    const float *d_out; /* [d] gradient of the row's reconstruction */
    const float *x;     /* [d] what was encoded */
    float value, d_pre;
} qsr_use;

/* Adam with bias correction, with the decoder's constraint; see train/adam.h for the formulae. */
typedef struct {
    float clip;                      /* factor on gradients */
    float beta1, beta2, gain1, gain2; /* gain = 1 - beta, rounded once: 1 - 0.99f is off by 1e-6 of itself */
    float rate1, rate2;              /* rate1 = lr / (1 - beta1^t), rate2 = 1 / (1 - beta2^t) */
    float eps;
} qsr_adam_step;

typedef struct {
    const char *isa;
    float (*dot)(const float *a, const float *b, size_t d);
    /* y += alpha x */
    void (*axpy)(float alpha, const float *x, float *y, size_t d);
    /* out = bias (or 0 when NULL) + sum over entries of value[e] * W[latent[e]], in entry order */
    void (*decode_row)(const uint32_t *latent, const float *value, size_t n, const float *w, size_t d, const float *bias,
                       float *out);
    /* d_value[e] += W[latent[e]] . d_out */
    void (*code_gradient_row)(const uint32_t *latent, size_t n, const float *w, size_t d, const float *d_out, float *d_value);
    /* d_dec += sum of value * d_out, d_enc += sum of d_pre * x, in order of use */
    void (*latent_gradients)(const qsr_use *use, size_t n, size_t d, float *d_dec, float *d_enc);
    /* w -= rate1 * m / (sqrt(v * rate2) + eps) after m and v took up clip * g */
    void (*adam)(const qsr_adam_step *, const float *g, float *w, float *m, float *v, size_t d);
} qsr_kernels;

/* The best set this processor has, or the one QUASAR_ISA names. [any] */
const qsr_kernels *qsr_kernels_get(void);
/* The set of that name, or NULL when it was not built or the processor lacks it. */
const qsr_kernels *qsr_kernels_named(const char *isa);
/* QSR_E_OPTION when QUASAR_ISA names no usable set. */
qsr_status qsr_kernels_verify(qsr_error *e);
#endif

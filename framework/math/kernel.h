/* math/kernel: the inner loops of a training step, compiled once per instruction set and chosen when the program starts.
 *
 * Every kernel fixes its order of additions for its instruction set; multiply-adds are fused where the set has them, so versions
 * agree to rounding. QUASAR_ISA=portable|avx2|avx512 forces one. Vectors have length d; W is
 * latent-major, [d_sae][d], and an entry e of a code means (latent[e], value[e]). */
#ifndef QSR_MATH_KERNEL_H
#define QSR_MATH_KERNEL_H
#include "math/pairs.h"
#include "math/prefix.h"
#include "math/product.h"
#include "math/quartet.h"
#include "math/select.h"
#include "math/shortlist.h"
#include "math/sparse.h"

/* Adam with bias correction; see train/adam.h for the formulae. */
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
    const qsr_sparse_kernels *sparse; /* of the same instruction set, as the next */
    const qsr_quartet_kernels *quartet;
    const qsr_select_passes *select;
    const qsr_shortlist_passes *shortlist;
    const qsr_prefix_passes *prefix;
    const qsr_pair_passes *pairs;
    const qsr_tiles *tiles; /* NULL: none, OpenBLAS is used */
    /* w -= rate1 * m / (sqrt(v * rate2) + eps) after m and v took up clip * g */
    void (*adam)(const qsr_adam_step *, const float *g, float *w, float *m, float *v, size_t d);
    /* The same for a row w of the decoder with g less its component along w; w is set to unit norm before or after. A row of
     * zeros stays without direction. */
    void (*adam_on_sphere)(const qsr_adam_step *, bool before, const float *g, float *w, float *m, float *v, size_t d);
} qsr_kernels;

/* The best set this processor has, or the one QUASAR_ISA names. [any] */
const qsr_kernels *qsr_kernels_get(void);
/* The set of that name, or NULL when it was not built or the processor lacks it. */
const qsr_kernels *qsr_kernels_named(const char *isa);
/* QSR_E_OPTION when QUASAR_ISA names no usable set. */
qsr_status qsr_kernels_verify(qsr_error *e);
#endif

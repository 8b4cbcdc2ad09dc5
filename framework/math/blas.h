/* math/blas: matrix products, one thread each. Our pool cuts the work; OpenBLAS never does, because the shape of a call is
 * part of its arithmetic (docs/ARCHITECTURE.md, determinism). */
#ifndef QSR_MATH_BLAS_H
#define QSR_MATH_BLAS_H
#include "base/error.h"

typedef struct {
    const char *config; /* OpenBLAS's own description of its build */
    const char *core;   /* the kernel it chose: "SkylakeX" */
    int parallel;       /* 0: no threads, 1: POSIX threads, 2: OpenMP */
    int threads;        /* read back after asking for one */
    int pool_threads;   /* the same on a thread other than the main one */
} qsr_blas_info;

/* Asks OpenBLAS for one thread; idempotent, done by the pool. The second is for each thread of the pool: an OpenMP build
 * keeps its setting per thread. */
void qsr_blas_start(void);
void qsr_blas_thread_start(void);
void qsr_blas_describe(qsr_blas_info *ret);
/* QSR_E_UNSUPPORTED when products would be split over threads behind our back. */
qsr_status qsr_blas_verify(qsr_error *e);

/* C[m][n] = alpha * op(A) op(B) + beta * C; op transposes where asked; lda, ldb, ldc are row lengths in memory. */
void qsr_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
              size_t ldb, float beta, float *c, size_t ldc);
#endif

#include "math/blas.h"

#include <assert.h>
#include <cblas.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

/* Found at run time, because a pthread build of OpenBLAS comes without an OpenMP runtime. */
static int (*omp_get_most)(void);
static void (*omp_set_count)(int);

static void find_openmp(void)
{
    void *get = dlsym(RTLD_DEFAULT, "omp_get_max_threads"), *set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    memcpy(&omp_get_most, &get, sizeof get); /* ISO C has no cast from void * to a function */
    memcpy(&omp_set_count, &set, sizeof set);
}

void qsr_blas_thread_start(void)
{
    if (openblas_get_parallel() == OPENBLAS_OPENMP && omp_set_count) omp_set_count(1);
}

static void start_once(void)
{
    find_openmp();
    openblas_set_num_threads(1);
}

void qsr_blas_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_once);
    qsr_blas_thread_start();
}

static int threads_here(void)
{
    if (openblas_get_parallel() == OPENBLAS_OPENMP && omp_get_most) return omp_get_most();
    return openblas_get_num_threads();
}

static void *ask_on_thread(void *ret)
{
    qsr_blas_thread_start();
    *(int *)ret = threads_here();
    return NULL;
}

void qsr_blas_describe(qsr_blas_info *ret)
{
    qsr_blas_start();
    *ret = (qsr_blas_info){openblas_get_config(), openblas_get_corename(), openblas_get_parallel(), threads_here(), -1};
    pthread_t thread;
    if (pthread_create(&thread, NULL, ask_on_thread, &ret->pool_threads) == 0) pthread_join(thread, NULL);
}

qsr_status qsr_blas_verify(qsr_error *e)
{
    qsr_blas_info info;
    qsr_blas_describe(&info);
    if (info.threads == 1 && info.pool_threads == 1) return QSR_OK;
    return qsr_fail(e, QSR_E_UNSUPPORTED,
                    "this OpenBLAS (%s) insists on its own threads (%d, %d on a pool thread), so results would depend on their "
                    "number: install libopenblas0-pthread",
                    info.config, info.threads, info.pool_threads);
}

void qsr_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
              size_t ldb, float beta, float *c, size_t ldc)
{
    if (m == 0 || n == 0) return;
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX && lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k,
                alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

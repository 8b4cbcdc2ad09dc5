#include "math/kernel.h"

#include <stdlib.h>
#include <string.h>

extern const qsr_kernels qsr_kernels_portable, qsr_kernels_avx2, qsr_kernels_avx512;

static const qsr_kernels *avx2(void)
{
#if defined(QSR_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &qsr_kernels_avx2;
#endif
    return NULL;
}

static const qsr_kernels *avx512(void)
{
#if defined(QSR_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return &qsr_kernels_avx512;
#endif
    return NULL;
}

const qsr_kernels *qsr_kernels_named(const char *isa)
{
    if (strcmp(isa, "portable") == 0) return &qsr_kernels_portable;
    if (strcmp(isa, "avx2") == 0) return avx2();
    if (strcmp(isa, "avx512") == 0) return avx512();
    return NULL;
}

qsr_status qsr_kernels_verify(qsr_error *e)
{
    const char *isa = getenv("QUASAR_ISA");
    if (!isa || qsr_kernels_named(isa)) return QSR_OK;
    return qsr_fail(e, QSR_E_OPTION, "QUASAR_ISA=%s: this program and processor have portable%s%s", isa, avx2() ? ", avx2" : "",
                    avx512() ? ", avx512" : "");
}

const qsr_kernels *qsr_kernels_get(void)
{
    static const qsr_kernels *chosen;
    const qsr_kernels *now = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (now) return now;
    const char *isa = getenv("QUASAR_ISA");
    if (isa) now = qsr_kernels_named(isa);
    if (!now) now = avx512();
    if (!now) now = avx2();
    if (!now) now = &qsr_kernels_portable;
    __atomic_store_n(&chosen, now, __ATOMIC_RELAXED); /* every thread finds the same one */
    return now;
}

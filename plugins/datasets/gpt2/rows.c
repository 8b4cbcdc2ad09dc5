#include "rows.h"

#include <stdlib.h>
#include <string.h>

extern const gpt2_rows gpt2_rows_portable, gpt2_rows_avx2, gpt2_rows_avx512;

static const gpt2_rows *avx2(void)
{
#if defined(QSR_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &gpt2_rows_avx2;
#endif
    return NULL;
}

static const gpt2_rows *avx512(void)
{
#if defined(QSR_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return &gpt2_rows_avx512;
#endif
    return NULL;
}

const gpt2_rows *gpt2_rows_named(const char *isa)
{
    if (strcmp(isa, "portable") == 0) return &gpt2_rows_portable;
    if (strcmp(isa, "avx2") == 0) return avx2();
    if (strcmp(isa, "avx512") == 0) return avx512();
    return NULL;
}

const gpt2_rows *gpt2_rows_get(void)
{
    const char *isa = getenv("QUASAR_ISA"); /* the host refuses names that are none */
    const gpt2_rows *rows = isa ? gpt2_rows_named(isa) : NULL;
    if (!rows) rows = avx512();
    if (!rows) rows = avx2();
    return rows ? rows : &gpt2_rows_portable;
}

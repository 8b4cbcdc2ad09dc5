#include "attention.h"

/* Queries begin .. begin + n - 1 of one head: scores against keys 0 .. begin + n - 1, softmax over those not in the future,
 * and the mixture of the values. */
static void attend_tile(const gpt2_attention *a, const float *q, size_t begin, size_t n, float *out)
{
    const size_t d = a->d, width = d / a->heads, keys = begin + n, ld = GPT2_TILE_ROW(keys), stride = 3 * d;
    const float *k = q + d, *v = k + d;
    a->host->gemm(a->host, false, true, n, keys, width, a->scale, q + begin * stride, stride, k, stride, 0, a->tile, ld);
    a->rows->softmax(a->tile, n, ld, begin + 1, keys);
    a->host->gemm(a->host, false, false, n, width, keys, 1, a->tile, ld, v, stride, 0, out + begin * d, d);
}

void gpt2_attend(const gpt2_attention *a, const float *qkv, float *out)
{
    const size_t width = a->d / a->heads;
    for (size_t head = 0; head < a->heads; head++)
        for (size_t begin = 0; begin < a->context; begin += GPT2_QUERIES)
            attend_tile(a, qkv + head * width, begin, qsr_min_size(GPT2_QUERIES, a->context - begin), out + head * width);
}

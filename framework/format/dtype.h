/* format/dtype: the number types of tensor files, little-endian, and their conversion.
 * May import: quasar/plugin.h and base/ (this holds for the whole room, which may be linked into plugins of this tree). */
#ifndef QSR_FORMAT_DTYPE_H
#define QSR_FORMAT_DTYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    QSR_F64, QSR_F32, QSR_F16, QSR_BF16, QSR_I64, QSR_I32, QSR_I16, QSR_I8, QSR_U64, QSR_U32, QSR_U16, QSR_U8, QSR_BOOL
} qsr_dtype;

size_t qsr_dtype_size(qsr_dtype);       /* bytes */
const char *qsr_dtype_name(qsr_dtype);  /* as in safetensors: "F32", "BF16", "BOOL" */
bool qsr_dtype_parse(const char *name, qsr_dtype *ret);
bool qsr_dtype_is_real(qsr_dtype);      /* F64, F32, F16, BF16 */

/* out[i] = from[i] for real types; `from` may be unaligned. F16 and BF16 are exact (subnormals, infinities, payloads of NaN);
 * F64 is rounded to nearest. Any other type: 0 everywhere. */
void qsr_to_float(qsr_dtype, const void *from, size_t n, float *out);
/* out[i] = from[i] for integer types and BOOL (0 or 1); `from` may be unaligned. A U64 above INT64_MAX becomes INT64_MAX, so
 * that a check against a limit refuses it. Any other type: 0 everywhere. */
void qsr_to_int(qsr_dtype, const void *from, size_t n, int64_t *out);
/* to[i] = from[i] for real types, rounded to nearest, ties to even; too large becomes infinite, NaN a quiet NaN of its sign.
 * `to` may be unaligned. Any other type: nothing is written. */
void qsr_from_float(qsr_dtype, const float *from, size_t n, void *to);
#endif

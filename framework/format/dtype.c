#include "format/dtype.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor files are mapped and read as they are: little-endian");

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [QSR_F64] = {"F64", 8},   [QSR_F32] = {"F32", 4}, [QSR_F16] = {"F16", 2}, [QSR_BF16] = {"BF16", 2},
    [QSR_I64] = {"I64", 8},   [QSR_I32] = {"I32", 4}, [QSR_I16] = {"I16", 2}, [QSR_I8] = {"I8", 1},
    [QSR_U64] = {"U64", 8},   [QSR_U32] = {"U32", 4}, [QSR_U16] = {"U16", 2}, [QSR_U8] = {"U8", 1},
    [QSR_BOOL] = {"BOOL", 1},
};

size_t qsr_dtype_size(qsr_dtype type) { return types[type].size; }

const char *qsr_dtype_name(qsr_dtype type) { return types[type].name; }

bool qsr_dtype_parse(const char *name, qsr_dtype *ret)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        *ret = (qsr_dtype)i;
        return true;
    }
    return false;
}

bool qsr_dtype_is_real(qsr_dtype type) { return type <= QSR_BF16; }

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* binary16: 1 sign bit, 5 exponent bits with bias 15, 10 fraction bits. The difference of the biases, 127 - 15 = 112, is added
 * to the exponent, twice for infinities and NaN; subnormals are multiples of 2^-24, which a float holds exactly. */
static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest < 0x0400) return float_of(sign | bits_of((float)rest * 0x1p-24f));
    uint32_t shift = rest < 0x7c00 ? 112u << 23 : 224u << 23;
    return float_of(sign | ((rest << 13) + shift));
}

static uint16_t half_from_float(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
    if (rest >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* from 65520 on, halfway to 2^16, it rounds up to infinity */
    if (rest < 0x38800000u) /* below 2^-14: at 0.5 the unit of a float is 2^-24, so the addition itself rounds */
        return (uint16_t)(sign | (bits_of(float_of(rest) + 0.5f) - bits_of(0.5f)));
    return (uint16_t)(sign | ((rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13));
}

/* bfloat16: the upper half of a float. */
static uint16_t bfloat_from_float(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* One loop over unaligned elements, and return: `value` is the element, `expression_` what becomes of it. */
#define CONVERT(type_, expression_)                                                                                        \
    for (size_t i = 0; i < n; i++) {                                                                                       \
        type_ value;                                                                                                       \
        memcpy(&value, bytes + i * sizeof value, sizeof value);                                                            \
        out[i] = expression_;                                                                                              \
    }                                                                                                                      \
    return

void qsr_to_float(qsr_dtype type, const void *from, size_t n, float *out)
{
    const unsigned char *bytes = from;
    if (!n) return;
    switch (type) {
    case QSR_F64:
        CONVERT(double, (float)value);
    case QSR_F32:
        memcpy(out, bytes, n * sizeof *out);
        return;
    case QSR_F16:
        CONVERT(uint16_t, half_to_float(value));
    case QSR_BF16:
        CONVERT(uint16_t, float_of((uint32_t)value << 16));
    default:
        memset(out, 0, n * sizeof *out);
    }
}

void qsr_to_int(qsr_dtype type, const void *from, size_t n, int64_t *out)
{
    const unsigned char *bytes = from;
    if (!n) return;
    switch (type) {
    case QSR_I64:
        memcpy(out, bytes, n * sizeof *out);
        return;
    case QSR_I32:
        CONVERT(int32_t, value);
    case QSR_I16:
        CONVERT(int16_t, value);
    case QSR_I8:
        CONVERT(int8_t, value);
    case QSR_U64:
        CONVERT(uint64_t, value > INT64_MAX ? INT64_MAX : (int64_t)value);
    case QSR_U32:
        CONVERT(uint32_t, value);
    case QSR_U16:
        CONVERT(uint16_t, value);
    case QSR_U8:
        CONVERT(uint8_t, value);
    case QSR_BOOL:
        CONVERT(uint8_t, value != 0);
    default:
        memset(out, 0, n * sizeof *out);
    }
}

#define CONVERT_BACK(type_, expression_)                                                                                   \
    for (size_t i = 0; i < n; i++) {                                                                                       \
        type_ value = expression_;                                                                                         \
        memcpy(bytes + i * sizeof value, &value, sizeof value);                                                            \
    }                                                                                                                      \
    return

void qsr_from_float(qsr_dtype type, const float *from, size_t n, void *to)
{
    unsigned char *bytes = to;
    if (!n) return;
    switch (type) {
    case QSR_F64:
        CONVERT_BACK(double, from[i]);
    case QSR_F32:
        memcpy(bytes, from, n * sizeof *from);
        return;
    case QSR_F16:
        CONVERT_BACK(uint16_t, half_from_float(from[i]));
    case QSR_BF16:
        CONVERT_BACK(uint16_t, bfloat_from_float(from[i]));
    default:
        return;
    }
}

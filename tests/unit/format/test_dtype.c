/* Number types: every half and every bfloat, both ways, against definitions written another way than the code's. */
#include "../unit.h"
#include "format/dtype.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float from_16(qsr_dtype type, uint16_t bits)
{
    float value;
    qsr_to_float(type, &bits, 1, &value);
    return value;
}

static uint16_t to_16(qsr_dtype type, float value)
{
    uint16_t bits;
    qsr_from_float(type, &value, 1, &bits);
    return bits;
}

/* IEEE 754-2008: (-1)^s 2^(e - 15) (1 + f / 1024), subnormals 2^-14 f / 1024. */
static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent ? ldexp(1 + fraction / 1024.0, exponent - 15) : ldexp(fraction / 1024.0, -14);
    if (exponent == 31) magnitude = INFINITY;
    return bits >> 15 ? -magnitude : magnitude;
}

static void every_half_is_read_exactly(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = from_16(QSR_F16, (uint16_t)bits);
        if ((bits & 0x7fff) > 0x7c00) { /* NaN: sign and payload stay */
            assert_int_equal(bits_of(value), (bits & 0x8000) << 16 | 0x7f800000 | (bits & 0x3ff) << 13);
        } else {
            assert_true((double)value == half_value((uint16_t)bits));
            assert_int_equal(bits_of(value) >> 31, bits >> 15); /* -0 too */
        }
    }
}

static void every_bfloat_is_read_exactly(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++)
        assert_int_equal(bits_of(from_16(QSR_BF16, (uint16_t)bits)), bits << 16);
}

/* Every value is written back as itself; what lies between two neighbours goes to the nearer, and halfway to the even one. The
 * last neighbour of the largest is infinity, at the place where the next power of two would be. */
static void check_rounding(qsr_dtype type, uint16_t infinity)
{
    for (uint32_t low = 0; low < infinity; low++) {
        double a = from_16(type, (uint16_t)low);
        double b = low + 1 == infinity ? a + (a - from_16(type, (uint16_t)(low - 1))) : from_16(type, (uint16_t)(low + 1));
        float middle = (float)((a + b) / 2); /* exact: both have 11 bits or fewer; infinite only beyond the largest float */
        uint16_t even = (uint16_t)(low % 2 ? low + 1 : low);
        assert_int_equal(to_16(type, (float)a), low);
        assert_int_equal(to_16(type, -(float)a), low | 0x8000);
        assert_int_equal(to_16(type, middle), even);
        assert_int_equal(to_16(type, -middle), even | 0x8000);
        assert_int_equal(to_16(type, nextafterf(middle, 0)), low);
        if (isfinite(middle)) assert_int_equal(to_16(type, nextafterf(middle, INFINITY)), low + 1);
    }
    assert_int_equal(to_16(type, INFINITY), infinity);
    assert_int_equal(to_16(type, -INFINITY), infinity | 0x8000);
    assert_int_equal(to_16(type, 3.4028235e38f), infinity);
}

static void halves_are_written_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(QSR_F16, 0x7c00);
    assert_int_equal(to_16(QSR_F16, 65519.996f), 0x7bff);
    assert_int_equal(to_16(QSR_F16, 65520.0f), 0x7c00);
    assert_int_equal(to_16(QSR_F16, 1e-45f), 0); /* a subnormal float */
}

static void bfloats_are_written_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(QSR_BF16, 0x7f80);
}

static void nan_stays_nan(void **state)
{
    (void)state;
    const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff}; /* signalling ones as well */
    for (size_t i = 0; i < 5; i++) {
        float value;
        memcpy(&value, &nans[i], sizeof value);
        uint16_t half = to_16(QSR_F16, value), bfloat = to_16(QSR_BF16, value);
        assert_true((half & 0x7e00) == 0x7e00 && half >> 15 == nans[i] >> 31);
        assert_true((bfloat & 0x7fc0) == 0x7fc0 && bfloat >> 15 == nans[i] >> 31);
    }
}

static void reads_and_writes_at_odd_addresses(void **state)
{
    (void)state;
    const float values[3] = {1.5f, -2, 0.25f};
    const qsr_dtype types[] = {QSR_F64, QSR_F32, QSR_F16, QSR_BF16};
    for (size_t i = 0; i < 4; i++) {
        unsigned char bytes[1 + 3 * 8];
        float back[3];
        qsr_from_float(types[i], values, 3, bytes + 1);
        qsr_to_float(types[i], bytes + 1, 3, back);
        assert_memory_equal(back, values, sizeof values);
    }
}

static void doubles_are_rounded(void **state)
{
    (void)state;
    const double values[] = {1 + 0x1p-25, 1e300, -1e-300, 0.1};
    float out[4];
    qsr_to_float(QSR_F64, values, 4, out);
    assert_true(out[0] == 1 && isinf(out[1]) && out[2] == 0 && signbit(out[2]) && out[3] == 0.1f);
}

static void integers_are_read_exactly(void **state)
{
    (void)state;
    int64_t out[3];
    qsr_to_int(QSR_U64, (const uint64_t[]){7, INT64_MAX, UINT64_MAX}, 3, out);
    assert_true(out[0] == 7 && out[1] == INT64_MAX && out[2] == INT64_MAX);
    qsr_to_int(QSR_I64, (const int64_t[]){INT64_MIN, -1, INT64_MAX}, 3, out);
    assert_true(out[0] == INT64_MIN && out[1] == -1 && out[2] == INT64_MAX);
    qsr_to_int(QSR_U32, (const uint32_t[]){0, 1, UINT32_MAX}, 3, out);
    assert_true(out[0] == 0 && out[2] == 4294967295);
    qsr_to_int(QSR_I32, (const int32_t[]){INT32_MIN, -1, INT32_MAX}, 3, out);
    assert_true(out[0] == INT32_MIN && out[1] == -1 && out[2] == INT32_MAX);
    qsr_to_int(QSR_U16, (const uint16_t[]){0, 50256, 65535}, 3, out);
    assert_true(out[1] == 50256 && out[2] == 65535);
    qsr_to_int(QSR_I16, (const int16_t[]){-32768, -1, 32767}, 3, out);
    assert_true(out[0] == -32768 && out[1] == -1 && out[2] == 32767);
    qsr_to_int(QSR_U8, (const uint8_t[]){0, 128, 255}, 3, out);
    assert_true(out[1] == 128 && out[2] == 255);
    qsr_to_int(QSR_I8, (const int8_t[]){-128, -1, 127}, 3, out);
    assert_true(out[0] == -128 && out[1] == -1 && out[2] == 127);
    qsr_to_int(QSR_BOOL, (const uint8_t[]){0, 1, 2}, 3, out);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 1);
    qsr_to_int(QSR_F32, (const float[]){1, 2, 3}, 3, out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
    float none[2];
    qsr_to_float(QSR_I32, (const int32_t[]){1, 2}, 2, none);
    assert_true(none[0] == 0 && none[1] == 0);
}

static void types_have_names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        qsr_dtype type;
        const char *name;
        size_t size;
        bool real;
    } table[] = {{QSR_F64, "F64", 8, true},   {QSR_F32, "F32", 4, true},  {QSR_F16, "F16", 2, true},
                 {QSR_BF16, "BF16", 2, true}, {QSR_I64, "I64", 8, false}, {QSR_I32, "I32", 4, false},
                 {QSR_I16, "I16", 2, false},  {QSR_I8, "I8", 1, false},   {QSR_U64, "U64", 8, false},
                 {QSR_U32, "U32", 4, false},  {QSR_U16, "U16", 2, false}, {QSR_U8, "U8", 1, false},
                 {QSR_BOOL, "BOOL", 1, false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        qsr_dtype type;
        assert_string_equal(qsr_dtype_name(table[i].type), table[i].name);
        assert_int_equal(qsr_dtype_size(table[i].type), table[i].size);
        assert_int_equal(qsr_dtype_is_real(table[i].type), table[i].real);
        assert_true(qsr_dtype_parse(table[i].name, &type) && type == table[i].type);
    }
    qsr_dtype type;
    assert_false(qsr_dtype_parse("f32", &type));
    assert_false(qsr_dtype_parse("", &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_read_exactly),
        cmocka_unit_test(every_bfloat_is_read_exactly),
        cmocka_unit_test(halves_are_written_to_nearest_even),
        cmocka_unit_test(bfloats_are_written_to_nearest_even),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(reads_and_writes_at_odd_addresses),
        cmocka_unit_test(doubles_are_rounded),
        cmocka_unit_test(integers_are_read_exactly),
        cmocka_unit_test(types_have_names_and_sizes),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}

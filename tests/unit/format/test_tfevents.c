/* Event files of TensorBoard, against published and computed vectors, and read back by a reader of this test's own. */
#include "../unit.h"
#include "format/tfevents.h"

static void crc_has_its_check_values(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < 32; i++) rising[i] = (unsigned char)i;
    /* RFC 3720, B.4, has the three of 32 bytes. */
    assert_int_equal(qsr_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(qsr_crc32c(zeros, 32), 0x8a9136aa);
    assert_int_equal(qsr_crc32c(ones, 32), 0x62a8ab43);
    assert_int_equal(qsr_crc32c(rising, 32), 0x46dd794e);
    assert_int_equal(qsr_crc32c("", 0), 0);
    assert_int_equal(qsr_crc32c_masked("123456789", 9), 0xc78ab0e5);
}

static char *file_hex(const char *path)
{
    qsr_map map;
    assert_int_equal(qsr_map_open(path, &map, NULL), QSR_OK);
    char *hex = calloc(2 * map.size + 1, 1);
    for (size_t i = 0; i < map.size; i++) sprintf(hex + 2 * i, "%02x", map.bytes[i]);
    qsr_map_close(&map);
    return hex;
}

static void records_have_the_published_bytes(void **state)
{
    (void)state;
    char path[300];
    qsr_tfevents events;
    const qsr_scalar one = {"a", 1};
    snprintf(path, sizeof path, "%s/vectors", test_folder());
    assert_int_equal(qsr_tfevents_open(&events, path, 0, NULL), QSR_OK);
    assert_int_equal(qsr_tfevents_add(&events, 0, 1, &one, 1, NULL), QSR_OK);
    assert_false(qsr_exists(path));
    assert_int_equal(qsr_tfevents_commit(&events, NULL), QSR_OK);
    char *hex = file_hex(path);
    assert_string_equal(hex, "1800000000000000a37f4b220900000000000000001a0d627261696e2e4576656e743a32eedf28a3"
                             "1700000000000000e7cef81e09000000000000000010012a0a0a080a0161150000803f759fac86");
    free(hex);
    remove(path);
}

/* ---- a reader: enough of protobuf for what is written, with every check ------------------------------------------------ */

typedef struct {
    const unsigned char *at, *end;
} bytes;

static uint64_t take_fixed(bytes *b, int n)
{
    uint64_t value = 0;
    assert_true(b->end - b->at >= n);
    for (int i = 0; i < n; i++) value |= (uint64_t)*b->at++ << 8 * i;
    return value;
}

static uint64_t take_varint(bytes *b)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(b->at < b->end && shift < 64);
        value |= (uint64_t)(*b->at & 127) << shift;
        if (!(*b->at++ & 128)) return value;
    }
}

static bytes take_bytes(bytes *b)
{
    uint64_t n = take_varint(b);
    assert_true(n <= (uint64_t)(b->end - b->at));
    bytes inner = {b->at, b->at + n};
    b->at += n;
    return inner;
}

static bytes take_record(bytes *file)
{
    const unsigned char *length = file->at;
    uint64_t n = take_fixed(file, 8);
    assert_int_equal(take_fixed(file, 4), qsr_crc32c_masked(length, 8));
    assert_true(n <= (uint64_t)(file->end - file->at));
    bytes record = {file->at, file->at + n};
    file->at += n;
    assert_int_equal(take_fixed(file, 4), qsr_crc32c_masked(record.at, n));
    return record;
}

static void check_event(bytes event, double time, uint64_t step, const qsr_scalar *scalars, size_t n)
{
    assert_int_equal(take_fixed(&event, 1), 0x09);
    uint64_t bits = take_fixed(&event, 8);
    double found;
    memcpy(&found, &bits, 8);
    assert_true(found == time);
    assert_int_equal(take_fixed(&event, 1), 0x10);
    assert_int_equal(take_varint(&event), step);
    assert_int_equal(take_fixed(&event, 1), 0x2a);
    bytes summary = take_bytes(&event);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(take_fixed(&summary, 1), 0x0a);
        bytes value = take_bytes(&summary);
        assert_int_equal(take_fixed(&value, 1), 0x0a);
        bytes tag = take_bytes(&value);
        assert_int_equal(tag.end - tag.at, strlen(scalars[i].tag));
        assert_memory_equal(tag.at, scalars[i].tag, strlen(scalars[i].tag));
        assert_int_equal(take_fixed(&value, 1), 0x15);
        uint32_t word = (uint32_t)take_fixed(&value, 4);
        float real;
        memcpy(&real, &word, 4);
        assert_true(real == (float)scalars[i].value);
        assert_true(value.at == value.end);
    }
    assert_true(summary.at == summary.end && event.at == event.end);
}

/* Long enough for tags and summaries whose lengths need two bytes, and for more than one flush. */
static void a_long_file_reads_back(void **state)
{
    (void)state;
    enum { EVENTS = 1000, SCALARS = 7 };
    char path[300], tags[SCALARS][160];
    qsr_scalar scalars[SCALARS];
    qsr_tfevents events;
    for (size_t i = 0; i < SCALARS; i++) {
        memset(tags[i], (int)('a' + i), sizeof tags[i]);
        tags[i][i * 26] = 0;
        scalars[i].tag = tags[i];
    }
    snprintf(path, sizeof path, "%s/long", test_folder());
    assert_int_equal(qsr_tfevents_open(&events, path, 1e9, NULL), QSR_OK);
    for (size_t e = 0; e < EVENTS; e++) {
        for (size_t i = 0; i < SCALARS; i++) scalars[i].value = (double)e * 0.37 - (double)i;
        assert_int_equal(qsr_tfevents_add(&events, 1e9 + (double)e, (int64_t)(e * e * e), scalars, SCALARS, NULL), QSR_OK);
    }
    assert_int_equal(qsr_tfevents_commit(&events, NULL), QSR_OK);
    qsr_map map;
    assert_int_equal(qsr_map_open(path, &map, NULL), QSR_OK);
    bytes file = {map.bytes, map.bytes + map.size};
    take_record(&file);
    for (size_t e = 0; e < EVENTS; e++) {
        for (size_t i = 0; i < SCALARS; i++) scalars[i].value = (double)e * 0.37 - (double)i;
        check_event(take_record(&file), 1e9 + (double)e, e * e * e, scalars, SCALARS);
    }
    assert_true(file.at == file.end);
    qsr_map_close(&map);
    remove(path);
}

static void an_abandoned_file_leaves_nothing(void **state)
{
    (void)state;
    char path[300];
    qsr_tfevents events;
    qsr_error e = {0};
    snprintf(path, sizeof path, "%s/none/such", test_folder());
    assert_int_equal(qsr_tfevents_open(&events, path, 0, &e), QSR_E_IO);
    snprintf(path, sizeof path, "%s/abandoned", test_folder());
    assert_int_equal(qsr_tfevents_open(&events, path, 0, NULL), QSR_OK);
    qsr_tfevents_abort(&events);
    assert_false(qsr_exists(path));
}

static int remove_folder(void **state)
{
    (void)state;
    return remove(test_folder()); /* fails unless it is empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_has_its_check_values),
        cmocka_unit_test(records_have_the_published_bytes),
        cmocka_unit_test(a_long_file_reads_back),
        cmocka_unit_test(an_abandoned_file_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, remove_folder);
}

#include "format/npy.h"

#include <string.h>

#include "base/sizes.h"
#include "base/text.h"

static const char magic[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, RANK_LIMIT = 8 };

static const struct {
    const char *code; /* after the byte order */
    qsr_dtype dtype;
} codes[] = {{"f8", QSR_F64}, {"f4", QSR_F32}, {"f2", QSR_F16}, {"i8", QSR_I64}, {"i4", QSR_I32}, {"i2", QSR_I16},
             {"i1", QSR_I8},  {"u8", QSR_U64}, {"u4", QSR_U32}, {"u2", QSR_U16}, {"u1", QSR_U8},  {"b1", QSR_BOOL}};

/* ---- the header: a Python dictionary of three known keys, as a literal ------------------------------------------- */

typedef struct {
    const char *text;
    size_t at, size;
    char descr[32];
    bool fortran_order, seen[3];
    size_t rank, shape[8];
} header;

static const char *const keys[] = {"descr", "fortran_order", "shape"};

static qsr_status expected(const header *h, const char *what, qsr_error *e)
{
    return qsr_fail(e, QSR_E_INPUT, "bad header: expected %s at its byte %zu", what, h->at);
}

static void skip_blanks(header *h)
{
    while (h->at < h->size && (h->text[h->at] == ' ' || h->text[h->at] == '\n')) h->at++;
}

static bool take(header *h, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(h);
    if (h->size - h->at < n || memcmp(h->text + h->at, word, n) != 0) return false;
    h->at += n;
    return true;
}

/* A string in either kind of quotes, without escapes. */
static qsr_status take_string(header *h, char *out, size_t n, const char *what, qsr_error *e)
{
    skip_blanks(h);
    char quote = h->at < h->size ? h->text[h->at] : 0;
    if (quote != '\'' && quote != '"') return expected(h, what, e);
    const char *from = h->text + h->at + 1, *end = memchr(from, quote, h->size - h->at - 1);
    if (!end || (size_t)(end - from) >= n || memchr(from, '\\', (size_t)(end - from)) ||
        memchr(from, 0, (size_t)(end - from)))
        return expected(h, what, e);
    memcpy(out, from, (size_t)(end - from));
    out[end - from] = 0;
    h->at += (size_t)(end - from) + 2;
    return QSR_OK;
}

static qsr_status take_number(header *h, size_t *ret, qsr_error *e)
{
    size_t value = 0, digits = 0;
    skip_blanks(h);
    for (; h->at < h->size && h->text[h->at] >= '0' && h->text[h->at] <= '9'; h->at++, digits++)
        if (!qsr_mul_size(value, 10, &value) || !qsr_add_size(value, (size_t)(h->text[h->at] - '0'), &value))
            return qsr_fail(e, QSR_E_INPUT, "shape is too large for any memory");
    if (!digits) return expected(h, "a whole number from 0", e);
    take(h, "L"); /* Python 2 wrote long integers so */
    *ret = value;
    return QSR_OK;
}

/* "(3, 4)", "(3,)", "()" */
static qsr_status take_shape(header *h, qsr_error *e)
{
    if (!take(h, "(")) return expected(h, "a shape such as (3, 4)", e);
    while (!take(h, ")")) {
        if (h->rank == RANK_LIMIT) return qsr_fail(e, QSR_E_INPUT, "shape has more than %d dimensions", RANK_LIMIT);
        qsr_status status = take_number(h, &h->shape[h->rank], e);
        if (status) return status;
        h->rank++;
        bool comma = take(h, ",");
        if (!comma && (h->rank == 1 || !take(h, ")"))) return expected(h, "',' or ')'", e);
        if (!comma) break;
    }
    return QSR_OK;
}

static qsr_status take_value(header *h, size_t key, qsr_error *e)
{
    if (key == 2) return take_shape(h, e);
    if (key == 1) {
        h->fortran_order = take(h, "True");
        return h->fortran_order || take(h, "False") ? QSR_OK : expected(h, "True or False", e);
    }
    skip_blanks(h);
    if (h->at < h->size && (h->text[h->at] == '[' || h->text[h->at] == '('))
        return qsr_fail(e, QSR_E_INPUT, "a structured array; save one plain array of numbers");
    return take_string(h, h->descr, sizeof h->descr, "a dtype such as '<f4'", e);
}

static qsr_status take_pair(header *h, qsr_error *e)
{
    char name[32];
    qsr_status status = take_string(h, name, sizeof name, "a key", e);
    if (status) return status;
    size_t key = 0;
    while (key < 3 && strcmp(name, keys[key]) != 0) key++;
    if (key == 3) return qsr_fail(e, QSR_E_INPUT, "bad header: unknown key '%s'", name);
    if (h->seen[key]) return qsr_fail(e, QSR_E_INPUT, "bad header: '%s' twice", name);
    h->seen[key] = true;
    if (!take(h, ":")) return expected(h, "':'", e);
    return take_value(h, key, e);
}

static qsr_status parse_header(header *h, qsr_error *e)
{
    if (!take(h, "{")) return expected(h, "'{'", e);
    while (!take(h, "}")) {
        qsr_status status = take_pair(h, e);
        if (status) return status;
        if (take(h, ",")) continue;
        if (!take(h, "}")) return expected(h, "',' or '}'", e);
        break;
    }
    skip_blanks(h);
    if (h->at != h->size) return expected(h, "nothing more", e);
    for (size_t key = 0; key < 3; key++)
        if (!h->seen[key]) return qsr_fail(e, QSR_E_INPUT, "bad header: '%s' is missing", keys[key]);
    return QSR_OK;
}

/* ---- what the header says ---------------------------------------------------------------------------------------- */

static qsr_status read_descr(const header *h, qsr_dtype *ret, qsr_error *e)
{
    const char *descr = h->descr;
    if (strcmp(descr, "|O") == 0 || strcmp(descr, "O") == 0)
        return qsr_fail(e, QSR_E_INPUT, "an array of Python objects (pickle), which is never read; save plain numbers");
    for (size_t i = 0; descr[0] && i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(descr + 1, codes[i].code) != 0) continue;
        bool one_byte = qsr_dtype_size(codes[i].dtype) == 1;
        if (descr[0] == '>' && !one_byte)
            return qsr_fail(e, QSR_E_INPUT, "big-endian numbers ('%s'); save array.astype('<%s')", descr, codes[i].code);
        if (descr[0] != '<' && !(one_byte && (descr[0] == '|' || descr[0] == '>'))) continue;
        *ret = codes[i].dtype;
        return QSR_OK;
    }
    return qsr_fail(e, QSR_E_INPUT, "dtype '%s' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1", descr);
}

static qsr_status measure(qsr_npy *npy, size_t *ret_bytes, qsr_error *e)
{
    size_t product = 1, bytes;
    bool empty = false, fits = true;
    for (size_t i = 0; i < npy->rank && fits;
         i++) { /* zeros left out: the product of any part of the shape must fit as well */
        empty |= npy->shape[i] == 0;
        fits = !npy->shape[i] || qsr_mul_size(product, npy->shape[i], &product);
    }
    if (!fits || !qsr_mul_size(product, qsr_dtype_size(npy->dtype), &bytes))
        return qsr_fail(e, QSR_E_INPUT, "shape is too large for any memory");
    npy->count = empty ? 0 : product;
    *ret_bytes = empty ? 0 : bytes;
    return QSR_OK;
}

/* Finds the header's text and returns where the data begins. */
static qsr_status find_header(const qsr_map *map, header *h, size_t *ret_data, qsr_error *e)
{
    if (map->size < MAGIC_BYTES || memcmp(map->bytes, magic, MAGIC_BYTES) != 0)
        return qsr_fail(e, QSR_E_INPUT, "not a .npy file: it does not begin with \\x93NUMPY");
    size_t length_bytes = map->size > MAGIC_BYTES && map->bytes[MAGIC_BYTES] == 1 ? 2 : 4;
    size_t begin = MAGIC_BYTES + 2 + length_bytes, length = 0;
    if (map->size < begin) return qsr_fail(e, QSR_E_INPUT, "truncated: %zu bytes end inside the header", map->size);
    unsigned major = map->bytes[MAGIC_BYTES], minor = map->bytes[MAGIC_BYTES + 1];
    if (major < 1 || major > 3 || minor != 0)
        return qsr_fail(e, QSR_E_INPUT, "version %u.%u of the .npy format; 1.0, 2.0 and 3.0 are known", major, minor);
    for (size_t i = 0; i < length_bytes; i++) length |= (size_t)map->bytes[MAGIC_BYTES + 2 + i] << (8 * i);
    if (length > map->size - begin)
        return qsr_fail(e, QSR_E_INPUT, "truncated: a header of %zu bytes does not fit in %zu bytes", length, map->size);
    *h = (header){.text = (const char *)map->bytes + begin, .size = length};
    *ret_data = begin + length;
    return QSR_OK;
}

static qsr_status parse_bytes(qsr_npy *npy, bool *ret_fortran, qsr_error *e)
{
    header h;
    size_t begin = 0, bytes = 0;
    qsr_status status = find_header(&npy->map, &h, &begin, e);
    if (!status) status = parse_header(&h, e);
    if (!status) status = read_descr(&h, &npy->dtype, e);
    if (status) return status;
    *ret_fortran = h.fortran_order && h.rank > 1;
    npy->rank = h.rank;
    memcpy(npy->shape, h.shape, sizeof npy->shape);
    if ((status = measure(npy, &bytes, e))) return status;
    size_t has = npy->map.size - begin;
    if (has < bytes)
        return qsr_fail(e, QSR_E_INPUT, "truncated: dtype and shape make %zu bytes, the file has %zu", bytes, has);
    if (has > bytes) return qsr_fail(e, QSR_E_INPUT, "dtype and shape make %zu bytes, the file has %zu", bytes, has);
    npy->data = npy->map.bytes + begin;
    return QSR_OK;
}

qsr_status qsr_npy_open(const char *path, qsr_npy *ret, qsr_error *e)
{
    *ret = (qsr_npy){0};
    bool fortran = false;
    qsr_status status = qsr_map_open(path, &ret->map, e);
    if (!status && (status = parse_bytes(ret, &fortran, e))) qsr_context(e, "%s", path);
    if (!status && fortran)
        status = qsr_fail(e, QSR_E_INPUT, "%s: Fortran order; save numpy.ascontiguousarray(array)", path);
    if (status) qsr_npy_close(ret);
    return status;
}

qsr_status qsr_npy_parse(const unsigned char *bytes, size_t n, qsr_npy *ret, bool *ret_fortran, qsr_error *e)
{
    *ret = (qsr_npy){.map = {bytes, n}};
    return parse_bytes(ret, ret_fortran, e);
}

void qsr_npy_close(qsr_npy *npy)
{
    qsr_map_close(&npy->map);
    *npy = (qsr_npy){0};
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const char *code_of(qsr_dtype dtype)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].dtype == dtype) return codes[i].code;
    return NULL;
}

bool qsr_npy_header(qsr_dtype dtype, size_t rank, const size_t *shape, qsr_text *out)
{
    const char *code = code_of(dtype);
    if (!code) return false;
    qsr_text_append(out, "\x93NUMPY\x01\x00\x00\x00", MAGIC_BYTES + 4);
    qsr_text_add(out, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", qsr_dtype_size(dtype) == 1 ? '|' : '<', code);
    for (size_t i = 0; i < rank; i++) qsr_text_add(out, "%s%zu", i ? ", " : "", shape[i]);
    qsr_text_puts(out, rank == 1 ? ",), }" : "), }");
    while ((out->length + 1) % 64) qsr_text_puts(out, " ");
    qsr_text_puts(out, "\n");
    size_t length = out->length - MAGIC_BYTES - 4;
    out->bytes[MAGIC_BYTES + 2] = (char)(length & 0xff);
    out->bytes[MAGIC_BYTES + 3] = (char)(length >> 8);
    return true;
}

qsr_status qsr_npy_write(const char *path, qsr_dtype dtype, size_t rank, const size_t *shape, const void *data,
                         qsr_error *e)
{
    if (!code_of(dtype)) return qsr_fail(e, QSR_E_UNSUPPORTED, "cannot write %s: NumPy has no %s", path, qsr_dtype_name(dtype));
    if (rank > RANK_LIMIT)
        return qsr_fail(e, QSR_E_INTERNAL, "cannot write %s: %zu dimensions, the limit is %d", path, rank, RANK_LIMIT);
    qsr_npy npy = {.dtype = dtype, .rank = rank};
    if (rank) memcpy(npy.shape, shape, rank * sizeof *shape);
    size_t bytes = 0;
    qsr_status status = measure(&npy, &bytes, e);
    if (status) {
        qsr_context(e, "cannot write %s", path);
        return status;
    }
    qsr_text text = {0};
    qsr_npy_header(dtype, rank, shape, &text);
    qsr_writer w;
    status = qsr_writer_open(&w, path, e);
    if (!status) {
        status = qsr_writer_put(&w, text.bytes, text.length, e);
        if (!status) status = qsr_writer_put(&w, data, bytes, e);
        if (!status)
            status = qsr_writer_commit(&w, e);
        else
            qsr_writer_abort(&w);
    }
    qsr_text_free(&text);
    return status;
}

#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"
#include "format/json.h"

enum { LENGTH_BYTES = 8, LONGEST_HEADER = 100000000 }; /* the limit is the reference implementation's */

typedef struct {
    qsr_tensor tensor; /* first: a list of entries is a list of tensors with a wider stride */
    size_t begin, end; /* bytes from the start of the data */
} entry;

struct qsr_safetensors {
    qsr_map map;
    qsr_arena arena;
    const unsigned char *data; /* what follows the header */
    size_t data_size;
    entry *entries; /* in order of name */
    size_t count;
    const char **metadata; /* key, value, ..., NULL */
};

/* ---- one tensor's entry ------------------------------------------------------------------------------------------ */

/* A list of non-negative integers; `what` names it in errors. */
static qsr_status read_sizes(const json_t *list, size_t most, const char *what, size_t *ret, size_t *ret_n, qsr_error *e)
{
    if (!json_is_array(list)) return qsr_fail(e, QSR_E_INPUT, "%s is not a list", what);
    size_t n = json_array_size(list);
    if (n > most) return qsr_fail(e, QSR_E_INPUT, "%s has %zu numbers, the limit is %zu", what, n, most);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return qsr_fail(e, QSR_E_INPUT, "%s holds something else than whole numbers from 0", what);
        ret[i] = (size_t)json_integer_value(item);
    }
    *ret_n = n;
    return QSR_OK;
}

static qsr_status read_dtype(const json_t *value, qsr_dtype *ret, qsr_error *e)
{
    if (!json_is_string(value)) return qsr_fail(e, QSR_E_INPUT, "dtype is not a string");
    if (qsr_dtype_parse(json_string_value(value), ret)) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "dtype '%.32s' is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL",
                    json_string_value(value));
}

/* Elements and bytes of a shape. Zeros are left out of the check for overflow, so that the product of any part of the shape
 * fits as well. */
static bool measure(const qsr_tensor *t, size_t *ret_count, size_t *ret_bytes)
{
    size_t product = 1, bytes;
    bool empty = false;
    for (size_t i = 0; i < t->rank; i++) {
        empty |= t->shape[i] == 0;
        if (t->shape[i] && !qsr_mul_size(product, t->shape[i], &product)) return false;
    }
    if (!qsr_mul_size(product, qsr_dtype_size(t->dtype), &bytes)) return false;
    *ret_count = empty ? 0 : product;
    *ret_bytes = empty ? 0 : bytes;
    return true;
}

static qsr_status check_extent(const qsr_safetensors *st, entry *it, qsr_error *e)
{
    size_t bytes;
    if (it->begin > it->end)
        return qsr_fail(e, QSR_E_INPUT, "data_offsets end (%zu) before they begin (%zu)", it->end, it->begin);
    if (it->end > st->data_size)
        return qsr_fail(e, QSR_E_INPUT, "data_offsets end at byte %zu, the file has %zu bytes of data", it->end,
                        st->data_size);
    if (!measure(&it->tensor, &it->tensor.count, &bytes))
        return qsr_fail(e, QSR_E_INPUT, "shape is too large for any memory");
    if (bytes != it->end - it->begin)
        return qsr_fail(e, QSR_E_INPUT, "dtype and shape make %zu bytes, data_offsets span %zu", bytes,
                        it->end - it->begin);
    it->tensor.data = st->data + it->begin;
    return QSR_OK;
}

static qsr_status read_entry(const qsr_safetensors *st, const json_t *value, entry *it, qsr_error *e)
{
    if (!json_is_object(value)) return qsr_fail(e, QSR_E_INPUT, "not an object with dtype, shape and data_offsets");
    const json_t *dtype = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!dtype || !shape || !offsets)
        return qsr_fail(e, QSR_E_INPUT, "%s is missing", !dtype ? "dtype" : !shape ? "shape" : "data_offsets");
    if (json_object_size(value) != 3) return qsr_fail(e, QSR_E_INPUT, "holds more keys than dtype, shape and data_offsets");
    size_t range[2], n;
    qsr_status status = read_dtype(dtype, &it->tensor.dtype, e);
    if (!status) status = read_sizes(shape, QSR_MAX_RANK, "shape", it->tensor.shape, &it->tensor.rank, e);
    if (!status) status = read_sizes(offsets, 2, "data_offsets", range, &n, e);
    if (!status && n != 2) status = qsr_fail(e, QSR_E_INPUT, "data_offsets are not two numbers");
    if (status) return status;
    it->begin = range[0];
    it->end = range[1];
    return check_extent(st, it, e);
}

/* ---- the header -------------------------------------------------------------------------------------------------- */

static qsr_status read_metadata(qsr_safetensors *st, json_t *object, qsr_error *e)
{
    if (!json_is_object(object)) return qsr_fail(e, QSR_E_INPUT, "__metadata__ is not an object");
    size_t n = 0;
    const char *key;
    json_t *value;
    st->metadata = qsr_arena_alloc(&st->arena, 2 * json_object_size(object) + 1, sizeof *st->metadata);
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value)) return qsr_fail(e, QSR_E_INPUT, "__metadata__ '%.100s' is not a string", key);
        st->metadata[n++] = qsr_arena_strdup(&st->arena, key);
        st->metadata[n++] = qsr_arena_strdup(&st->arena, json_string_value(value));
    }
    return QSR_OK;
}

static qsr_status read_header(qsr_safetensors *st, json_t *header, qsr_error *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(header)) return qsr_fail(e, QSR_E_INPUT, "header is not an object");
    st->entries = qsr_arena_alloc(&st->arena, json_object_size(header), sizeof *st->entries);
    json_object_foreach(header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            qsr_status status = read_metadata(st, value, e);
            if (status) return status;
            continue;
        }
        entry *it = &st->entries[st->count++];
        it->tensor.name = qsr_arena_strdup(&st->arena, key);
        qsr_status status = read_entry(st, value, it, e);
        if (status) {
            qsr_context(e, "tensor '%.100s'", key);
            return status;
        }
    }
    return QSR_OK;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->tensor.name, ((const entry *)b)->tensor.name);
}

/* Every byte of the data belongs to exactly one tensor. Leaves the entries in order of name. */
static qsr_status check_layout(qsr_safetensors *st, qsr_error *e)
{
    size_t reached = 0;
    qsr_status status = QSR_OK;
    qsort(st->entries, st->count, sizeof *st->entries, by_place);
    for (size_t i = 0; i < st->count && !status; i++) {
        const entry *it = &st->entries[i];
        if (it->begin < reached)
            status = qsr_fail(e, QSR_E_INPUT,
                              "tensors '%.100s' and '%.100s' overlap: one ends at byte %zu, the other begins at %zu",
                              it[-1].tensor.name, it->tensor.name, reached, it->begin);
        else if (it->begin > reached)
            status = qsr_fail(e, QSR_E_INPUT, "bytes %zu to %zu of the data belong to no tensor", reached, it->begin);
        reached = it->end;
    }
    if (!status && reached < st->data_size)
        status = qsr_fail(e, QSR_E_INPUT, "bytes %zu to %zu of the data belong to no tensor", reached, st->data_size);
    qsort(st->entries, st->count, sizeof *st->entries, by_name);
    return status;
}

/* Where header and data lie. */
static qsr_status measure_file(qsr_safetensors *st, size_t *ret_length, qsr_error *e)
{
    size_t size = st->map.size;
    uint64_t length;
    if (size < LENGTH_BYTES)
        return qsr_fail(e, QSR_E_INPUT, "too short for a safetensors file: %zu bytes, its header length alone has 8", size);
    memcpy(&length, st->map.bytes, sizeof length);
    if (length > size - LENGTH_BYTES)
        return qsr_fail(e, QSR_E_INPUT,
                        "not a safetensors file, or a truncated one: a header of %llu bytes does not fit in %zu bytes",
                        (unsigned long long)length, size);
    if (length > LONGEST_HEADER)
        return qsr_fail(e, QSR_E_INPUT, "header of %llu bytes, the limit is %d", (unsigned long long)length,
                        LONGEST_HEADER);
    if (length == 0 || st->map.bytes[LENGTH_BYTES] != '{')
        return qsr_fail(e, QSR_E_INPUT, "header does not begin with '{'");
    *ret_length = (size_t)length;
    st->data = st->map.bytes + LENGTH_BYTES + length;
    st->data_size = size - LENGTH_BYTES - (size_t)length;
    return QSR_OK;
}

static qsr_status parse_file(qsr_safetensors *st, qsr_error *e)
{
    size_t length = 0;
    json_t *header;
    qsr_status status = measure_file(st, &length, e);
    if (!status) status = qsr_json_parse("header", (const char *)st->map.bytes + LENGTH_BYTES, length, &header, e);
    if (status) return status;
    status = read_header(st, header, e);
    json_decref(header);
    return status ? status : check_layout(st, e);
}

qsr_status qsr_safetensors_open(const char *path, qsr_safetensors **ret, qsr_error *e)
{
    *ret = NULL;
    qsr_safetensors *st = qsr_xcalloc(1, sizeof *st);
    qsr_status status = qsr_map_open(path, &st->map, e);
    if (!status && (status = parse_file(st, e))) qsr_context(e, "%s", path);
    if (status) {
        qsr_safetensors_close(st);
        return status;
    }
    *ret = st;
    return QSR_OK;
}

void qsr_safetensors_close(qsr_safetensors *st)
{
    if (!st) return;
    qsr_map_close(&st->map);
    qsr_arena_free(&st->arena);
    free(st);
}

size_t qsr_safetensors_count(const qsr_safetensors *st) { return st->count; }

const qsr_tensor *qsr_safetensors_at(const qsr_safetensors *st, size_t i) { return &st->entries[i].tensor; }

const qsr_tensor *qsr_safetensors_find(const qsr_safetensors *st, const char *name)
{
    entry key = {.tensor = {.name = name}};
    const entry *found = st->count ? bsearch(&key, st->entries, st->count, sizeof key, by_name) : NULL;
    return found ? &found->tensor : NULL;
}

const char *qsr_safetensors_metadata(const qsr_safetensors *st, const char *key)
{
    for (const char **pair = st->metadata; pair && *pair; pair += 2)
        if (strcmp(pair[0], key) == 0) return pair[1];
    return NULL;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int by_alignment(const void *a, const void *b)
{
    const qsr_tensor *x = *(const qsr_tensor *const *)a, *y = *(const qsr_tensor *const *)b;
    size_t m = qsr_dtype_size(x->dtype), n = qsr_dtype_size(y->dtype);
    if (m != n) return m > n ? -1 : 1;
    return strcmp(x->name, y->name);
}

static qsr_status add_entry(json_t *header, const qsr_tensor *t, size_t *offset, qsr_error *e)
{
    size_t count, bytes, end;
    if (t->rank > QSR_MAX_RANK || !measure(t, &count, &bytes) || count != t->count || !qsr_add_size(*offset, bytes, &end) ||
        end > INT64_MAX)
        return qsr_fail(e, QSR_E_INTERNAL, "tensor '%.100s': count does not match its shape, or both are too large",
                        t->name);
    if (json_object_get(header, t->name) || strcmp(t->name, "__metadata__") == 0)
        return qsr_fail(e, QSR_E_INTERNAL, "tensor '%.100s': the name is taken", t->name);
    json_t *shape = json_array();
    for (size_t i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    json_t *it = json_pack("{s:s, s:o, s:[I, I]}", "dtype", qsr_dtype_name(t->dtype), "shape", shape, "data_offsets",
                           (json_int_t)*offset, (json_int_t)end);
    if (!it || json_object_set_new(header, t->name, it) != 0)
        return qsr_fail(e, QSR_E_INTERNAL, "tensor '%.100s': the name is not UTF-8", t->name);
    *offset = end;
    return QSR_OK;
}

static qsr_status add_metadata(json_t *header, const char *const *metadata, qsr_error *e)
{
    if (!metadata || !metadata[0]) return QSR_OK;
    json_t *object = json_object();
    json_object_set_new(header, "__metadata__", object);
    for (; metadata[0]; metadata += 2)
        if (json_object_set_new(object, metadata[0], json_string(metadata[1])) != 0)
            return qsr_fail(e, QSR_E_INTERNAL, "metadata '%.100s' is not UTF-8", metadata[0]);
    return QSR_OK;
}

/* The header's length and text, padded with blanks so that the data begins at a multiple of 8. */
static qsr_status make_header(const qsr_tensor **sorted, size_t n, const char *const *metadata, qsr_text *out, qsr_error *e)
{
    json_t *header = json_object();
    size_t offset = 0;
    qsr_status status = add_metadata(header, metadata, e);
    for (size_t i = 0; i < n && !status; i++) status = add_entry(header, sorted[i], &offset, e);
    if (!status) {
        uint64_t length = 0;
        qsr_text_append(out, &length, sizeof length);
        qsr_json_line(header, out);
        while (out->length % 8) qsr_text_puts(out, " ");
        length = out->length - LENGTH_BYTES;
        memcpy(out->bytes, &length, sizeof length);
        if (length > LONGEST_HEADER) status = qsr_fail(e, QSR_E_INTERNAL, "the header exceeds %d bytes", LONGEST_HEADER);
    }
    json_decref(header);
    return status;
}

qsr_status qsr_safetensors_begin(qsr_writer *w, const char *path, const qsr_tensor *tensors, size_t n,
                                 const char *const *metadata, const qsr_tensor **ret_order, qsr_error *e)
{
    for (size_t i = 0; i < n; i++) ret_order[i] = &tensors[i];
    qsort(ret_order, n, sizeof *ret_order, by_alignment);
    qsr_text header = {0};
    *w = (qsr_writer){.fd = -1};
    qsr_status status = make_header(ret_order, n, metadata, &header, e);
    if (status)
        qsr_context(e, "cannot write %s", path);
    else
        status = qsr_writer_open(w, path, e);
    if (!status && (status = qsr_writer_put(w, header.bytes, header.length, e))) qsr_writer_abort(w);
    qsr_text_free(&header);
    return status;
}

qsr_status qsr_safetensors_write(const char *path, const qsr_tensor *tensors, size_t n, const char *const *metadata,
                                 qsr_error *e)
{
    const qsr_tensor **sorted = qsr_xcalloc(n, sizeof *sorted);
    qsr_writer w;
    qsr_status status = qsr_safetensors_begin(&w, path, tensors, n, metadata, sorted, e);
    bool open = !status;
    for (size_t i = 0; i < n && !status; i++)
        status = qsr_writer_put(&w, sorted[i]->data, sorted[i]->count * qsr_dtype_size(sorted[i]->dtype), e);
    if (!status)
        status = qsr_writer_commit(&w, e);
    else if (open)
        qsr_writer_abort(&w);
    free(sorted);
    return status;
}

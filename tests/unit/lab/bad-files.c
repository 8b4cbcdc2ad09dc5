#include "bad-files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit.h"
#include "../zip-fixture.h"
#include "base/fs.h"
#include "base/text.h"
#include "child.h"
#include "format/dtype.h"
#include "format/json.h"

enum { MOST_TENSORS = 64, MOST_RANK = 8 };

static char nothing[1];

char *next_line(char **at)
{
    if (!**at) return NULL;
    char *line = *at, *end = strchr(line, '\n');
    *at = end ? end + 1 : line + strlen(line);
    if (end) *end = 0;
    return line;
}

char *next_word(char **at)
{
    char *word = *at + strspn(*at, " ");
    size_t n = strcspn(word, " ");
    *at = word + n + (word[n] == ' ');
    word[n] = 0;
    return word;
}

static size_t number(const char *text)
{
    uint64_t value;
    if (!qsr_parse_uint(text, &value)) fail_msg("'%s' is not a number", text);
    return (size_t)value;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    qsr_error e = {0};
    qsr_arena arena = {0};
    if (qsr_mkdirs(qsr_path_folder(&arena, name), &e) || qsr_write_file(name, bytes ? bytes : "", n, &e))
        fail_msg("%s", e.text);
    qsr_arena_free(&arena);
}

/* ---- plain files ------------------------------------------------------------------------------------------------- */

static void make_bytes(const char *name, const char *body)
{
    qsr_text out = {0};
    for (; *body; body++) {
        unsigned value;
        if (*body == '\n') continue;
        if (*body == '\\' && body[1] == 'x' && sscanf(body + 2, "%2x", &value) == 1) {
            qsr_text_append(&out, &(unsigned char){(unsigned char)value}, 1);
            body += 3;
        } else if (*body == '\\') {
            body++;
            qsr_text_append(&out, *body == 'n' ? "\n" : *body == 't' ? "\t" : body, 1);
        } else {
            qsr_text_append(&out, body, 1);
        }
    }
    write_file(name, out.bytes, out.length);
    qsr_text_free(&out);
}

static void copy_file(const char *name, const char *from, char *body)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    char *bytes, *line;
    size_t n;
    if (qsr_read_file(&arena, from, 64 << 20, &bytes, &n, &e)) fail_msg("%s", e.text);
    while ((line = next_line(&body))) {
        const char *verb = next_word(&line), *a = next_word(&line), *b = next_word(&line);
        if (strcmp(verb, "cut") == 0) {
            n = number(a);
            continue;
        }
        unsigned char old[64], new[64];
        size_t length = strlen(a) / 2, places = 0;
        assert_true(strcmp(verb, "replace") == 0 && strlen(a) == strlen(b) && length && length <= sizeof old);
        for (size_t i = 0; i < length; i++)
            assert_true(sscanf(a + 2 * i, "%2hhx", &old[i]) && sscanf(b + 2 * i, "%2hhx", &new[i]));
        for (size_t i = 0; i + length <= n; i++)
            if (memcmp(bytes + i, old, length) == 0) memcpy(bytes + i, new, length), places++;
        if (!places) fail_msg("%s does not hold %s", from, a);
    }
    write_file(name, bytes, n);
    qsr_arena_free(&arena);
}

static void make_sparse(const char *name, size_t n, const char *body)
{
    make_bytes(name, body);
    assert_int_equal(truncate(name, (off_t)n), 0);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

typedef struct {
    size_t rank, dims[MOST_RANK], count;
} shape;

/* 4x8; - for none */
static shape take_shape(const char *text)
{
    shape s = {.count = 1};
    if (strcmp(text, "-") == 0) return s;
    do {
        char *end;
        s.dims[s.rank] = strtoul(text, &end, 10);
        s.count *= s.dims[s.rank++];
        text = *end == 'x' ? end + 1 : end;
    } while (*text && s.rank < MOST_RANK);
    return s;
}

static uint16_t half_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t exponent = bits >> 23 & 0xff, sign = bits >> 16 & 0x8000;
    if (exponent == 0xff) return (uint16_t)(sign | 0x7c00 | (bits & 0x7fffff ? 0x200 : 0));
    if (exponent < 113) return (uint16_t)sign; /* too small for a normal half: zero will do */
    return (uint16_t)(sign | (exponent - 112) << 10 | (bits >> 13 & 0x3ff));
}

static void put_value(qsr_text *out, qsr_dtype dtype, double value)
{
    unsigned char bytes[8] = {0};
    size_t size = qsr_dtype_size(dtype);
    float single = (float)value;
    uint16_t half = half_of(single);
    int64_t whole = qsr_dtype_is_real(dtype) ? 0 : (int64_t)value;
    switch (dtype) {
    case QSR_F64:
        memcpy(bytes, &value, size);
        break;
    case QSR_F32:
        memcpy(bytes, &single, size);
        break;
    case QSR_BF16:
        memcpy(bytes, (char *)&single + 2, size);
        break;
    case QSR_F16:
        memcpy(bytes, &half, size);
        break;
    default:
        memcpy(bytes, &whole, size);
        break; /* the low bytes: little-endian machines only, as the formats are */
    }
    qsr_text_append(out, bytes, size);
}

/* ramp | zero, then INDEX=NUMBER ... */
static void put_values(qsr_text *out, qsr_dtype dtype, size_t count, char *words)
{
    size_t begin = out->length, size = qsr_dtype_size(dtype);
    bool zero = qsr_starts_with(words, "zero");
    if (zero || qsr_starts_with(words, "ramp")) next_word(&words);
    for (size_t i = 0; i < count; i++) {
        double ramp = qsr_dtype_is_real(dtype) ? (double)((i * 37 + 11) % 101) / 101 - 0.5 : (double)(i % 32);
        put_value(out, dtype, zero ? 0 : ramp);
    }
    for (char *word = next_word(&words); *word; word = next_word(&words)) {
        char *value;
        size_t index = strtoul(word, &value, 10);
        qsr_text one = {0};
        assert_true(*value == '=' && index < count);
        put_value(&one, dtype, strtod(value + 1, NULL));
        memcpy(out->bytes + begin + index * size, one.bytes, size);
        qsr_text_free(&one);
    }
}

/* ---- safetensors ------------------------------------------------------------------------------------------------- */

typedef struct {
    char *name, *entry; /* entry: as text, else made from the rest */
    char dtype[8];
    shape shape;
    qsr_text data;
} tensor;

typedef struct {
    tensor tensors[MOST_TENSORS];
    size_t n, pad;
    const char *header, *length, *data; /* NULL: what is right */
} tensors_file;

static tensor *find_tensor(tensors_file *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->tensors[i].name, name) == 0) return &f->tensors[i];
    return NULL;
}

static void free_tensor(tensor *t)
{
    qsr_text_free(&t->data);
    free(t->name);
    *t = (tensor){0};
}

static void drop_tensor(tensors_file *f, const char *name)
{
    tensor *t = find_tensor(f, name);
    if (!t) fail_msg("no tensor %s to drop", name);
    free_tensor(t);
    memmove(t, t + 1, (size_t)(f->tensors + f->n-- - t - 1) * sizeof *t);
}

/* Replaces a tensor of that name only where `replace` says so, since a name that is there twice is a case of its own. */
static void put_tensor(tensors_file *f, const char *name, const char *dtype, const char *dims, char *values, bool replace)
{
    qsr_dtype type;
    tensor *t = replace ? find_tensor(f, name) : NULL;
    assert_true(f->n < MOST_TENSORS);
    if (t)
        free_tensor(t);
    else
        t = &f->tensors[f->n++];
    *t = (tensor){.name = strdup(name), .shape = take_shape(dims)};
    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    if (!qsr_dtype_parse(dtype, &type)) fail_msg("no dtype %s", dtype);
    put_values(&t->data, type, t->shape.count, values);
}

/* false: not a line about tensors. The line must live as long as the file. */
static bool take_tensor_line(tensors_file *f, char *line, bool replace)
{
    char *verb = next_word(&line);
    if (strcmp(verb, "tensor") == 0) {
        const char *name = next_word(&line), *dtype = next_word(&line), *dims = next_word(&line);
        put_tensor(f, name, dtype, dims, line, replace);
    } else if (strcmp(verb, "entry") == 0) {
        assert_true(f->n < MOST_TENSORS);
        f->tensors[f->n] = (tensor){.name = strdup(next_word(&line))};
        f->tensors[f->n++].entry = line;
    } else if (strcmp(verb, "header") == 0) {
        f->header = line;
    } else if (strcmp(verb, "length") == 0) {
        f->length = line;
    } else if (strcmp(verb, "data") == 0) {
        f->data = line;
    } else if (strcmp(verb, "pad") == 0) {
        f->pad = number(line);
    } else {
        return false;
    }
    return true;
}

static void put_header(const tensors_file *f, qsr_text *out)
{
    size_t offset = 0;
    qsr_text_puts(out, "{");
    for (size_t i = 0; i < f->n; i++) {
        const tensor *t = &f->tensors[i];
        qsr_text_add(out, "%s\"%s\":", i ? "," : "", t->name);
        if (t->entry) {
            qsr_text_puts(out, t->entry);
            continue;
        }
        qsr_text_add(out, "{\"dtype\":\"%s\",\"shape\":[", t->dtype);
        for (size_t d = 0; d < t->shape.rank; d++) qsr_text_add(out, "%s%zu", d ? "," : "", t->shape.dims[d]);
        qsr_text_add(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + t->data.length);
        offset += t->data.length;
    }
    qsr_text_puts(out, "}");
}

static void put_data(const tensors_file *f, qsr_text *out)
{
    size_t begin = out->length;
    for (size_t i = 0; i < f->n; i++) qsr_text_append(out, f->tensors[i].data.bytes, f->tensors[i].data.length);
    if (!f->data) return;
    size_t end = begin + number(f->data);
    while (out->length < end) qsr_text_append(out, "", 1);
    out->length = end;
}

static void write_tensors(tensors_file *f, const char *name)
{
    qsr_text header = {0}, out = {0};
    if (f->header)
        qsr_text_puts(&header, f->header);
    else
        put_header(f, &header);
    for (size_t i = 0; i < f->pad; i++) qsr_text_puts(&header, " ");
    uint64_t length = f->length ? number(f->length) : header.length;
    qsr_text_append(&out, &length, sizeof length);
    qsr_text_append(&out, header.bytes, header.length);
    put_data(f, &out);
    write_file(name, out.bytes, out.length);
    qsr_text_free(&header);
    qsr_text_free(&out);
    while (f->n) free_tensor(&f->tensors[--f->n]);
}

static void make_safetensors(const char *name, char *body)
{
    tensors_file f = {.n = 0};
    for (char *line; (line = next_line(&body));)
        if (!take_tensor_line(&f, line, false)) fail_msg("%s: unknown line '%s'", name, line);
    write_tensors(&f, name);
}

/* ---- npy --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *magic, *header, *length, *data;
    unsigned major, minor;
    qsr_text made, values;
} array_file;

static void put_array(array_file *f, char *line)
{
    static const struct {
        const char *code;
        qsr_dtype dtype;
    } codes[] = {{"f8", QSR_F64}, {"f4", QSR_F32}, {"f2", QSR_F16}, {"i8", QSR_I64}, {"i4", QSR_I32}, {"i2", QSR_I16},
                 {"i1", QSR_I8},  {"u8", QSR_U64}, {"u4", QSR_U32}, {"u2", QSR_U16}, {"u1", QSR_U8},  {"b1", QSR_BOOL}};
    const char *descr = next_word(&line);
    shape s = take_shape(next_word(&line));
    qsr_dtype dtype = QSR_U64; /* of eight bytes, as a pointer to a Python object is */
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(descr + 1, codes[i].code) == 0) dtype = codes[i].dtype;
    qsr_text_add(&f->made, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (size_t d = 0; d < s.rank; d++) qsr_text_add(&f->made, "%zu, ", s.dims[d]);
    qsr_text_puts(&f->made, "), }\n");
    put_values(&f->values, dtype, s.count, line);
}

static void make_npy(const char *name, char *body)
{
    array_file f = {.magic = "\x93NUMPY", .major = 1};
    qsr_text out = {0};
    for (char *line; (line = next_line(&body));) {
        const char *verb = next_word(&line);
        if (strcmp(verb, "array") == 0)
            put_array(&f, line);
        else if (strcmp(verb, "header") == 0)
            f.header = line;
        else if (strcmp(verb, "length") == 0)
            f.length = line;
        else if (strcmp(verb, "data") == 0)
            f.data = line;
        else if (strcmp(verb, "magic") == 0)
            f.magic = line;
        else if (strcmp(verb, "version") == 0)
            f.major = (unsigned)number(next_word(&line)), f.minor = (unsigned)number(line);
        else
            fail_msg("%s: unknown line '%s'", name, verb);
    }
    const char *header = f.header ? f.header : f.made.bytes ? f.made.bytes : "";
    size_t length = f.length ? number(f.length) : strlen(header);
    qsr_text_puts(&out, f.magic);
    qsr_text_append(&out, (unsigned char[]){(unsigned char)f.major, (unsigned char)f.minor}, 2);
    for (size_t i = 0; i < (f.major == 1 ? 2 : 4); i++)
        qsr_text_append(&out, &(unsigned char){(unsigned char)(length >> 8 * i)}, 1);
    qsr_text_puts(&out, header);
    size_t end = out.length + (f.data ? number(f.data) : f.values.length);
    qsr_text_append(&out, f.values.bytes ? f.values.bytes : "", f.values.length);
    while (out.length < end) qsr_text_append(&out, "", 1);
    write_file(name, out.bytes, end);
    qsr_text_free(&f.made);
    qsr_text_free(&f.values);
    qsr_text_free(&out);
}

/* ---- archives ---------------------------------------------------------------------------------------------------- */

static void make_npz(const char *name, char *body)
{
    enum { MOST = 16 };
    zip_member members[MOST];
    size_t n = 0;
    qsr_arena arena = {0};
    qsr_text out = {0};
    for (char *line; (line = next_line(&body));) {
        const char *verb = next_word(&line);
        zip_member *last = n ? &members[n - 1] : NULL;
        if ((strcmp(verb, "stored") == 0 || strcmp(verb, "deflated") == 0) && n < MOST) {
            const char *member = next_word(&line), *from = next_word(&line);
            char *bytes;
            size_t size;
            assert_int_equal(qsr_read_file(&arena, from, 1 << 20, &bytes, &size, NULL), QSR_OK);
            members[n++] = (zip_member){member, bytes, size, verb[0] == 'd', -1, -1, 0, -1};
        } else if (last && strcmp(verb, "size") == 0) {
            last->size = (int64_t)number(line);
        } else if (last && strcmp(verb, "method") == 0) {
            last->method = (int64_t)number(line);
        } else if (last && strcmp(verb, "flags") == 0) {
            last->flags = (int64_t)number(line);
        } else if (last && strcmp(verb, "crc") == 0) {
            last->crc = (int64_t)number(line);
        } else {
            fail_msg("%s: unknown line '%s'", name, verb);
        }
    }
    zip_fixture(members, n, &out);
    write_file(name, out.bytes, out.length);
    qsr_text_free(&out);
    qsr_arena_free(&arena);
}

/* ---- a GPT-2 ----------------------------------------------------------------------------------------------------- */

static void put_model(tensors_file *f)
{
    static const struct {
        const char *name, *dims;
    } tops[] = {{"wte.weight", "32x8"}, {"wpe.weight", "16x8"}, {"ln_f.weight", "8"}, {"ln_f.bias", "8"}},
      parts[] = {{"ln_1.weight", "8"},           {"ln_1.bias", "8"},
                 {"attn.c_attn.weight", "8x24"}, {"attn.c_attn.bias", "24"},
                 {"attn.c_proj.weight", "8x8"},  {"attn.c_proj.bias", "8"},
                 {"ln_2.weight", "8"},           {"ln_2.bias", "8"},
                 {"mlp.c_fc.weight", "8x32"},    {"mlp.c_fc.bias", "32"},
                 {"mlp.c_proj.weight", "32x8"},  {"mlp.c_proj.bias", "8"}};
    char name[64];
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++)
        put_tensor(f, tops[i].name, "F32", tops[i].dims, nothing, false);
    for (size_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            snprintf(name, sizeof name, "h.%zu.%s", layer, parts[i].name);
            put_tensor(f, name, "F32", parts[i].dims, nothing, false);
        }
}

static void set_key(json_t *config, char *line)
{
    const char *key = next_word(&line);
    if (!*line) {
        json_object_del(config, key);
        return;
    }
    json_t *value = json_loads(line, JSON_DECODE_ANY, NULL);
    if (!value) fail_msg("config %s: '%s' is not JSON", key, line);
    json_object_set_new(config, key, value);
}

static void make_gpt2(const char *folder, char *body)
{
    qsr_arena arena = {0};
    tensors_file f = {.n = 0};
    json_t *config =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:f}", "model_type", "gpt2", "n_embd", 8, "n_head", 2, "n_layer", 2,
                  "n_positions", 16, "vocab_size", 32, "activation_function", "gelu_new", "layer_norm_epsilon", 1e-5);
    put_model(&f);
    for (char *line; (line = next_line(&body));) {
        if (qsr_starts_with(line, "config "))
            set_key(config, line + strlen("config "));
        else if (qsr_starts_with(line, "drop "))
            drop_tensor(&f, line + strlen("drop "));
        else if (!take_tensor_line(&f, line, true))
            fail_msg("%s: unknown line '%s'", folder, line);
    }
    assert_int_equal(qsr_mkdirs(folder, NULL), QSR_OK);
    assert_int_equal(qsr_json_write(qsr_path_join(&arena, folder, "config.json"), config, NULL), QSR_OK);
    write_tensors(&f, qsr_path_join(&arena, folder, "model.safetensors"));
    json_decref(config);
    qsr_arena_free(&arena);
}

/* ---- */

bool make_file(char *head, char *body)
{
    const char *kind = next_word(&head), *name = next_word(&head), *more = next_word(&head);
    if (strcmp(kind, "@file") == 0)
        write_file(name, body, strlen(body));
    else if (strcmp(kind, "@bytes") == 0)
        make_bytes(name, body);
    else if (strcmp(kind, "@folder") == 0)
        assert_int_equal(qsr_mkdirs(name, NULL), QSR_OK);
    else if (strcmp(kind, "@link") == 0)
        assert_int_equal(symlink(more, name), 0);
    else if (strcmp(kind, "@fifo") == 0)
        assert_int_equal(mkfifo(name, 0666), 0);
    else if (strcmp(kind, "@sparse") == 0)
        make_sparse(name, number(more), body);
    else if (strcmp(kind, "@mode") == 0)
        assert_int_equal(chmod(name, (mode_t)strtoul(more, NULL, 8)), 0);
    else if (strcmp(kind, "@copy") == 0)
        copy_file(name, more, body);
    else if (strcmp(kind, "@safetensors") == 0)
        make_safetensors(name, body);
    else if (strcmp(kind, "@npy") == 0)
        make_npy(name, body);
    else if (strcmp(kind, "@npz") == 0)
        make_npz(name, body);
    else if (strcmp(kind, "@gpt2") == 0)
        make_gpt2(name, body);
    else
        return false;
    return true;
}

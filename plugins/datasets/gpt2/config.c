#include "config.h"

#include <string.h>

#include "format/json.h"

enum { FILE_LIMIT = 1 << 20 };

/* Where a key is looked up, and under which name problems are reported. */
typedef struct {
    const json_t *root;
    const char *path;
    qsr_error *e;
} source;

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

/* A key that is absent or null is left at *ret, which must not be 0 then. */
static qsr_status read_count(const source *s, const char *key, size_t limit, size_t *ret)
{
    const json_t *value = json_object_get(s->root, key);
    if ((!value || json_is_null(value)) && *ret) return QSR_OK;
    if (!value) return qsr_fail(s->e, QSR_E_INPUT, "%s: %s is missing", s->path, key);
    if (!json_is_integer(value))
        return qsr_fail(s->e, QSR_E_INPUT, "%s: %s is %s, expected an integer", s->path, key, kind_of(value));
    const json_int_t count = json_integer_value(value);
    if (count < 1 || (unsigned long long)count > limit)
        return qsr_fail(s->e, QSR_E_INPUT, "%s: %s=%lld is outside 1..%zu", s->path, key, (long long)count, limit);
    *ret = (size_t)count;
    return QSR_OK;
}

static qsr_status read_epsilon(const source *s, double *ret)
{
    const json_t *value = json_object_get(s->root, "layer_norm_epsilon");
    *ret = 1e-5;
    if (!value) return QSR_OK;
    if (!json_is_number(value))
        return qsr_fail(s->e, QSR_E_INPUT, "%s: layer_norm_epsilon is %s, expected a number", s->path, kind_of(value));
    *ret = json_number_value(value);
    if (*ret > 0 && *ret <= 1) return QSR_OK;
    return qsr_fail(s->e, QSR_E_INPUT, "%s: layer_norm_epsilon=%g is outside (0, 1]", s->path, *ret);
}

/* An absent key means expected[0], as it does for HuggingFace; the others are names of the same thing. */
static qsr_status expect_word(const source *s, const char *key, const char *const *expected)
{
    const json_t *value = json_object_get(s->root, key);
    if (!value) return QSR_OK;
    if (!json_is_string(value))
        return qsr_fail(s->e, QSR_E_INPUT, "%s: %s is %s, expected a string", s->path, key, kind_of(value));
    for (const char *const *word = expected; *word; word++)
        if (strcmp(json_string_value(value), *word) == 0) return QSR_OK;
    return qsr_fail(s->e, QSR_E_UNSUPPORTED, "%s: %s is \"%s\", but this plugin computes \"%s\" alone", s->path, key,
                    json_string_value(value), expected[0]);
}

/* A key that is absent is left at *ret. */
static qsr_status read_flag(const source *s, const char *key, bool *ret)
{
    const json_t *value = json_object_get(s->root, key);
    if (!value) return QSR_OK;
    if (!json_is_boolean(value))
        return qsr_fail(s->e, QSR_E_INPUT, "%s: %s is %s, expected true or false", s->path, key, kind_of(value));
    *ret = json_is_true(value);
    return QSR_OK;
}

static qsr_status refuse_cross_attention(const source *s)
{
    bool crossed = false;
    qsr_status status = read_flag(s, "add_cross_attention", &crossed);
    if (status || !crossed) return status;
    return qsr_fail(s->e, QSR_E_UNSUPPORTED,
                    "%s: add_cross_attention is true, but this plugin computes decoders that attend to "
                    "their own text alone",
                    s->path);
}

static qsr_status read_counts(const source *s, gpt2_config *c)
{
    qsr_status status = read_count(s, "n_embd", 1 << 16, &c->d);
    if (!status) status = read_count(s, "n_layer", 1 << 12, &c->layers);
    if (!status) status = read_count(s, "n_head", 1 << 16, &c->heads);
    if (!status) status = read_count(s, "n_positions", 1 << 20, &c->positions);
    if (!status) status = read_count(s, "vocab_size", 1 << 24, &c->vocabulary);
    if (status) return status;
    c->inner = 4 * c->d;
    status = read_count(s, "n_inner", 1 << 20, &c->inner);
    if (!status && c->d % c->heads)
        return qsr_fail(s->e, QSR_E_INPUT, "%s: n_embd=%zu is not a multiple of n_head=%zu", s->path, c->d, c->heads);
    return status;
}

/* Nobody needs these but those who ask for them by name, so a file without usable ones is fine. */
static int64_t read_token(const source *s, const char *key, size_t vocabulary)
{
    const json_t *value = json_object_get(s->root, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return -1;
    const json_int_t id = json_integer_value(value);
    return (unsigned long long)id < vocabulary ? (int64_t)id : -1;
}

qsr_status gpt2_config_read(const char *path, gpt2_config *ret, qsr_error *e)
{
    json_t *root;
    qsr_status status = qsr_json_read(path, FILE_LIMIT, &root, e);
    if (status) return status;
    static const char *const types[] = {"gpt2", NULL};
    static const char *const gelu_tanh[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast", NULL};
    const source s = {root, path, e};
    *ret = (gpt2_config){.tied = true, .scale_by_width = true};
    if (!json_is_object(root))
        status = qsr_fail(e, QSR_E_INPUT, "%s: the file is %s, expected an object", path, kind_of(root));
    if (!status) status = expect_word(&s, "model_type", types);
    if (!status) status = expect_word(&s, "activation_function", gelu_tanh);
    if (!status) status = refuse_cross_attention(&s);
    if (!status) status = read_flag(&s, "scale_attn_weights", &ret->scale_by_width);
    if (!status) status = read_flag(&s, "scale_attn_by_inverse_layer_idx", &ret->scale_by_layer);
    if (!status) status = read_flag(&s, "tie_word_embeddings", &ret->tied);
    if (!status) status = read_counts(&s, ret);
    if (!status) status = read_epsilon(&s, &ret->epsilon);
    ret->bos = read_token(&s, "bos_token_id", ret->vocabulary);
    ret->eot = read_token(&s, "eos_token_id", ret->vocabulary);
    json_decref(root);
    return status;
}

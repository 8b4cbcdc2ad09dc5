#include "train/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/text.h"
#include "format/safetensors.h"

enum { MOST_TENSORS = 64, MOST_KEYS = 200, REPORT_VALUES = 9 };

/* The learner as named tensors, for both directions. */
typedef struct {
    qsr_arena arena;
    qsr_tensor tensor[MOST_TENSORS];
    size_t n;
    const char *keys[2 * MOST_KEYS + 1]; /* metadata: key, value, ..., NULL */
    size_t n_keys;
    double *report; /* [REPORT_VALUES + losses] */
} snapshot;

static void add(snapshot *s, const char *name, qsr_dtype dtype, size_t n, const void *data)
{
    s->tensor[s->n++] = (qsr_tensor){qsr_arena_strdup(&s->arena, name), dtype, 1, {n}, n, data};
}

static void note(snapshot *s, const char *key, const char *value)
{
    if (s->n_keys >= MOST_KEYS) return;
    s->keys[2 * s->n_keys] = qsr_arena_strdup(&s->arena, key);
    s->keys[2 * s->n_keys + 1] = qsr_arena_strdup(&s->arena, value);
    s->n_keys++;
}

static void note_count(snapshot *s, const char *key, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    note(s, key, text);
}

/* ---- what there is to keep --------------------------------------------------------------------------------------- */

static size_t report_size(const qsr_learner *l) { return REPORT_VALUES + l->n_losses; }

static void pack_report(const qsr_learner *l, double *out)
{
    const qsr_step_report *r = &l->report;
    const double values[REPORT_VALUES] = {r->loss, r->l0, r->l1, r->grad_norm, r->lr, (double)r->dead, (double)r->dead_in_batch,
                                          r->param_update[0], r->param_update[1]};
    memcpy(out, values, sizeof values);
    for (size_t i = 0; i < l->n_losses; i++) out[REPORT_VALUES + i] = l->losses[i].value;
}

static void unpack_report(qsr_learner *l, const double *in)
{
    l->report = (qsr_step_report){.step = l->step ? l->step - 1 : 0, .tokens = l->step * l->batch, .loss = in[0], .l0 = in[1],
                                  .l1 = in[2], .grad_norm = in[3], .lr = in[4], .dead = (uint64_t)in[5],
                                  .dead_in_batch = (uint64_t)in[6], .param_update = {in[7], in[8]}};
    for (size_t i = 0; i < l->n_losses; i++) l->losses[i].value = in[REPORT_VALUES + i];
}

static void add_moments(snapshot *s, const char *name, const qsr_moments *m, size_t n)
{
    add(s, qsr_arena_printf(&s->arena, "adam.m.%s", name), QSR_F32, n, m->m);
    add(s, qsr_arena_printf(&s->arena, "adam.v.%s", name), QSR_F32, n, m->v);
}

/* Pointers into the learner: reading a checkpoint fills the same places that writing one reads. */
static void add_learner(snapshot *s, const qsr_learner *l)
{
    size_t n = l->d_in * l->d_sae;
    const qsr_params *p = &l->sae.params;
    add(s, "w_enc", QSR_F32, n, p->w_enc);
    add(s, "w_dec", QSR_F32, n, p->w_dec);
    add(s, "b_enc", QSR_F32, l->d_sae, p->b_enc);
    add(s, "b_dec", QSR_F32, l->d_in, p->b_dec);
    add_moments(s, "w_enc", &l->adam.w_enc, n);
    add_moments(s, "w_dec", &l->adam.w_dec, n);
    add_moments(s, "b_enc", &l->adam.b_enc, l->d_sae);
    add_moments(s, "b_dec", &l->adam.b_dec, l->d_in);
    for (unsigned i = 0; i < l->n_params; i++) {
        add(s, qsr_arena_printf(&s->arena, "param.%s", l->param[i].name), QSR_F32, l->d_sae, l->param[i].value);
        add_moments(s, l->param[i].name, &l->adam.param[i], l->d_sae);
    }
    add(s, "silent", QSR_U64, l->d_sae, l->silent);
    s->report = qsr_arena_alloc(&s->arena, report_size(l), sizeof(double));
    add(s, "report", QSR_F64, report_size(l), s->report);
}

/* ---- plugin state ------------------------------------------------------------------------------------------------ */

typedef struct {
    qsr_text bytes;      /* writing */
    const char *at;      /* reading */
    size_t left;
} record;

static qsr_status write_record(qsr_stream *stream, const void *bytes, size_t n)
{
    qsr_text_append(&((record *)stream->ctx)->bytes, bytes, n);
    return QSR_OK;
}

static qsr_status read_record(qsr_stream *stream, void *bytes, size_t n)
{
    record *r = stream->ctx;
    if (n > r->left) return QSR_E_STATE;
    memcpy(bytes, r->at, n);
    r->at += n;
    r->left -= n;
    return QSR_OK;
}

/* Its name as a checkpoint has it: "activation", "losses.auxk", in `name`. */
enum { NAME_ROOM = 128 };
static qsr_made *plugin_at(const qsr_learner *l, size_t i, char *name)
{
    snprintf(name, NAME_ROOM, i == 0 ? "activation" : "losses.%s", i == 0 ? "" : l->losses[i - 1].name);
    return i == 0 ? l->sae.activation : l->losses[i - 1].made;
}

static qsr_status save_plugin(snapshot *s, const qsr_learner *l, size_t i, qsr_error *e)
{
    char name[NAME_ROOM];
    qsr_made *made = plugin_at(l, i, name);
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    if (!ops) return QSR_OK;
    if (s->n >= MOST_TENSORS) return qsr_fail(e, QSR_E_UNSUPPORTED, "more than %d plugins have state to keep", MOST_TENSORS);
    record r = {0};
    qsr_stream stream = {&r, write_record, read_record};
    qsr_status status = qsr_made_finish(made, ops->save(made->instance, &stream), e);
    if (!status) {
        char *bytes = qsr_arena_strndup(&s->arena, r.bytes.bytes ? r.bytes.bytes : "", r.bytes.length);
        add(s, qsr_arena_printf(&s->arena, "state.%s", name), QSR_U8, r.bytes.length, bytes);
        note_count(s, qsr_arena_printf(&s->arena, "version.%s", name), ops->state_version);
    }
    qsr_text_free(&r.bytes);
    return status;
}

static qsr_status load_plugin(const qsr_safetensors *file, const char *path, qsr_learner *l, size_t i, qsr_error *e)
{
    char name[NAME_ROOM], key[NAME_ROOM + 16];
    uint64_t version;
    qsr_made *made = plugin_at(l, i, name);
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    if (!ops) return QSR_OK;
    snprintf(key, sizeof key, "state.%s", name);
    const qsr_tensor *t = qsr_safetensors_find(file, key);
    snprintf(key, sizeof key, "version.%s", name);
    const char *text = qsr_safetensors_metadata(file, key);
    if (!t || !text || !qsr_parse_uint(text, &version)) return qsr_fail(e, QSR_E_STATE, "%s lacks the state of %s", path, name);
    record r = {.at = t->data, .left = t->count};
    qsr_stream stream = {&r, write_record, read_record};
    return qsr_made_finish(made, ops->load(made->instance, &stream, (uint32_t)version), e);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void checksum_text(char *out, size_t n, const void *bytes, size_t size)
{
    snprintf(out, n, "%016" PRIx64, qsr_checksum(bytes, size));
}

/* A checksum for each tensor, then one over all keys and values so far. */
static void seal(snapshot *s)
{
    char sum[24];
    for (size_t i = 0; i < s->n; i++) {
        checksum_text(sum, sizeof sum, s->tensor[i].data, s->tensor[i].count * qsr_dtype_size(s->tensor[i].dtype));
        note(s, qsr_arena_printf(&s->arena, "sum.%s", s->tensor[i].name), sum);
    }
    qsr_text all = {0};
    for (size_t i = 0; i < 2 * s->n_keys; i++) qsr_text_add(&all, "%s\n", s->keys[i]);
    checksum_text(sum, sizeof sum, all.bytes, all.length);
    qsr_text_free(&all);
    note(s, "seal", sum);
}

static void note_all(snapshot *s, const qsr_learner *l, const qsr_checkpoint_note *n)
{
    char scale[40];
    snprintf(scale, sizeof scale, "%a", l->sae.normalise.scale);
    note(s, "format", "quasar checkpoint 1");
    note(s, "cell", l->spec->id);
    note_count(s, "step", l->step);
    note_count(s, "metrics_bytes", n->metrics_bytes);
    note(s, "isa", n->isa);
    note(s, "kernel", n->kernel);
    note(s, "screen", n->screen);
    note(s, "scale", scale);
}

qsr_status qsr_checkpoint_write(const qsr_learner *l, const qsr_checkpoint_note *n, const char *path, qsr_error *e)
{
    snapshot *s = qsr_xcalloc(1, sizeof *s);
    qsr_status status = QSR_OK;
    note_all(s, l, n);
    add_learner(s, l);
    pack_report(l, s->report);
    for (size_t i = 0; !status && i <= l->n_losses; i++) status = save_plugin(s, l, i, e);
    if (!status) {
        seal(s);
        status = qsr_safetensors_write(path, s->tensor, s->n, s->keys, e);
    }
    qsr_arena_free(&s->arena);
    free(s);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The keys stand in a fixed order that reading rebuilds: notes, versions, sums. */
static qsr_status check_seal(const qsr_safetensors *file, const char *path, snapshot *s, qsr_error *e)
{
    qsr_text all = {0};
    char sum[24];
    for (size_t i = 0; i < s->n_keys; i++) {
        const char *value = qsr_safetensors_metadata(file, s->keys[2 * i]);
        qsr_text_add(&all, "%s\n%s\n", s->keys[2 * i], value ? value : "(missing)");
    }
    checksum_text(sum, sizeof sum, all.bytes, all.length);
    qsr_text_free(&all);
    const char *seal_text = qsr_safetensors_metadata(file, "seal");
    if (seal_text && strcmp(seal_text, sum) == 0) return QSR_OK;
    return qsr_fail(e, QSR_E_STATE, "%s is damaged: its header does not match its checksum", path);
}

static qsr_status check_tensor(const qsr_safetensors *file, const char *path, const qsr_tensor *want, qsr_error *e)
{
    char key[300], sum[24];
    const qsr_tensor *t = qsr_safetensors_find(file, want->name);
    if (!t || t->dtype != want->dtype || t->count != want->count)
        return qsr_fail(e, QSR_E_STATE, "%s is not a checkpoint of this cell: tensor %s is missing or has another size", path,
                        want->name);
    snprintf(key, sizeof key, "sum.%s", want->name);
    const char *expected = qsr_safetensors_metadata(file, key);
    checksum_text(sum, sizeof sum, t->data, t->count * qsr_dtype_size(t->dtype));
    if (!expected || strcmp(expected, sum) != 0)
        return qsr_fail(e, QSR_E_STATE, "%s is damaged: tensor %s does not match its checksum", path, want->name);
    return QSR_OK;
}

/* The state tensors as the file has them, so that they count into the seal; their sizes are the plugins' business. */
static void expect_states(const qsr_safetensors *file, const qsr_learner *l, snapshot *s)
{
    for (size_t i = 0; i <= l->n_losses; i++) {
        char name[NAME_ROOM];
        if (!qsr_made_extension(plugin_at(l, i, name), QSR_EXT_STATE)) continue;
        const char *key = qsr_arena_printf(&s->arena, "state.%s", name);
        const qsr_tensor *t = qsr_safetensors_find(file, key);
        if (s->n >= MOST_TENSORS) continue;
        add(s, key, QSR_U8, t ? t->count : 0, NULL);
        note(s, qsr_arena_printf(&s->arena, "version.%s", name), "");
    }
}

static qsr_status verify(const qsr_safetensors *file, const char *path, snapshot *s, qsr_error *e)
{
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) note(s, qsr_arena_printf(&s->arena, "sum.%s", s->tensor[i].name), "");
    qsr_status status = check_seal(file, path, s, e);
    for (size_t i = 0; !status && i < n; i++) status = check_tensor(file, path, &s->tensor[i], e);
    return status;
}

static qsr_status read_notes(const qsr_safetensors *file, const char *path, qsr_learner *l, qsr_checkpoint_note *ret, qsr_error *e)
{
    const char *cell = qsr_safetensors_metadata(file, "cell"), *step = qsr_safetensors_metadata(file, "step");
    const char *bytes = qsr_safetensors_metadata(file, "metrics_bytes"), *scale = qsr_safetensors_metadata(file, "scale");
    const char *isa = qsr_safetensors_metadata(file, "isa"), *kernel = qsr_safetensors_metadata(file, "kernel");
    if (!cell || !step || !bytes || !scale || !isa || !kernel) return qsr_fail(e, QSR_E_STATE, "%s is not a checkpoint", path);
    if (strcmp(cell, l->spec->id) != 0) return qsr_fail(e, QSR_E_STATE, "%s belongs to cell %s, not %s", path, cell, l->spec->id);
    if (!qsr_parse_uint(step, &l->step) || !qsr_parse_uint(bytes, &ret->metrics_bytes) || l->step > l->steps)
        return qsr_fail(e, QSR_E_STATE, "%s is damaged: step %s", path, step);
    snprintf(ret->isa, sizeof ret->isa, "%s", isa);
    snprintf(ret->kernel, sizeof ret->kernel, "%s", kernel);
    const char *screen = qsr_safetensors_metadata(file, "screen");
    snprintf(ret->screen, sizeof ret->screen, "%s", screen ? screen : "off");
    l->sae.normalise.scale = strtod(scale, NULL);
    return QSR_OK;
}

static qsr_status load(const qsr_safetensors *file, const char *path, qsr_learner *l, snapshot *s, qsr_checkpoint_note *ret,
                       qsr_error *e)
{
    note_all(s, l, &(qsr_checkpoint_note){0}); /* for the order of the keys */
    add_learner(s, l);
    size_t own = s->n;
    expect_states(file, l, s);
    qsr_status status = verify(file, path, s, e);
    if (!status) status = read_notes(file, path, l, ret, e);
    for (size_t i = 0; !status && i < own; i++) {
        const qsr_tensor *t = qsr_safetensors_find(file, s->tensor[i].name);
        memcpy((void *)(uintptr_t)s->tensor[i].data, t->data, t->count * qsr_dtype_size(t->dtype));
    }
    for (size_t i = 0; !status && i <= l->n_losses; i++) status = load_plugin(file, path, l, i, e);
    if (status) return status;
    unpack_report(l, s->report);
    qsr_sae_refresh(&l->sae);
    return QSR_OK;
}

qsr_status qsr_checkpoint_read(qsr_learner *l, qsr_checkpoint_note *ret, const char *path, qsr_error *e)
{
    qsr_safetensors *file;
    if (qsr_safetensors_open(path, &file, e)) {
        if (e) e->code = QSR_E_STATE;
        return QSR_E_STATE;
    }
    snapshot *s = qsr_xcalloc(1, sizeof *s);
    qsr_status status = load(file, path, l, s, ret, e);
    qsr_safetensors_close(file);
    qsr_arena_free(&s->arena);
    free(s);
    return status;
}

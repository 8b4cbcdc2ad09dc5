#include "report/stability.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "lab/plan.h"
#include "math/rows.h"

enum { JSON_BYTES = 64 << 20, FILE_VERSION = 1 };

/* ---- two decoders ------------------------------------------------------------------------------------------------ */

static qsr_status read_decoder(const qsr_safetensors *file, const char *path, qsr_decoder *ret, qsr_error *e)
{
    const qsr_tensor *t = qsr_safetensors_find(file, "W_dec");
    if (!t) return qsr_fail(e, QSR_E_INPUT, "%s has no tensor W_dec", path);
    if (t->rank != 2 || !t->count || !qsr_dtype_is_real(t->dtype))
        return qsr_fail(e, QSR_E_INPUT, "%s: W_dec must be a matrix [latents, d_in] of real numbers", path);
    qsr_decoder d = {qsr_block_raw(t->count, sizeof(float)), t->shape[0], t->shape[1]};
    if (!d.w) return qsr_fail_nomem(e, path, t->count * sizeof(float));
    qsr_to_float(t->dtype, t->data, t->count, d.w);
    size_t bad = qsr_row_not_finite(d.w, t->count);
    if (bad == t->count) {
        *ret = d;
        return QSR_OK;
    }
    qsr_decoder_free(&d);
    return qsr_fail(e, QSR_E_INPUT, "%s: W_dec[%zu, %zu] is not finite", path, bad / t->shape[1], bad % t->shape[1]);
}

static const char *weights_of(qsr_arena *arena, const char *folder)
{
    const char *inside = qsr_path_join(arena, folder, "sae/sae_weights.safetensors");
    return qsr_exists(inside) ? inside : qsr_path_join(arena, folder, "sae_weights.safetensors");
}

qsr_status qsr_decoder_load(const char *folder, qsr_decoder *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_safetensors *file = NULL;
    const char *path = weights_of(&arena, folder);
    qsr_status status = qsr_exists(path) ? qsr_safetensors_open(path, &file, e)
                                         : qsr_fail(e, QSR_E_INPUT, "%s holds no sae/sae_weights.safetensors", folder);
    if (!status) status = read_decoder(file, path, ret, e);
    qsr_safetensors_close(file);
    qsr_arena_free(&arena);
    return status;
}

void qsr_decoder_free(qsr_decoder *d)
{
    qsr_block_free(d->w);
    *d = (qsr_decoder){0};
}

static qsr_status check_memory(const qsr_decoder *a, const qsr_decoder *b, size_t limit, qsr_error *e)
{
    size_t bytes = 0;
    char need[32], have[32];
    if (!limit) limit = qsr_plan_default_memory();
    bool fits = qsr_mul_size(a->latents, b->latents, &bytes) && qsr_mul_size(bytes, sizeof(float), &bytes);
    if (fits && bytes <= limit) return QSR_OK;
    return qsr_fail(e, QSR_E_NOMEM, "matching %zu latents with %zu takes %s of cosines, but %s may be used", a->latents,
                    b->latents, qsr_size_text(fits ? bytes : SIZE_MAX, need, sizeof need),
                    qsr_size_text(limit, have, sizeof have));
}

qsr_status qsr_stability_of(const qsr_decoder *a, const qsr_decoder *b, const qsr_stability_options *o,
                            qsr_stability_pair *ret, qsr_error *e)
{
    double start = qsr_clock();
    qsr_match match;
    if (a->d_in != b->d_in)
        return qsr_fail(e, QSR_E_INPUT, "decoders of width %zu and %zu cannot be matched", a->d_in, b->d_in);
    qsr_status status = check_memory(a, b, o->memory, e);
    if (!status) status = qsr_match_of(o->pool, a->w, a->latents, b->w, b->latents, a->d_in, &match, NULL, e);
    if (status) return status;
    /* The matcher divides by the latents of a. */
    double larger = (double)a->latents / (double)qsr_max_size(a->latents, b->latents);
    *ret = (qsr_stability_pair){.mcc = match.mcc * larger,
                                .gap = fmax(match.gap, 0) * larger,
                                .max_cosine = {match.mmcs, match.mmcs_back},
                                .seconds = qsr_clock() - start};
    return QSR_OK;
}

/* ---- what a run's file says -------------------------------------------------------------------------------------- */

/* A run of a cell with several seeds. */
typedef struct {
    const char *folder, *path, *cell, *file; /* file: stability.json */
    qsr_digest digest;
    json_t *old;    /* what the file said of these weights; NULL: nothing */
    json_t **known; /* [members] the entry about each other member, or NULL */
} member;

typedef struct {
    qsr_frame *frame;
    const qsr_stability_options *options;
    member *members; /* of the cell at hand */
    size_t n;
    size_t done, of; /* pairs */
    size_t unusable;
} job;

static json_t *read_old(const member *m)
{
    json_t *root = NULL;
    if (!qsr_exists(m->file) || qsr_json_read(m->file, JSON_BYTES, &root, NULL)) return NULL;
    const char *digest = json_string_value(json_object_get(root, "sae"));
    const json_t *version = json_object_get(root, "version");
    if (digest && strcmp(digest, m->digest.hex) == 0 && json_is_integer(version) &&
        json_integer_value(version) == FILE_VERSION)
        return root;
    json_decref(root);
    return NULL;
}

static bool is_entry_about(const json_t *entry, const member *other)
{
    const char *cell = json_string_value(json_object_get(entry, "cell")),
               *digest = json_string_value(json_object_get(entry, "sae"));
    return cell && digest && strcmp(cell, other->cell) == 0 && strcmp(digest, other->digest.hex) == 0 &&
           json_is_number(json_object_get(entry, "mcc")) && json_is_number(json_object_get(entry, "max_cosine")) &&
           json_is_number(json_object_get(entry, "gap"));
}

static json_t *find_entry(const member *m, const member *other)
{
    const json_t *pairs = json_object_get(m->old, "pairs");
    for (size_t i = 0; i < json_array_size(pairs); i++)
        if (is_entry_about(json_array_get(pairs, i), other)) return json_incref(json_array_get(pairs, i));
    return NULL;
}

static double number_of(const json_t *entry, const char *key) { return json_number_value(json_object_get(entry, key)); }

static json_t *make_entry(const member *other, double mcc, double max_cosine, double gap)
{
    json_t *entry = json_object();
    json_object_set_new(entry, "cell", json_string(other->cell));
    json_object_set_new(entry, "sae", json_string(other->digest.hex));
    json_object_set_new(entry, "mcc", qsr_json_real(mcc));
    json_object_set_new(entry, "max_cosine", qsr_json_real(max_cosine));
    json_object_set_new(entry, "gap", qsr_json_real(gap));
    return entry;
}

static json_t *describe(const job *j, const member *m)
{
    json_t *root = json_object(), *metrics = json_object(), *pairs = json_array();
    double mcc = 0, max_cosine = 0, gap = 0, n = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (!m->known[i]) continue;
        json_array_append(pairs, m->known[i]);
        mcc += number_of(m->known[i], "mcc");
        max_cosine += number_of(m->known[i], "max_cosine");
        gap = fmax(gap, number_of(m->known[i], "gap"));
        n++;
    }
    json_object_set_new(metrics, "mcc", qsr_json_real(mcc / n));
    json_object_set_new(metrics, "max_cosine", qsr_json_real(max_cosine / n));
    json_object_set_new(metrics, "gap", qsr_json_real(gap));
    json_object_set_new(root, "version", json_integer(FILE_VERSION));
    json_object_set_new(root, "sae", json_string(m->digest.hex));
    json_object_set_new(root, "metrics", metrics);
    json_object_set_new(root, "pairs", pairs);
    return root;
}

/* A file that says so already is left alone. */
static qsr_status write_member(const job *j, member *m, qsr_error *e)
{
    json_t *now = describe(j, m);
    qsr_status status = m->old && json_equal(now, m->old) ? QSR_OK : qsr_json_write(m->file, now, e);
    json_decref(m->old);
    m->old = now;
    return status;
}

/* ---- the pairs of a cell ----------------------------------------------------------------------------------------- */

static void announce(job *j, const member *a, const member *b, qsr_stability_pair pair)
{
    pair.a = a->folder;
    pair.b = b->folder;
    j->done++;
    if (j->options->pair) j->options->pair(j->options->ctx, &pair, j->done, j->of);
}

static bool recall(job *j, size_t i, size_t k)
{
    const json_t *there = j->members[i].known[k], *back = j->members[k].known[i];
    if (!there || !back) return false;
    announce(j, &j->members[i], &j->members[k],
             (qsr_stability_pair){.mcc = number_of(there, "mcc"),
                                  .gap = number_of(there, "gap"),
                                  .max_cosine = {number_of(there, "max_cosine"), number_of(back, "max_cosine")},
                                  .recalled = true});
    return true;
}

/* Both runs are told at once, so that an interrupted command goes on where it was. */
static qsr_status match_pair(job *j, size_t i, size_t k, const qsr_decoder *a, qsr_error *e)
{
    member *x = &j->members[i], *y = &j->members[k];
    qsr_decoder b = {0};
    qsr_stability_pair pair;
    qsr_status status = qsr_decoder_load(y->path, &b, e);
    if (!status) status = qsr_stability_of(a, &b, j->options, &pair, e);
    qsr_decoder_free(&b);
    if (status) return status;
    json_decref(x->known[k]);
    json_decref(y->known[i]);
    x->known[k] = make_entry(y, pair.mcc, pair.max_cosine[0], pair.gap);
    y->known[i] = make_entry(x, pair.mcc, pair.max_cosine[1], pair.gap);
    status = write_member(j, x, e);
    if (!status) status = write_member(j, y, e);
    if (!status) announce(j, x, y, pair);
    return status;
}

static qsr_status match_all(job *j, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < j->n && !status; i++) {
        qsr_decoder a = {0};
        for (size_t k = i + 1; k < j->n && !status; k++) {
            if (recall(j, i, k)) continue;
            if (!a.w) status = qsr_decoder_load(j->members[i].path, &a, e);
            if (!status) status = match_pair(j, i, k, &a, e);
        }
        qsr_decoder_free(&a);
    }
    for (size_t i = 0; i < j->n && !status; i++)
        status = write_member(j, &j->members[i], e); /* without runs that are gone */
    return status;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static const qsr_record *record_of(const qsr_archive *archive, const qsr_frame_row *row)
{
    for (size_t i = 0; i < archive->count; i++)
        if (!row->published && strcmp(archive->records[i].folder, row->label) == 0) return &archive->records[i];
    return NULL;
}

/* Whether its weights can be read at all is found out before any time goes into matching. */
static bool is_usable(job *j, const qsr_record *r, qsr_digest *ret)
{
    qsr_decoder d = {0};
    qsr_error e = {0};
    qsr_arena *arena = &j->frame->arena;
    qsr_status status = qsr_decoder_load(r->path, &d, &e);
    qsr_decoder_free(&d);
    if (!status) status = qsr_digest_file(weights_of(arena, r->path), ret, &e);
    if (!status) return true;
    qsr_frame_note(j->frame, "%s is left out: %s", r->folder, e.text);
    j->unusable++;
    return false;
}

static size_t find_members(job *j, const qsr_archive *archive, const qsr_frame_group *group, member *members)
{
    qsr_arena *arena = &j->frame->arena;
    size_t n = 0;
    for (size_t i = 0; i < group->count; i++) {
        const qsr_frame_row *row = &j->frame->rows[group->rows[i]];
        const qsr_record *r = row->state == QSR_RECORD_COMPLETED ? record_of(archive, row) : NULL;
        member *m = &members[n];
        if (!r || !is_usable(j, r, &m->digest)) continue;
        m->folder = qsr_arena_strdup(arena, r->folder);
        m->path = qsr_arena_strdup(arena, r->path);
        m->cell = qsr_arena_strdup(arena, r->cell);
        m->file = qsr_path_join(arena, m->path, "stability.json");
        n++;
    }
    return n;
}

static void recall_members(job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        member *m = &j->members[i];
        m->old = read_old(m);
        m->known = qsr_xcalloc(j->n, sizeof(json_t *));
        for (size_t k = 0; k < j->n; k++)
            if (k != i) m->known[k] = find_entry(m, &j->members[k]);
    }
}

static void forget_members(job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        member *m = &j->members[i];
        for (size_t k = 0; m->known && k < j->n; k++) json_decref(m->known[k]);
        free(m->known);
        json_decref(m->old);
    }
}

/* Groups of runs that agree in every parameter that can change results, seeds apart. */
static size_t group_runs(qsr_frame *f, qsr_frame_group **ret)
{
    size_t *rows = qsr_arena_alloc(&f->arena, f->n_rows + 1, sizeof *rows),
           *keys = qsr_arena_alloc(&f->arena, f->n_keys + 1, sizeof *keys);
    size_t n_rows = 0, n_keys = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        if (!f->rows[i].published) rows[n_rows++] = i;
    for (size_t k = 0; k < f->n_keys; k++)
        if (f->roles[k] == QSR_KEY_PLAIN) keys[n_keys++] = k;
    return qsr_frame_groups(f, rows, n_rows, keys, n_keys, ret);
}

qsr_status qsr_stability_make(qsr_frame *f, const qsr_archive *archive, const qsr_stability_options *options,
                              size_t *ret_pairs, size_t *ret_unusable, qsr_error *e)
{
    qsr_frame_group *groups;
    size_t n = group_runs(f, &groups);
    job j = {.frame = f, .options = options};
    member **members = qsr_arena_alloc(&f->arena, n + 1, sizeof *members);
    size_t *count = qsr_arena_alloc(&f->arena, n + 1, sizeof *count);
    qsr_status status = QSR_OK;
    for (size_t g = 0; g < n; g++) {
        members[g] = qsr_arena_alloc(&f->arena, groups[g].count + 1, sizeof **members);
        if (groups[g].count > 1) count[g] = find_members(&j, archive, &groups[g], members[g]);
        if (count[g]) j.of += count[g] * (count[g] - 1) / 2;
    }
    for (size_t g = 0; g < n && !status; g++) {
        if (count[g] < 2) continue;
        j.members = members[g];
        j.n = count[g];
        recall_members(&j);
        status = match_all(&j, e);
        forget_members(&j);
    }
    *ret_pairs = j.of;
    *ret_unusable = j.unusable;
    return status;
}

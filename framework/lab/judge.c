#include "lab/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sizes.h"
#include "lab/cell.h"
#include "lab/judge-parts.h"
#include "lab/loaded.h"
#include "lab/manifest.h"
#include "lab/origin.h"
#include "lab/plan.h"
#include "lab/saebench.h"
#include "lab/store.h"

const char *const qsr_judged_outcome_names[QSR_JUDGED_OUTCOMES] = {"pending", "evaluated", "skipped", "stale", "failed"};

/* One SAE on its way. */
typedef struct {
    qsr_judgement *item;
    judge_spec *spec;
    size_t bytes;      /* it takes in memory */
    const char *key;   /* SAEs of one pass have equal keys */
    json_t *made_of;   /* digests of everything its result rests on */
    qsr_loaded loaded;
    size_t existed;    /* bytes of item->out that were there before */
} candidate;

typedef struct {
    qsr_judgements *all;
    const qsr_judge_options *o;
    judge_specs specs;
    candidate *candidates; /* [all->count] */
    qsr_problems *problems;
    qsr_error *e;
} court;

static bool is_alone(const court *c) { return c->all->count == 1; }

static void fail_one(candidate *k, const qsr_error *why)
{
    k->item->outcome = QSR_JUDGED_FAILED;
    snprintf(k->item->reason, sizeof k->item->reason, "%s", why->text);
}

/* ---- planning: what each one is, where its rows come from, and whether there is a result already --------------------------- */

/* Beside the SAE, as eval/<name> of its run or folder; for a file that is not of a folder's own, beside that file. */
static const char *place_of(court *c, const qsr_pretrained *p, const char *name)
{
    qsr_arena *arena = &c->all->arena;
    const char *path = p->path;
    if (c->o->out && is_alone(c)) return c->o->out;
    if (c->o->out) {
        while (*path == '/' || qsr_starts_with(path, "./") || qsr_starts_with(path, "../")) path += *path == '/' ? 1 : path[1] == '/' ? 2 : 3;
        for (const char *up; (up = strstr(path, "/../"));) path = up + strlen("/../"); /* never out of `out` again */
        return qsr_path_join(arena, c->o->out, path);
    }
    const char *folder = qsr_loaded_folder(p, arena), *base = qsr_path_base(p->weights_path);
    if (p->cfg_path || qsr_starts_with(base, "params.")) return qsr_arena_printf(arena, "%s/eval/%s", folder, name);
    return qsr_arena_printf(arena, "%s.eval/%s", p->weights_path, name);
}

/* Weights; per thread a tile of pre-activations, its code and its sums; a metric's tokens. */
static size_t bytes_of(const qsr_pretrained *p, const qsr_judge_options *o, const qsr_spec *spec)
{
    size_t tile = QSR_METRIC_TILE_ROWS * (p->d_sae * 16 + p->d_in * 16);
    return 3 * p->d_in * p->d_sae * sizeof(float) + qsr_pool_threads(o->pool) * tile + 40 * (size_t)spec->eval.tokens;
}

static qsr_status digest_into(json_t *object, const char *key, const char *path, qsr_error *e)
{
    qsr_digest digest;
    if (!path) return QSR_OK;
    qsr_status status = qsr_digest_file(path, &digest, e);
    if (!status) json_object_set_new(object, key, json_string(digest.hex));
    return status;
}

static qsr_status find_made_of(court *c, candidate *k, const qsr_pretrained *p, qsr_error *e)
{
    qsr_text text = {0};
    const qsr_spec *spec = k->spec->spec;
    k->made_of = json_object();
    qsr_text_add(&text, "%s\n%s\n", qsr_dataset_stream_key(spec, &c->all->arena), qsr_dataset_tap_key(spec, &c->all->arena));
    qsr_text_add(&text, "%d %lld %lld %lld %lld\n", spec->eval.latents, (long long)spec->eval.ce_tokens, (long long)spec->eval.top_contexts, (long long)spec->eval.context_before,
                 (long long)spec->eval.context_after);
    qsr_json_line(k->spec->inputs, &text);
    json_object_set_new(k->made_of, "rows", json_string(qsr_digest_bytes(text.bytes, text.length).hex));
    json_object_set_new(k->made_of, "quasar", json_string(PACKAGE_VERSION));
    qsr_text_free(&text);
    qsr_status status = digest_into(k->made_of, "weights", p->weights_path, e);
    return status ? status : digest_into(k->made_of, "cfg", p->cfg_path, e);
}

/* What differs between the result there is and the one to be made; NULL: nothing. */
static const char *difference(const json_t *old, const json_t *now)
{
    static const char *const keys[] = {"weights", "cfg", "rows", "quasar"};
    static const char *const texts[] = {"other weights", "another cfg.json", "other rows (dataset, eval.tokens or files)",
                                        "another version of Quasar"};
    for (size_t i = 0; i < 4; i++)
        if (!json_equal(json_object_get(old, keys[i]), json_object_get(now, keys[i]))) return texts[i];
    return NULL;
}

/* SKIPPED or STALE when there is a result; a broken one counts as none. */
static void look_back(court *c, candidate *k)
{
    qsr_judgement *item = k->item;
    json_t *old = NULL;
    const char *path = qsr_path_join(&c->all->arena, item->out, "result.json");
    if (c->o->rerun || (c->o->out && is_alone(c)) || !qsr_exists(path) || qsr_json_read(path, 16 << 20, &old, NULL)) return;
    const char *what = difference(json_object_get(old, "made_of"), k->made_of);
    item->outcome = what ? QSR_JUDGED_STALE : QSR_JUDGED_SKIPPED;
    if (what)
        snprintf(item->reason, sizeof item->reason, "%s is of %s; --rerun replaces it, --name NAME keeps both", path, what);
    else
        snprintf(item->reason, sizeof item->reason, "%s has it already", path);
    json_decref(old);
}

/* Two results in one place would be one: "../a" and "a" below --out, a run and its sae/. */
static qsr_status check_place(const court *c, const candidate *k, qsr_error *e)
{
    for (const candidate *other = c->candidates; other < k; other++)
        if (other->item->out && strcmp(other->item->out, k->item->out) == 0)
            return qsr_fail(e, QSR_E_INPUT, "its results would go to %s, as those of %s do: evaluate it in a command of its own",
                            k->item->out, other->item->path);
    return QSR_OK;
}

static qsr_status consider(court *c, candidate *k, const qsr_pretrained *p, qsr_error *e)
{
    qsr_judgement *item = k->item;
    k->spec = qsr_judge_spec_for(&c->specs, c->o, p);
    const judge_spec *s = k->spec;
    if (s->status)
        return qsr_fail(e, s->status, "%s", s->problems.count ? s->problems.items[0].text : s->error.text);
    qsr_arena *arena = &c->all->arena;
    item->out = place_of(c, p, c->o->name ? c->o->name : s->spec->name);
    c->all->spec_name = qsr_arena_strdup(&c->all->arena, s->spec->name); /* it outlives the spec */
    snprintf(item->hook, sizeof item->hook, "%s", s->key);
    k->bytes = bytes_of(p, c->o, s->spec);
    k->key = qsr_dataset_stream_key(s->spec, arena);
    if (!qsr_dataset_has_taps(s->spec)) k->key = qsr_arena_printf(arena, "%s\n%s", k->key, qsr_dataset_tap_key(s->spec, arena));
    qsr_status status = check_place(c, k, e);
    if (!status) status = qsr_pretrained_usable(p, e);
    if (!status && is_alone(c)) status = qsr_judge_compare(p, s->spec, e);
    if (!status) status = find_made_of(c, k, p, e);
    if (!status) look_back(c, k);
    return status;
}

static void plan_one(court *c, candidate *k, qsr_error *e)
{
    qsr_pretrained p;
    qsr_status status = qsr_pretrained_open(k->item->path, &p, e);
    if (!status) {
        status = consider(c, k, &p, e);
        qsr_pretrained_free(&p);
    }
    if (status) fail_one(k, e);
}

/* When there is no good spec for anyone, it is the spec that is bad. */
static qsr_status blame_spec(court *c)
{
    for (size_t i = 0; i < c->specs.count; i++)
        if (!c->specs.items[i]->status) return QSR_OK;
    if (!c->specs.count) return QSR_OK;
    judge_spec *s = c->specs.items[0];
    if (c->e) *c->e = s->error;
    if (c->problems) {
        *c->problems = s->problems;
        s->problems = (qsr_problems){0};
    }
    return s->status;
}

static qsr_status plan(court *c)
{
    qsr_error e = {0};
    for (size_t i = 0; i < c->all->count; i++) {
        c->candidates[i].item = &c->all->items[i];
        plan_one(c, &c->candidates[i], &e);
    }
    qsr_status status = blame_spec(c);
    if (status || !is_alone(c) || c->all->items[0].outcome != QSR_JUDGED_FAILED) return status;
    if (c->e) *c->e = e;
    return e.code;
}

/* ---- held out? ------------------------------------------------------------------------------------------------------------ */

/* Whether each file of `a` is among those of `b`, whatever its path: the digests decide. */
static bool all_among(json_t *a, json_t *b)
{
    const char *path, *other;
    json_t *x, *y;
    json_object_foreach(a, path, x)
    {
        bool found = false;
        json_object_foreach(b, other, y) found = found || json_equal(x, y);
        if (!found) return false;
    }
    return true;
}

static bool same_dataset(const candidate *k)
{
    char name[96];
    snprintf(name, sizeof name, "dataset/%s", k->spec->spec->dataset.plugin->name);
    return json_object_get(json_object_get(k->loaded.manifest, "plugins"), name) != NULL;
}

/* Rows of other files than those it was trained on are held out, and so are units beyond the trained ones of the same files;
 * what is held out of data without end lies beyond what any training reaches. Through another dataset (a cache of hidden states, the
 * model itself) the same rows have other files: nobody knows. */
static qsr_held_out held_out_of(const candidate *k, const qsr_dataset *data)
{
    const json_t *manifest = k->loaded.manifest, *split = json_object_get(manifest, "split");
    const json_t *units = json_object_get(split, "train_units"), *rows = json_object_get(split, "rows_per_unit");
    if (!manifest) return QSR_HELD_OUT_UNKNOWN;
    if (!json_is_null(units) && !same_dataset(k)) return QSR_HELD_OUT_UNKNOWN;
    if (json_is_null(units) || !all_among(k->spec->inputs, json_object_get(manifest, "inputs"))) return QSR_HELD_OUT_YES;
    if (!json_is_integer(units) || json_integer_value(rows) != (json_int_t)data->rows_per_unit) return QSR_HELD_OUT_UNKNOWN;
    return data->held_first >= (uint64_t)json_integer_value(units) ? QSR_HELD_OUT_YES : QSR_HELD_OUT_NO;
}

/* ---- writing -------------------------------------------------------------------------------------------------------------- */

/* Bytes of the longest part of the path that exists. */
static size_t existing_part(const char *path)
{
    qsr_arena arena = {0};
    char *part = qsr_arena_strdup(&arena, path), *slash;
    while (!qsr_exists(part) && (slash = strrchr(part, '/'))) *slash = 0;
    size_t n = qsr_exists(part) ? strlen(part) : 0;
    qsr_arena_free(&arena);
    return n;
}

/* Takes back the folders of `path` beyond its first `existed` bytes, as far as they are empty. */
static void remove_folders(const char *path, size_t existed)
{
    qsr_arena arena = {0};
    char *part = qsr_arena_strdup(&arena, path), *slash;
    while (strlen(part) > existed && rmdir(part) == 0 && (slash = strrchr(part, '/'))) *slash = 0;
    qsr_arena_free(&arena);
}

static qsr_status write_result(const court *c, const candidate *k, const qsr_dataset *data, qsr_error *e)
{
    const qsr_judgement *item = k->item;
    json_t *root = json_object(), *eval = json_object();
    json_object_set_new(root, "status", json_string("evaluated"));
    json_object_set_new(root, "name", json_string(c->o->name ? c->o->name : k->spec->spec->name));
    json_object_set_new(root, "sae", json_string(item->path));
    json_object_set_new(root, "spec", json_string(k->spec->spec->path));
    if (item->hook[0]) json_object_set_new(root, "hook", json_string(item->hook));
    qsr_store_put_evaluation(root, &item->evaluation);
    const bool scored = item->evaluation.scored;
    json_object_set_new(eval, "tokens", json_integer((json_int_t)(scored ? data->held_kept : 0)));
    if (scored && data->masked) json_object_set_new(eval, "excluded", json_integer((json_int_t)(data->held_rows - data->held_kept)));
    json_object_set_new(eval, "held_out", item->held_out == QSR_HELD_OUT_UNKNOWN ? json_null()
                                          : json_boolean(item->held_out == QSR_HELD_OUT_YES));
    json_object_set_new(root, "eval", eval);
    json_object_set(root, "made_of", k->made_of);
    qsr_status status = qsr_json_write(qsr_path_join(&c->all->arena, item->out, "result.json"), root, e);
    json_decref(root);
    return status;
}

static void conclude(const court *c, candidate *k, const qsr_dataset *data, const qsr_judged *judged)
{
    qsr_judgement *item = k->item;
    qsr_error e = judged->error;
    item->evaluation = judged->evaluation;
    item->held_out = held_out_of(k, data);
    if (!e.code && item->evaluation.scored) {
        qsr_saebench about = {.sae = &k->loaded.about, .spec = k->spec->spec, .evaluation = &item->evaluation, .rows = data->held_kept};
        item->saebench = qsr_saebench_write(&about, qsr_path_join(&c->all->arena, item->out, "saebench-core.json"), &e) == QSR_OK;
    }
    if (!e.code) write_result(c, k, data, &e);
    if (e.code) {
        fail_one(k, &e);
        remove_folders(item->out, k->existed);
    } else {
        item->outcome = QSR_JUDGED_DONE;
    }
}

/* Numbers that sane SAEs at their own place do not have (SAELens #350: an FVU of 2.1 was the wrong hook). */
static void warn_of_numbers(const candidate *k)
{
    const qsr_evaluation *v = &k->item->evaluation;
    double fvu = qsr_evaluation_get(v, "fvu"), l0 = qsr_evaluation_get(v, "l0"), was = k->loaded.about.recorded_l0;
    if (k->item->outcome != QSR_JUDGED_DONE || !v->scored) return;
    if (fvu > 1)
        qsr_log(QSR_LOG_WARNING, "%s: fvu is %.4g, worse than predicting the mean: the wrong hook, normalisation or model?", k->item->path,
                fvu);
    if (was > 0 && (l0 > 2 * was || l0 < was / 2))
        qsr_log(QSR_LOG_WARNING, "%s: l0 is %.4g, but its cfg.json says %.4g: the wrong hook, normalisation or model?", k->item->path, l0,
                was);
}

/* ---- a pass --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    candidate **members;
    size_t n, bytes;
} group;

static void prepare(court *c, candidate *k, const qsr_dataset *data, qsr_judged *judged)
{
    qsr_error e = {0};
    qsr_status status = qsr_loaded_open(k->item->path, c->o->env, c->o->pool, &k->loaded, &e);
    if (!status && k->loaded.sae.params.d_in != data->d_in) {
        const qsr_pretrained *p = &k->loaded.about;
        status = qsr_fail(&e, QSR_E_INPUT, "%s says d_in %zu, but the spec has a dataset of width %zu",
                          p->cfg_path ? p->cfg_path : p->weights_path, p->d_in, data->d_in);
    }
    k->existed = existing_part(k->item->out);
    if (!status) status = qsr_mkdirs(k->item->out, &e);
    if (status) {
        fail_one(k, &e);
        if (is_alone(c) && c->e) *c->e = e;
        remove_folders(k->item->out, k->existed);
        return;
    }
    judged->sae = &k->loaded.sae;
    const qsr_origin origin = qsr_origin_of(k->spec->spec, data, judged->tap);
    judged->layer = qsr_origin_count(&origin, "hook.layer");
    judged->ce_tokens = (uint64_t)k->spec->spec->eval.ce_tokens;
    judged->latents = qsr_cell_latent_files(k->spec->spec, k->item->out, &c->all->arena);
    /* An earlier result's must not stay beside this one. */
    if (!judged->latents.csv) qsr_remove_tree(qsr_path_join(&c->all->arena, k->item->out, "latents.csv"), NULL);
    if (!judged->latents.contexts) qsr_remove_tree(qsr_path_join(&c->all->arena, k->item->out, "top_contexts.jsonl"), NULL);
    if (data->held_rows) judged->tokens_csv = qsr_path_join(&c->all->arena, k->item->out, "tokens.csv");
}

static qsr_status judge_members(court *c, group *g, qsr_dataset *data, const size_t *tap, qsr_error *e)
{
    qsr_judged *judged = qsr_xcalloc(g->n, sizeof *judged);
    candidate **ready = qsr_xcalloc(g->n, sizeof *ready);
    size_t n = 0;
    qsr_evaluate_options options = {.ctx = c->o->ctx, .progress = c->o->progress};
    for (size_t i = 0; i < g->n; i++) {
        judged[n] = (qsr_judged){.tap = tap[i]};
        prepare(c, g->members[i], data, &judged[n]);
        if (judged[n].sae) ready[n++] = g->members[i];
    }
    qsr_status status = n ? qsr_evaluate(judged, n, data, &options, e) : QSR_OK;
    for (size_t i = 0; i < n; i++) {
        if (status) {
            fail_one(ready[i], e);
            remove_folders(ready[i]->item->out, ready[i]->existed);
        } else {
            conclude(c, ready[i], data, &judged[i]);
            warn_of_numbers(ready[i]);
        }
    }
    for (size_t i = 0; i < g->n; i++) qsr_loaded_free(&g->members[i]->loaded);
    free(ready);
    free(judged);
    return status;
}

/* An error of the data, which concerns all members. */
static qsr_status judge_group(court *c, group *g, qsr_error *e)
{
    const qsr_spec **specs = qsr_xcalloc(g->n, sizeof *specs);
    size_t *tap = qsr_xcalloc(g->n, sizeof *tap), blame = 0;
    qsr_dataset data;
    for (size_t i = 0; i < g->n; i++) specs[i] = g->members[i]->spec->spec;
    qsr_status status = qsr_dataset_open_many(specs, g->n, c->o->pool, &data, tap, &blame, e);
    if (status) {
        for (size_t i = 0; i < g->n; i++) fail_one(g->members[i], e);
    } else {
        status = judge_members(c, g, &data, tap, e);
        qsr_dataset_close(&data);
    }
    if (status && c->problems && (status == QSR_E_INPUT || status == QSR_E_OPTION))
        qsr_cell_blame(specs[blame], &specs[blame]->dataset, e, c->problems);
    free(specs);
    free(tap);
    return status;
}

/* The first that waits, and those behind it that can share its pass and its memory. */
static bool next_group(const court *c, size_t memory, group *g)
{
    const char *key = NULL;
    *g = (group){.members = qsr_xcalloc(c->all->count, sizeof *g->members)};
    for (size_t i = 0; i < c->all->count; i++) {
        candidate *k = &c->candidates[i];
        if (k->item->outcome != QSR_JUDGED_PENDING || (key && strcmp(key, k->key) != 0)) continue;
        if (g->n && g->bytes + k->bytes > memory) continue;
        key = k->key;
        g->bytes += k->bytes;
        g->members[g->n++] = k;
    }
    return g->n > 0;
}

qsr_status qsr_lab_judge(qsr_judgements *all, const qsr_judge_options *o, qsr_problems *problems, qsr_error *e)
{
    court c = {.all = all, .o = o, .candidates = qsr_xcalloc(all->count, sizeof *c.candidates), .problems = problems, .e = e};
    double start = qsr_clock();
    size_t memory = o->memory ? o->memory : qsr_plan_default_memory();
    qsr_status status = plan(&c), first = QSR_OK;
    group g;
    while (!status && next_group(&c, memory, &g)) {
        qsr_error why = {0};
        qsr_status one = judge_group(&c, &g, &why);
        if (one && e && !first) *e = why;
        if (one && !first) first = one;
        free(g.members);
        g.members = NULL;
    }
    if (!status) free(g.members);
    /* One alone is refused as bad input is; a failure among several is told with the others. */
    if (!status && is_alone(&c) && all->items[0].outcome == QSR_JUDGED_FAILED) {
        if (e && !e->code) qsr_fail(e, QSR_E_INPUT, "%s", all->items[0].reason);
        status = first ? first : e && e->code ? e->code : QSR_E_INPUT;
    }
    for (size_t i = 0; i < all->count; i++) json_decref(c.candidates[i].made_of);
    free(c.candidates);
    qsr_judge_specs_free(&c.specs);
    all->seconds = qsr_clock() - start;
    return status;
}

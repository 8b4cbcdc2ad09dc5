#include "lab/store.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "lab/describe.h"

enum { RESERVE_BYTES = 16 << 10 };

void qsr_store_name(qsr_store *s, const char *out, const qsr_spec *spec)
{
    *s = (qsr_store){0};
    s->folder = qsr_arena_printf(&s->arena, "%s/%s/%s", out, spec->name, spec->id);
}

const char *qsr_store_path(qsr_store *s, const char *file) { return qsr_path_join(&s->arena, s->folder, file); }

static qsr_status open_log(qsr_store *s, const char *file, const char *mode, FILE **ret, qsr_error *e)
{
    const char *path = qsr_store_path(s, file);
    *ret = fopen(path, mode);
    return *ret ? QSR_OK : qsr_fail_errno(e, "write", path);
}

static qsr_status write_spec(qsr_store *s, const qsr_spec *spec, qsr_error *e)
{
    qsr_text text = {0};
    qsr_spec_dump_absolute(spec, &text);
    qsr_status status = qsr_write_file(qsr_store_path(s, "spec.yaml"), text.bytes, text.length, e);
    qsr_text_free(&text);
    return status;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static qsr_status reserve(qsr_store *s, qsr_error *e)
{
    const char *path = qsr_store_path(s, ".reserve");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return qsr_fail_errno(e, "write", path);
    int number = posix_fallocate(fd, 0, RESERVE_BYTES);
    close(fd);
    if (!number) return QSR_OK;
    unlink(path);
    errno = number;
    return qsr_fail_errno(e, "write", path);
}

static qsr_status begin(qsr_store *s, qsr_error *e)
{
    struct stat about;
    if (stat(s->folder, &about) != 0) return qsr_fail_errno(e, "read", s->folder);
    s->device = about.st_dev;
    s->inode = about.st_ino;
    qsr_status status = reserve(s, e);
    s->open = !status; /* without room for a reason none is written */
    return status;
}

qsr_status qsr_store_there(const qsr_store *s, qsr_error *e)
{
    struct stat about;
    if (stat(s->folder, &about) == 0 && about.st_dev == s->device && about.st_ino == s->inode) return QSR_OK;
    return qsr_fail(e, QSR_E_STATE, "its folder %s was deleted or replaced while it was training", s->folder);
}

void qsr_store_release(qsr_store *s)
{
    if (s->open && !qsr_store_there(s, NULL)) unlink(qsr_store_path(s, ".reserve"));
}

qsr_status qsr_store_create(qsr_store *s, const qsr_spec *spec, qsr_error *e)
{
    static const char *const leftovers[] = {"result.json", "checkpoint",    "tokens.csv",   "latents.csv", "top_contexts.jsonl",
                                            "sae",         "metrics.jsonl", "timing.jsonl", "stability.json"};
    qsr_status status = qsr_mkdirs(s->folder, e);
    if (!status) status = begin(s, e);
    for (size_t i = 0; !status && i < sizeof leftovers / sizeof *leftovers; i++)
        status = qsr_remove_tree(qsr_store_path(s, leftovers[i]), e);
    if (!status) status = write_spec(s, spec, e);
    if (!status) status = open_log(s, "metrics.jsonl", "we", &s->metrics, e);
    if (!status) status = open_log(s, "timing.jsonl", "we", &s->timing, e);
    return status;
}

/* A log shorter than its checkpoint says was tampered with or lost: going on would leave a hole. */
static qsr_status cut_metrics(qsr_store *s, qsr_error *e)
{
    const char *path = qsr_store_path(s, "metrics.jsonl");
    struct stat about;
    if (stat(path, &about) != 0 || (uint64_t)about.st_size < s->metrics_bytes)
        return qsr_fail(e, QSR_E_STATE, "%s is shorter than its checkpoint says; --rerun all begins anew", path);
    return truncate(path, (off_t)s->metrics_bytes) == 0 ? QSR_OK : qsr_fail_errno(e, "cut", path);
}

qsr_status qsr_store_resume(qsr_store *s, qsr_error *e)
{
    qsr_status status = begin(s, e);
    if (!status) status = qsr_remove_tree(qsr_store_path(s, "result.json"), e); /* of an attempt that failed */
    if (!status) status = cut_metrics(s, e);
    if (!status) status = open_log(s, "metrics.jsonl", "ae", &s->metrics, e);
    if (!status) status = open_log(s, "timing.jsonl", "ae", &s->timing, e);
    return status;
}

qsr_status qsr_store_sync(qsr_store *s, uint64_t *ret_bytes, qsr_error *e)
{
    struct stat about, named;
    const char *path = qsr_store_path(s, "metrics.jsonl");
    qsr_status status = qsr_store_there(s, e);
    if (status) return status;
    if (fflush(s->metrics) != 0 || fsync(fileno(s->metrics)) != 0 || fstat(fileno(s->metrics), &about) != 0)
        return qsr_fail_errno(e, "write", path);
    if (stat(path, &named) != 0 || named.st_ino != about.st_ino)
        return qsr_fail(e, QSR_E_STATE, "%s was deleted or replaced while it was written", path);
    *ret_bytes = (uint64_t)about.st_size;
    return QSR_OK;
}

void qsr_store_close(qsr_store *s)
{
    qsr_store_release(s);
    if (s->metrics) fclose(s->metrics);
    if (s->timing) fclose(s->timing);
    qsr_arena_free(&s->arena);
    *s = (qsr_store){0};
}

/* ---- logs -------------------------------------------------------------------------------------------------------- */

static qsr_status put_line(FILE *file, const char *name, json_t *line, qsr_error *e)
{
    qsr_text text = {0};
    qsr_json_line(line, &text);
    json_decref(line);
    qsr_text_puts(&text, "\n");
    bool ok = fwrite(text.bytes, 1, text.length, file) == text.length && fflush(file) == 0;
    int number = errno;
    qsr_text_free(&text);
    errno = number;
    return ok ? QSR_OK : qsr_fail_errno(e, "write", name);
}

static void put_real(json_t *object, const char *key, double value) { json_object_set_new(object, key, qsr_json_real(value)); }
static void put_count(json_t *object, const char *key, uint64_t n) { json_object_set_new(object, key, json_integer((json_int_t)n)); }
static void put_text(json_t *object, const char *key, const char *text) { json_object_set_new(object, key, json_string(text)); }

static void put_losses(json_t *line, const qsr_learner *l)
{
    for (size_t i = 0; i < l->n_losses; i++) {
        char key[256];
        snprintf(key, sizeof key, "loss.%s", l->losses[i].name);
        put_real(line, key, l->losses[i].value);
    }
}

static void put_plugin_metrics(json_t *line, const qsr_learner *l)
{
    for (uint32_t i = 0; l->metrics && i < l->metrics->count; i++) {
        const char *name = NULL;
        double value = NAN;
        l->metrics->get(l->sae.activation->instance, i, &name, &value);
        if (name && isfinite(value)) put_real(line, name, value);
    }
    for (unsigned i = 0; i < l->n_params; i++)
        if (l->param[i].log_update) put_real(line, l->param[i].log_update, l->report.param_update[i]);
}

qsr_status qsr_store_step(qsr_store *s, const qsr_learner *l, qsr_error *e)
{
    const qsr_step_report *r = &l->report;
    json_t *line = json_object();
    put_count(line, "step", r->step);
    put_count(line, "tokens", r->tokens);
    put_real(line, "loss", r->loss);
    put_losses(line, l);
    put_real(line, "l0", r->l0);
    put_real(line, "l1", r->l1);
    put_count(line, "dead", r->dead);
    put_count(line, "dead_in_batch", r->dead_in_batch);
    put_real(line, "grad_norm", r->grad_norm);
    put_real(line, "lr", r->lr);
    put_plugin_metrics(line, l);
    return put_line(s->metrics, "metrics.jsonl", line, e);
}

qsr_status qsr_store_timing(qsr_store *s, json_t *line, qsr_error *e) { return put_line(s->timing, "timing.jsonl", line, e); }

/* ---- sae/ -------------------------------------------------------------------------------------------------------- */

qsr_status qsr_store_sae(qsr_store *s, const qsr_learner *l, const qsr_dataset *data, size_t tap, qsr_error *e)
{
    const char *aside = qsr_store_path(s, "sae.tmp"), *place = qsr_store_path(s, "sae");
    json_t *cfg = NULL;
    qsr_status status = qsr_describe_sae(l, data, tap, &cfg, e);
    if (!status) status = qsr_remove_tree(aside, e);
    if (!status) status = qsr_mkdirs(aside, e);
    if (!status) status = qsr_sae_save(&l->sae, qsr_path_join(&s->arena, aside, "sae_weights.safetensors"), e);
    if (!status) status = qsr_json_write(qsr_path_join(&s->arena, aside, "cfg.json"), cfg, e);
    if (!status) status = qsr_replace_folder(aside, place, e);
    json_decref(cfg);
    if (status) qsr_remove_tree(aside, NULL); /* half of it is of no use, and may have filled the disk */
    return status;
}

/* ---- result.json ------------------------------------------------------------------------------------------------- */

static json_t *metrics_of(const qsr_evaluation *v)
{
    json_t *metrics = json_object();
    double value;
    const char *name;
    for (size_t i = 0; (name = qsr_evaluation_value(v, i, &value)); i++) put_real(metrics, name, value);
    return metrics;
}

static json_t *firing_of(const qsr_metrics *m)
{
    json_t *firing = json_object(), *counts = json_array();
    put_real(firing, "log10_low", QSR_FIRING_LOW);
    put_real(firing, "bin_width", QSR_FIRING_WIDTH);
    for (size_t i = 0; i < QSR_FIRING_BINS; i++) json_array_append_new(counts, json_integer((json_int_t)m->firing[i]));
    json_object_set_new(firing, "latents", counts);
    put_count(firing, "silent", m->silent);
    return firing;
}

/* Cut behind the last bin that holds a token. */
static json_t *l0_of(const qsr_metrics *m)
{
    json_t *histogram = json_object(), *counts = json_array();
    size_t bins = QSR_L0_BINS;
    while (bins > 1 && !m->l0[bins - 1]) bins--;
    put_count(histogram, "low", 0);
    put_count(histogram, "bin_width", 1);
    for (size_t i = 0; i < bins; i++) json_array_append_new(counts, json_integer((json_int_t)m->l0[i]));
    json_object_set_new(histogram, "tokens", counts);
    return histogram;
}

static void put_histograms(json_t *root, const qsr_evaluation *v)
{
    if (!v->scored) return;
    json_object_set_new(root, "firing_log10", firing_of(&v->metrics));
    json_object_set_new(root, "l0_histogram", l0_of(&v->metrics));
}

void qsr_store_put_evaluation(json_t *root, const qsr_evaluation *v)
{
    json_object_set_new(root, "metrics", metrics_of(v));
    put_histograms(root, v);
}

static json_t *training_of(const qsr_learner *l)
{
    const qsr_step_report *r = &l->report;
    json_t *train = json_object();
    put_count(train, "steps", l->step);
    put_count(train, "tokens", l->step * l->batch);
    put_count(train, "tokens_asked", (uint64_t)l->spec->train.tokens);
    put_real(train, "init_scale", l->spec->sae.init_scale);
    if (l->step == 0) return train;
    put_real(train, "loss", r->loss);
    put_losses(train, l);
    put_real(train, "l0", r->l0);
    put_count(train, "dead", r->dead);
    put_plugin_metrics(train, l);
    return train;
}

/* BatchTopK's rule in training and its threshold in evaluation need not agree (BatchTopK #5): both are shown, and a gap said. */
static void put_both_l0(json_t *metrics, const qsr_learner *l)
{
    double eval = json_real_value(json_object_get(metrics, "l0")), train = l->report.l0;
    put_real(metrics, "l0_train", train);
    put_real(metrics, "l0_eval", eval);
    if (fabs(eval - train) > 0.05 * fmax(train, 1e-12))
        qsr_log(QSR_LOG_WARNING, "%s: l0 is %.4g by the rule of training and %.4g by the threshold of evaluation, more than 5 %% apart: the threshold follows the "
                "batches by 1 %% a step, so train for more steps, and compare with others at equal l0 (compare --at l0=%.3g)",
                l->spec->id, train, eval, eval);
}

static void warn_of_numbers(const qsr_learner *l, const qsr_evaluation *v)
{
    const double fvu = qsr_evaluation_get(v, "fvu");
    if (fvu > 10) /* an SAE that has hardly been trained is above 1, too */
        qsr_log(QSR_LOG_WARNING, "%s: fvu is %.4g, far worse than predicting the mean: did training diverge? Its train.lr is %g", l->spec->id,
                fvu, l->spec->train.lr);
    const double clean = qsr_evaluation_get(v, "ce_clean"), zero = qsr_evaluation_get(v, "ce_zero"), mean = qsr_evaluation_get(v, "ce_mean");
    if (zero <= clean || mean <= clean)
        qsr_log(QSR_LOG_NOTICE, "%s: the model's loss is %.4g, and %.4g with %s in place of the hidden states: ce_recovered_%s says nothing "
                "here (is this text that the model knows?)", l->spec->id, clean, zero <= clean ? zero : mean,
                zero <= clean ? "zeros" : "their mean", zero <= clean ? "zero" : "mean");
}

qsr_status qsr_store_result(qsr_store *s, const qsr_result *r, qsr_error *e)
{
    json_t *root = json_object();
    put_text(root, "status", r->status);
    json_object_set_new(root, "reason", r->reason ? json_string(r->reason) : json_null());
    if (strcmp(r->status, "failed") == 0) json_object_set_new(root, "resumable", json_boolean(r->resumable));
    put_text(root, "cell", r->learner->spec->id);
    json_t *metrics = r->evaluation ? metrics_of(r->evaluation) : json_object();
    if (r->evaluation && r->evaluation->scored && r->learner->coupled && r->learner->step) put_both_l0(metrics, r->learner);
    if (r->evaluation && r->evaluation->scored && r->learner->step) warn_of_numbers(r->learner, r->evaluation);
    json_object_set_new(root, "metrics", metrics);
    if (r->evaluation) put_histograms(root, r->evaluation);
    json_t *train = training_of(r->learner);
    if (r->evaluation && r->data->masked) put_count(train, "excluded", r->excluded);
    json_object_set_new(root, "train", train);
    json_t *eval = json_object();
    const bool scored = r->evaluation && r->evaluation->scored;
    put_count(eval, "tokens", scored ? r->data->held_kept : 0);
    if (scored && r->data->masked) put_count(eval, "excluded", r->data->held_rows - r->data->held_kept);
    json_object_set_new(eval, "held_out", json_true());
    json_object_set_new(root, "eval", eval);
    qsr_status status = qsr_store_there(s, e);
    if (!status) status = qsr_json_write(qsr_store_path(s, "result.json"), root, e);
    json_decref(root);
    return status;
}

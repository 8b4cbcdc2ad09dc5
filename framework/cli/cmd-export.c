/* `quasar export`: runs and SAEs for other people's tools. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "exchange/fold.h"
#include "exchange/probe.h"
#include "exchange/write.h"
#include "lab/convert.h"
#include "math/kernel.h"
#include "report/tensorboard.h"

/* The folder of runs, or a run's own: event files among a run's files would be nobody's. */
static bool is_among_runs(const qsr_archive *archive, const char *folder)
{
    qsr_arena arena = {0};
    const char *to = qsr_path_absolute(&arena, folder);
    bool among = strcmp(to, qsr_path_absolute(&arena, archive->folder)) == 0;
    for (size_t i = 0; i < archive->count && !among; i++) {
        const char *run = qsr_path_absolute(&arena, archive->records[i].path);
        among = qsr_starts_with(to, run) && (to[strlen(run)] == 0 || to[strlen(run)] == '/');
    }
    qsr_arena_free(&arena);
    return among;
}

static int export_tensorboard(const char *from, const char *folder)
{
    qsr_archive archive;
    qsr_error e = {0};
    if (qsr_archive_read(from, &archive, &e)) return qsr_cli_report(&e);
    int code = QSR_EXIT_OK;
    if (is_among_runs(&archive, folder)) {
        qsr_fail(&e, QSR_E_INPUT, "--tensorboard %s would put event files among the runs' own files: name another folder", folder);
        code = qsr_cli_report(&e);
    } else if (qsr_tensorboard_write(&archive, folder, &e))
        code = qsr_cli_report(&e);
    else
        printf("%s: %zu run%s; show them with tensorboard --logdir %s\n", folder, archive.count, archive.count == 1 ? "" : "s", folder);
    qsr_archive_free(&archive);
    return code;
}

/* ---- SAEs --------------------------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_args *args;
    qsr_export_format format;
    const char *from, *to;
    qsr_rule as; /* QSR_RULE_UNKNOWN: as it is */
    bool fold_scale, fold_norms, fold_bias;
    qsr_pool *pool;
    qsr_pretrained sae;
    bool converted;
    qsr_conversion conversion;
    qsr_problems problems;
} job;

static void show_progress(void *ctx, uint64_t rows, uint64_t of) { qsr_progress_evaluating(ctx, rows, of); }

/* As another activation, which is measured. */
static qsr_status convert(job *j, qsr_error *e)
{
    if (j->as == QSR_RULE_UNKNOWN || j->as == j->sae.rule) return QSR_OK;
    qsr_registry *registry = qsr_cli_registry(j->args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_progress_display *display = qsr_progress_open("export", 0, qsr_args_has(j->args, "quiet"));
    qsr_convert_options o = {.as = j->as, .spec = qsr_args_value(j->args, "spec"), .env = &env, .pool = j->pool, .ctx = display,
                             .progress = show_progress};
    qsr_status status = qsr_lab_convert(&j->sae, &o, &j->conversion, &j->problems, e);
    qsr_progress_close(display);
    qsr_registry_free(registry);
    j->converted = !status;
    return status;
}

static qsr_status fold(job *j, qsr_error *e)
{
    qsr_pretrained *p = &j->sae;
    qsr_status status = j->fold_scale || j->fold_norms || j->fold_bias ? qsr_pretrained_usable(p, e) : QSR_OK;
    if (status) return status;
    if (j->fold_scale && p->normalise.mode == QSR_NORMALISE_DATASET) {
        qsr_fold_scale(p, p->normalise.scale);
        p->normalise = (qsr_normalise){QSR_NORMALISE_NONE, 1};
    }
    if (j->fold_norms) {
        status = qsr_fold_norms(p, NULL, e);
        p->rescale = false;
        if (!status && p->weights[QSR_FINETUNING].data) qsr_fold_finetuning(p);
    }
    if (!status && j->fold_bias) qsr_fold_pre_bias(p, true);
    return status;
}

static void put_both(json_t *object, const char *name, const qsr_conversion *c)
{
    json_t *both = json_object();
    json_object_set_new(both, "before", qsr_json_real(qsr_evaluation_get(&c->before, name)));
    json_object_set_new(both, "after", qsr_json_real(qsr_evaluation_get(&c->after, name)));
    json_object_set_new(object, name, both);
}

/* What cfg.json says about the export, for whoever reads it next. */
static qsr_status describe(const job *j, const char *from, json_t **ret, qsr_error *e)
{
    qsr_pretrained copy;
    qsr_sae sae;
    qsr_probe probe;
    if (!qsr_rule_architecture(j->sae.rule) || qsr_pretrained_usable(&j->sae, NULL)) return QSR_OK; /* the writer says why not */
    qsr_status status = qsr_pretrained_copy(&j->sae, &copy, e);
    if (status) return status;
    status = qsr_pretrained_make(&copy, j->pool, &sae, e);
    qsr_pretrained_free(&copy);
    if (status) return status;
    status = qsr_probe_run(&sae, &probe, e);
    qsr_sae_free(&sae);
    if (status) return status;
    json_t *extra = *ret = json_object();
    json_object_set_new(extra, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(extra, "from", json_string(from));
    json_object_set_new(extra, "probe", qsr_probe_json(&probe));
    if (!j->converted) return QSR_OK;
    json_t *cost = json_object();
    put_both(cost, "l0", &j->conversion);
    put_both(cost, "nmse", &j->conversion);
    json_object_set_new(extra, "conversion", cost);
    return QSR_OK;
}

/* The written files read back must do what the SAE did. */
static qsr_status read_back(const job *j, const json_t *extra, qsr_error *e)
{
    qsr_pretrained p;
    qsr_sae sae;
    qsr_probe probe;
    qsr_status status = qsr_pretrained_open(j->to, &p, e);
    if (status) return status;
    if (extra) status = qsr_pretrained_make(&p, j->pool, &sae, e);
    if (extra && !status) {
        status = qsr_probe_run(&sae, &probe, e);
        if (!status) status = qsr_probe_compare(&probe, json_object_get(extra, "probe"), p.weights_path, p.architecture, e);
        qsr_sae_free(&sae);
    }
    qsr_pretrained_free(&p);
    return status;
}

static void print_cost(const qsr_conversion *c, const char *was, const char *now)
{
    if (c->k) printf("%s as %s: k %zu", was, now, c->k);
    else printf("%s as %s: threshold %.6g", was, now, c->threshold);
    printf(", chosen on %llu training rows; on %llu held-out rows\n", (unsigned long long)c->calibrated, (unsigned long long)c->scored);
    printf("  l0    %10.6g -> %.6g\n  nmse  %10.6g -> %.6g\n", qsr_evaluation_get(&c->before, "l0"), qsr_evaluation_get(&c->after, "l0"),
           qsr_evaluation_get(&c->before, "nmse"), qsr_evaluation_get(&c->after, "nmse"));
}

static qsr_status export_sae(job *j, qsr_error *e)
{
    qsr_status status = qsr_pretrained_open(j->from, &j->sae, e);
    if (status) return status;
    const char *was = j->sae.plugin ? j->sae.plugin : j->sae.architecture, *format = j->sae.format;
    json_t *extra = NULL;
    status = qsr_pretrained_finite(&j->sae, e);
    if (!status) status = convert(j, e);
    if (!status) status = fold(j, e);
    if (!status) status = describe(j, format, &extra, e);
    if (!status) status = qsr_pretrained_write(&j->sae, j->format, j->to, extra, e);
    if (!status) status = read_back(j, extra, e);
    if (!status && j->converted) print_cost(&j->conversion, was, j->sae.architecture);
    if (!status)
        printf("%s: %s, d_in %zu, d_sae %zu, for %s\n", j->to, qsr_rule_architecture(j->sae.rule), j->sae.d_in, j->sae.d_sae,
               j->format == QSR_TO_SAELENS ? "SAELens" : "sparsify");
    json_decref(extra);
    qsr_pretrained_free(&j->sae);
    return status;
}

static int read_choices(job *j)
{
    qsr_error e = {0};
    const char *as = qsr_args_value(j->args, "as");
    if (qsr_export_format_parse(qsr_args_value(j->args, "to"), &j->format, &e)) return qsr_command_misused(&qsr_cmd_export, "%s", e.text);
    if (as && strcmp(as, "jumprelu") != 0 && strcmp(as, "topk") != 0)
        return qsr_command_misused(&qsr_cmd_export, "--as takes jumprelu or topk, not '%s'", as);
    if (as) j->as = as[0] == 't' ? QSR_RULE_TOPK : QSR_RULE_THRESHOLD;
    for (const char *const *what = qsr_args_values(j->args, "fold"); *what; what++) {
        j->fold_scale = j->fold_scale || strcmp(*what, "scale") == 0;
        j->fold_norms = j->fold_norms || strcmp(*what, "norms") == 0;
        j->fold_bias = j->fold_bias || strcmp(*what, "bias") == 0;
        if (strcmp(*what, "scale") != 0 && strcmp(*what, "norms") != 0 && strcmp(*what, "bias") != 0)
            return qsr_command_misused(&qsr_cmd_export, "--fold takes scale, norms or bias, not '%s'", *what);
    }
    return QSR_EXIT_OK;
}

static int export_to(qsr_args *args)
{
    job j = {.args = args};
    unsigned threads;
    qsr_error e = {0};
    if (args->n_words != 2) return qsr_command_misused(&qsr_cmd_export, "--to needs a run or an SAE, and the folder to write");
    j.from = args->words[0];
    j.to = args->words[1];
    int code = read_choices(&j);
    if (code) return code;
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_export, "%s", e.text);
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &j.pool, &e)) return qsr_cli_report(&e);
    if (export_sae(&j, &e)) code = j.problems.count ? qsr_cli_problems(&j.problems) : qsr_cli_report(&e);
    qsr_problems_free(&j.problems);
    qsr_pool_free(j.pool);
    return code;
}

static int run(qsr_args *args)
{
    const char *folder = qsr_args_value(args, "tensorboard"), *to = qsr_args_value(args, "to");
    if (to && folder) return qsr_command_misused(&qsr_cmd_export, "--to and --tensorboard are two exports: give one of them");
    if (to) return export_to(args);
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_export, "needs one folder of runs, got %zu", args->n_words);
    if (!folder) return qsr_command_misused(&qsr_cmd_export, "needs --tensorboard DIR2, where to write, or --to FORMAT");
    return export_tensorboard(args->words[0], folder);
}

const qsr_command qsr_cmd_export = {
    .name = "export",
    .synopsis = "SAE --to saelens|sparsify DIR [--as jumprelu|topk [--spec SPEC]] [--fold scale|norms|bias]... | RUNS --tensorboard DIR2",
    .summary = "write autoencoders for SAELens or sparsify, runs for TensorBoard",
    .help = "With --to, writes one autoencoder (a run, or an SAE in any format that `quasar inspect`\n"
            "reads) to the folder DIR in the format of another tool. Tensors keep their bytes unless\n"
            "something is folded into them. An activation that the format does not know is refused,\n"
            "unless --as says what to put in its place; then k or a threshold is chosen so that as\n"
            "many latents are active, and what that costs is measured on held-out rows and shown.\n\n"
            "With --tensorboard, writes an event file for every run folder below RUNS, in a folder\n"
            "of the same name below DIR2: the lines of metrics.jsonl as train/NAME, tokens per\n"
            "second as time/tokens_per_second, the metrics of the evaluation as eval/NAME at the\n"
            "last step. Files of an earlier export are replaced.",
    .options = (const qsr_arg_option[]){
        {"to", "FORMAT", "saelens: cfg.json and sae_weights.safetensors; sparsify: cfg.json and sae.safetensors"},
        {"as", "ACTIVATION", "jumprelu or topk in place of the SAE's own activation"},
        {"spec", "SPEC", "with --as: whose dataset to measure on (default: that of the run)"},
        {"fold", "WHAT", "scale: a scale of the inputs into the weights; norms: those of decoder rows into the encoder, so that rows have "
                         "norm 1; bias: b_enc such that b_dec is subtracted from the input; repeatable"},
        {"tensorboard", "DIR2", "where to write event files"},
        QSR_ARG_THREADS,
        {"quiet", NULL, "show no progress, only results"},
        QSR_ARG_PLUGIN_DIR,
        {0}},
    .run = run,
};

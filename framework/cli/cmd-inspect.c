/* `quasar inspect`: what an SAE on disk is, and what looks off about it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "cli/command.h"
#include "exchange/examine.h"
#include "exchange/probe.h"

static void line(qsr_table *t, const char *name, const char *fmt, ...) QSR_PRINTF(3, 4);
static void line(qsr_table *t, const char *name, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    qsr_table_row(t, (const char *const[]){name, text});
}

static void spread_line(qsr_table *t, const char *name, const qsr_spread *s)
{
    char low[32], middle[32], high[32];
    line(t, name, "%s, %s, %s", qsr_number_text(s->min, low, sizeof low), qsr_number_text(s->median, middle, sizeof middle),
         qsr_number_text(s->max, high, sizeof high));
}

static void what_it_is(const qsr_pretrained *p, qsr_table *t)
{
    line(t, "format", "%s", p->format);
    if (p->rule == QSR_RULE_TOPK)
        line(t, "architecture", "%s, k %zu%s", p->architecture, p->k, p->rescale ? ", selecting by p times decoder norms" : "");
    else
        line(t, "architecture", "%s%s", p->architecture, p->rescale ? ", with rescale_acts_by_decoder_norm" : "");
    line(t, "shape", "d_in %zu, d_sae %zu", p->d_in, p->d_sae);
    if (p->rule == QSR_RULE_UNKNOWN) return;
    line(t, "normalisation", "%s%s", qsr_normalise_saelens(p->normalise.mode),
         p->normalise.mode != QSR_NORMALISE_DATASET ? "" : isnan(p->normalise.scale) ? ", by an unknown factor" : ", not folded");
    if (p->folded_scale > 0) line(t, "folded scale", "%.6g: raw rows go in and come out", p->folded_scale);
    line(t, "input bias", "%s", p->pre_bias ? "b_dec is subtracted before encoding" : "none: the input is encoded as it is");
    if (p->model_name) line(t, "model", "%s", p->model_name);
    if (p->hook_name) line(t, "hook", "%s", p->hook_name);
    if (!isnan(p->recorded_l0)) line(t, "l0 in training", "%.6g", p->recorded_l0);
}

static void tensor_lines(const qsr_pretrained *p, qsr_table *t)
{
    for (size_t i = 0; i < QSR_WEIGHTS; i++) {
        const qsr_taken *w = &p->weights[i];
        char name[64], bad[64] = "";
        if (!w->data || (i == QSR_B_ENC && p->rule == QSR_RULE_GATED)) continue;
        snprintf(name, sizeof name, "tensor %s", qsr_weight_names[i]);
        if (w->not_finite) snprintf(bad, sizeof bad, ", %zu NOT FINITE", w->not_finite);
        if (i <= QSR_W_DEC) line(t, name, "%s [%zu, %zu]%s", qsr_dtype_name(w->dtype), p->d_sae, p->d_in, bad);
        else line(t, name, "%s [%zu]%s", qsr_dtype_name(w->dtype), w->count, bad);
    }
}

static void numbers(const qsr_pretrained *p, const qsr_examination *x, qsr_table *t)
{
    spread_line(t, "decoder norms", &x->decoder_norm);
    spread_line(t, "encoder norms", &x->encoder_norm);
    spread_line(t, "cos(encoder, decoder)", &x->alignment);
    if (p->weights[QSR_THRESHOLD].data) spread_line(t, "thresholds", &x->threshold);
    line(t, "norm of b_dec", "%.6g", x->b_dec_norm);
    line(t, "dead-looking latents", "%zu of %zu", x->dead, p->d_sae);
}

static void print_text(const qsr_pretrained *p, const qsr_examination *x)
{
    qsr_table t = {.columns = 2};
    what_it_is(p, &t);
    tensor_lines(p, &t);
    numbers(p, x, &t);
    printf("%s\n", p->path);
    qsr_table_print(&t, 2, stdout);
    puts("  (norms, cosines and thresholds: least, median, largest over latents; matrices latent-major)");
    for (size_t i = 0; i < p->n_notes; i++) printf("  note: %s\n", p->notes[i]);
    for (size_t i = 0; i < x->n_remarks; i++) printf("  looks off: %s\n", x->remarks[i]);
    qsr_table_free(&t);
}

static void print_json(const qsr_pretrained *p, const qsr_examination *x)
{
    qsr_text text = {0};
    json_t *root = qsr_examination_json(p, x);
    qsr_json_text(root, &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
    json_decref(root);
}

/* The probe that whoever wrote the file recorded. Running it takes the weights, so it comes last. */
static void try_probe(qsr_pretrained *p, qsr_examination *x)
{
    const json_t *recorded = qsr_pretrained_probe(p);
    qsr_probe probe;
    qsr_sae sae;
    qsr_error e = {0};
    if (!recorded || p->rule == QSR_RULE_PLUGIN || qsr_pretrained_usable(p, NULL) || qsr_pretrained_make(p, NULL, &sae, NULL)) return;
    if (!qsr_probe_run(&sae, &probe, NULL) && qsr_probe_compare(&probe, recorded, p->weights_path, p->architecture, &e))
        qsr_examination_remark(x, e.text);
    qsr_sae_free(&sae);
}

static int inspect(const char *path, bool json)
{
    qsr_pretrained p, again;
    qsr_examination x;
    qsr_error e = {0};
    if (qsr_pretrained_open(path, &p, &e)) return qsr_cli_report(&e);
    qsr_examine(&p, &x);
    if (qsr_pretrained_probe(&p) && !qsr_pretrained_open(path, &again, NULL)) {
        try_probe(&again, &x);
        qsr_pretrained_free(&again);
    }
    if (json) print_json(&p, &x);
    else print_text(&p, &x);
    qsr_examination_free(&x);
    qsr_pretrained_free(&p);
    return QSR_EXIT_OK;
}

static int run(qsr_args *args)
{
    if (args->n_words == 0) return qsr_command_misused(&qsr_cmd_inspect, "needs a run, a folder or a file with an SAE");
    int code = QSR_EXIT_OK;
    for (size_t i = 0; i < args->n_words; i++) {
        int one = inspect(args->words[i], qsr_args_has(args, "json"));
        if (one > code) code = one;
    }
    return code;
}

const qsr_command qsr_cmd_inspect = {
    .name = "inspect",
    .synopsis = "PATH... [--json]",
    .summary = "say what an autoencoder on disk is, and what looks off",
    .help = "PATH is a run, a folder in the format of SAELens, sparsify or Gemma Scope, or a\n"
            ".safetensors or .npz file. Shows architecture, shapes, types, normalisation, norms of\n"
            "the decoder, thresholds, how far encoder and decoder agree, values that are not finite,\n"
            "latents that look dead, and whatever else looks off: matrices the wrong way round,\n"
            "decoder rows without unit norm, a scale that was or was not folded in.\n"
            "Files with a Python pickle in them are refused.",
    .options = (const qsr_arg_option[]){{"json", NULL, "print it as JSON, one object for each PATH"}, {0}},
    .run = run,
};

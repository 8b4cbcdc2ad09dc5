#include "spec/experiment.h"

#include <stdint.h>

#define MOST 9007199254740992.0 /* 2^53: limits are doubles */

static const char *const normalize_choices[] = {"token", "none", "dataset", NULL};
static const char *const bias_choices[] = {"auto", "true", "false", NULL};
static const char *const screen_choices[] = {"auto", "off", "bf16", "int8", NULL};
static const char *const init_choices[] = {"tied", "released", NULL};
static const char *const b_dec_choices[] = {"mean", "zero", "geometric_median", NULL};
static const char *const norm_choices[] = {"after_step", "before_step", "none", NULL};

static const qsr_option top_options[] = {
    QSR_OPT(qsr_spec, name, .help = "name of the experiment and of its folder under --out; the file's name when left out",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_NO_ID),
    QSR_OPT(qsr_spec, seed, .help = "decides everything random but the order of the data", .def = "0"),
};

static const qsr_option dataset_options[] = {
    QSR_OPT(qsr_data_options, seed,
            .help = "orders the data; apart from the top-level seed so that several seeds share a stream", .def = "0"),
    QSR_OPT(qsr_data_options, skip_first, .help = "leaves out this many first rows of every unit (positions of a context)",
            .unit = "rows", .flags = QSR_OPT_RANGE, .min = 0, .max = INT32_MAX, .def = "0"),
    QSR_OPT(qsr_data_options, shuffle, .help = "permutes consecutive windows of `buffer` rows; false: rows in order",
            .def = "true"),
    QSR_OPT(qsr_data_options, buffer, .help = "rows of a shuffle window, all of them in memory", .unit = "rows",
            .flags = QSR_OPT_RANGE, .min = 1, .max = INT32_MAX, .def = "65536"),
    QSR_OPT(qsr_data_options, epochs, .help = "how often the data may start over, 0: without limit", .unit = "passes",
            .flags = QSR_OPT_RANGE, .min = 0, .max = MOST, .def = "0"),
};

static const qsr_option sae_options[] = {
    QSR_OPT(qsr_sae_options, d_sae, .help = "width of the code: number of latents", .unit = "latents",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE, .min = 1, .max = INT32_MAX),
    QSR_OPT(qsr_sae_options, normalize,
            .help = "token: each row to mean 0 and standard deviation 1; dataset: one factor, so that the mean norm is "
                    "sqrt(d_in); none: rows as they are",
            .choices = normalize_choices, .def = "token"),
    QSR_OPT(qsr_sae_options, pre_bias, .help = "subtract b_dec before encoding; auto: as the activation prefers",
            .choices = bias_choices, .def = "auto"),
    QSR_OPT(qsr_sae_options, encoder_bias, .help = "add and train b_enc; auto: as the activation prefers",
            .choices = bias_choices, .def = "auto"),
    QSR_OPT(qsr_sae_options, init,
            .help = "tied: decoder rows uniform on the unit sphere, encoder their transpose; released: uniform encoder, "
                    "decoder its transpose with unit rows",
            .choices = init_choices, .def = "tied"),
    QSR_OPT(qsr_sae_options, init_scale, .help = "factor on the encoder after init; acts as a hidden k for top-AFA",
            .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN, .min = 0, .max = 1e6, .def = "1"),
    QSR_OPT(qsr_sae_options, b_dec_init,
            .help = "start of the decoder bias: mean or geometric median of the first 65,536 normalised training rows, or "
                    "zero",
            .choices = b_dec_choices, .def = "mean"),
    QSR_OPT(qsr_sae_options, init_from,
            .help = "safetensors file with W_enc, W_dec, b_enc, b_dec and thresholds to start from; replaces init, "
                    "init_scale and b_dec_init",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT(qsr_sae_options, screen,
            .help = "for activations that keep few latents: a product in 8-bit integers (int8, AVX512-VNNI) or bfloat16 (bf16, "
                    "AVX512-BF16) with proven bounds leaves few pre-activations to compute, and the results are the same; auto: where "
                    "the processor has one and k is at most d_sae/64, int8 for rows of up to 4,096 columns",
            .flags = QSR_OPT_NO_ID, .choices = screen_choices, .def = "auto"),
};

static const qsr_option train_options[] = {
    QSR_OPT(qsr_train_options, tokens, .help = "rows to train on, rounded down to whole batches", .unit = "tokens",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE, .min = 1, .max = MOST),
    QSR_OPT(qsr_train_options, batch, .help = "rows of a step", .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 1,
            .max = 16777216, .def = "4096"),
    QSR_OPT(qsr_train_options, lr, .help = "learning rate of Adam, after warmup and before decay", .flags = QSR_OPT_RANGE,
            .cite = "Kingma & Ba 2015, arXiv 1412.6980", .min = 0, .max = 1000, .def = "3e-4"),
    QSR_OPT(qsr_train_options, beta1, .help = "Adam's decay of the first moment", .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MAX,
            .cite = "Kingma & Ba 2015, arXiv 1412.6980", .min = 0, .max = 1, .def = "0.9"),
    QSR_OPT(qsr_train_options, beta2, .help = "Adam's decay of the second moment",
            .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MAX, .cite = "Kingma & Ba 2015, arXiv 1412.6980", .min = 0, .max = 1,
            .def = "0.99"),
    QSR_OPT(qsr_train_options, clip_norm, .help = "gradients are scaled down to this norm over all parameters together",
            .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN, .min = 0, .max = 1e30, .def = "1.0"),
    QSR_OPT(qsr_train_options, warmup, .help = "fraction of training over which lr rises from 0 in a straight line",
            .flags = QSR_OPT_RANGE, .min = 0, .max = 1, .def = "0"),
    QSR_OPT(qsr_train_options, decay,
            .help = "fraction of training, at its end, over which lr falls to 0 in a straight line", .flags = QSR_OPT_RANGE,
            .min = 0, .max = 1, .def = "0"),
    QSR_OPT(qsr_train_options, dead_after, .help = "a latent without activity for this long counts as dead",
            .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 1, .max = MOST, .def = "1_000_000"),
    QSR_OPT(qsr_train_options, decoder_norm,
            .help = "when decoder rows are set to unit norm: after the update, before it (the published order), or never",
            .choices = norm_choices, .def = "after_step"),
    QSR_OPT(qsr_train_options, log_every, .help = "steps between lines of metrics.jsonl", .unit = "steps",
            .flags = QSR_OPT_RANGE | QSR_OPT_NO_ID, .min = 1, .max = MOST, .def = "10"),
    QSR_OPT(qsr_train_options, checkpoint_every, .help = "steps between checkpoints", .unit = "steps",
            .flags = QSR_OPT_RANGE | QSR_OPT_NO_ID, .min = 1, .max = MOST, .def = "500"),
};

static const qsr_option eval_options[] = {
    QSR_OPT(qsr_eval_options, tokens, .help = "rows at the end of the data that are held out and scored; 0: none",
            .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 0, .max = MOST, .def = "65_536"),
    QSR_OPT(qsr_eval_options, latents, .help = "write latents.csv: frequency, activations, norm and nearest neighbour of every latent",
            .flags = QSR_OPT_NO_ID, .def = "true"),
    QSR_OPT(qsr_eval_options, top_contexts,
            .help = "with latents: rows of largest activation to write for each latent, to top_contexts.jsonl; 0: no such file",
            .unit = "rows", .flags = QSR_OPT_RANGE | QSR_OPT_NO_ID, .min = 0, .max = 1000, .def = "5"),
    QSR_OPT(qsr_eval_options, context_before, .help = "tokens of text before each of those rows, where the dataset knows its tokens",
            .unit = "tokens", .flags = QSR_OPT_RANGE | QSR_OPT_NO_ID, .min = 0, .max = 4096, .def = "16"),
    QSR_OPT(qsr_eval_options, context_after, .help = "tokens of text after them", .unit = "tokens",
            .flags = QSR_OPT_RANGE | QSR_OPT_NO_ID, .min = 0, .max = 4096, .def = "8"),
    QSR_OPT(qsr_eval_options, ce_tokens,
            .help = "of those rows, the first so many are also replaced in the model, to see what becomes of its loss (ce_sae, "
                    "ce_recovered_zero, kl); 0: none. Only where the dataset is a model",
            .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 0, .max = MOST, .def = "16_384"),
};

#define ROWS(table_)                                                                                                       \
    {                                                                                                                      \
        table_, sizeof table_ / sizeof table_[0], sizeof table_[0]                                                         \
    }
#define MEMBER(member_) offsetof(qsr_spec, member_), sizeof(((qsr_spec *)0)->member_)

const qsr_part *qsr_experiment_part(unsigned part)
{
    static const qsr_part parts[QSR_PARTS] = {
        [QSR_PART_TOP] = {"", "The experiment.", ROWS(top_options), 0, sizeof(qsr_spec)},
        [QSR_PART_DATASET] = {"dataset", "Where rows come from; the options of its `plugin` stand beside these.",
                              ROWS(dataset_options), MEMBER(data)},
        [QSR_PART_SAE] = {"sae", "The autoencoder and how it starts.", ROWS(sae_options), MEMBER(sae)},
        [QSR_PART_TRAIN] = {"train", "Training.", ROWS(train_options), MEMBER(train)},
        [QSR_PART_EVAL] = {"eval", "Evaluation after training.", ROWS(eval_options), MEMBER(eval)},
    };
    return &parts[part];
}

const char *const *qsr_experiment_reserved(uint32_t kind)
{
    static const char *const dataset[] = {"plugin", "seed", "skip_first", "shuffle", "buffer", "epochs", NULL};
    static const char *const other[] = {"plugin", NULL};
    return kind == QSR_DATASET ? dataset : other;
}

void qsr_experiment_help(size_t columns, qsr_text *out)
{
    static const char shape[] =
        "A spec is one YAML mapping:\n\n"
        "  name: quickstart\n"
        "  dataset: { plugin: synthetic }        # the plugin's own options stand beside those of the host\n"
        "  sae: { d_sae: 1024 }\n"
        "  activation: { plugin: topk, k: 16 }\n"
        "  losses: { mse: {}, afa2: { plugin: afa, coeff: 1/32 } }  # the name is the plugin unless said\n"
        "  train: { tokens: 1_000_000 }\n"
        "  extends: base.yaml                    # or a list: maps merge, everything else replaces\n"
        "  grid: [{ activation.k: [8, 16] }]     # many runs: each block is the product of its lists\n"
        "  seeds: [1, 2]                         # one more list in every block\n\n"
        "`hook: {layer: 4}` and `hook.layer: 4` are the same. Numbers may be grouped (65_536) and\n"
        "rational (1/32). On the command line `train.tokens=400_000` overrides a value and\n"
        "`losses.auxk=off` removes a loss.\n\n"
        "Several experiments in one spec:\n\n"
        "  grid:                                 # a union of blocks, each a product; the rest is their base\n"
        "    - { activation.plugin: [topk, batchtopk], activation.k: [8, 16] }\n"
        "    - { activation.plugin: topafa, losses.afa.coeff: [1/32, 1/16] }\n"
        "  seeds: [1, 2, 3]                      # one more axis of every block\n\n"
        "`activation.k=8,16,32` does the same on the command line; `quasar show --cells` lists what\n"
        "comes of it. docs/SPEC.md has the rules.\n";
    qsr_text_puts(out, shape);
    for (unsigned i = 0; i < QSR_PARTS; i++) {
        const qsr_part *part = qsr_experiment_part(i);
        qsr_text_add(out, "\n%s: %s\n", part->key[0] ? part->key : "top level", part->help);
        qsr_options_help(&part->options, columns, out);
    }
}

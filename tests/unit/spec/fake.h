/* tests/unit/spec/fake.h: plugins that exist only as option tables, like those of the real topk, batchtopk, topafa, relu, mse, auxk, afa,
 * synthetic and gpt2, so that specs can be resolved without loading anything. */
#ifndef QSR_TESTS_SPEC_FAKE_H
#define QSR_TESTS_SPEC_FAKE_H
#include <string.h>

#include "base/text.h"
#include "spec/spec.h"

#define FAKE_COUNT(table_) (sizeof table_ / sizeof table_[0])

struct fake_topk {
    int64_t k;
    double temperature;
};
static const qsr_option fake_topk_options[] = {
    QSR_OPT(struct fake_topk, k, .help = "latents kept per row", .unit = "latents per row",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 1, .max = UINT32_MAX),
    QSR_OPT(struct fake_topk, temperature, .alias = "temp", .help = "softness", .cite = "nobody",
            .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN | QSR_OPT_OPEN_MAX, .min = 0, .max = 2, .def = "1"),
};

struct fake_batchtopk {
    int64_t k;
    double decay, start;
};
static const qsr_option fake_batchtopk_options[] = {
    QSR_OPT(struct fake_batchtopk, k, .help = "latents kept per row, on average", .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE,
            .min = 1, .max = UINT32_MAX),
    QSR_OPT(struct fake_batchtopk, decay, .alias = "momentum", .help = "of the threshold", .flags = QSR_OPT_RANGE, .min = 0,
            .max = 1, .def = "0.99"),
    QSR_OPT(struct fake_batchtopk, start, .help = "use decay instead", .flags = QSR_OPT_RANGE | QSR_OPT_DEPRECATED,
            .min = 0, .max = 1, .def = "0"),
};

struct fake_topafa {
    double slack;
};
static const qsr_option fake_topafa_options[] = {
    QSR_OPT(struct fake_topafa, slack, .help = "added to the target norm", .flags = QSR_OPT_RANGE, .min = -1, .max = 1,
            .def = "0"),
};

struct fake_coeff {
    double coeff;
};
static const qsr_option fake_mse_options[] = {
    QSR_OPT(struct fake_coeff, coeff, .help = "weight", .flags = QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0, .max = 1e12,
            .def = "1"),
};

struct fake_auxk {
    double coeff;
    int64_t k;
    uint64_t dead_after;
    const char *normalize;
    bool detach_residual;
};
static const char *const fake_auxk_normalize[] = {"variance", "none", NULL};
static const qsr_option fake_auxk_options[] = {
    QSR_OPT(struct fake_auxk, coeff, .help = "weight", .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE | QSR_OPT_SCHEDULE,
            .min = 0, .max = 1e12),
    QSR_OPT(struct fake_auxk, k, .help = "dead latents per row; 0: half of d_in", .flags = QSR_OPT_OPTIONAL | QSR_OPT_RANGE,
            .min = 0, .max = UINT32_MAX),
    QSR_OPT(struct fake_auxk, dead_after, .help = "0: train.dead_after", .unit = "tokens",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_SCHEDULE),
    QSR_OPT(struct fake_auxk, normalize, .help = "what divides the error", .choices = fake_auxk_normalize,
            .def = "variance"),
    QSR_OPT(struct fake_auxk, detach_residual, .help = "stop the gradient through the residual", .def = "true"),
};

struct fake_afa {
    double coeff;
    const char *norm, *target;
};
static const char *const fake_afa_norm[] = {"plain", "decoder", NULL};
static const char *const fake_afa_target[] = {"input", "centred", NULL};
static const qsr_option fake_afa_options[] = {
    QSR_OPT(struct fake_afa, coeff, .help = "weight", .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE, .min = 0, .max = 1e12),
    QSR_OPT(struct fake_afa, norm, .help = "which norm of f", .choices = fake_afa_norm, .def = "plain"),
    QSR_OPT(struct fake_afa, target, .help = "which norm of x", .choices = fake_afa_target, .def = "input"),
};

struct fake_synthetic {
    int64_t d_in, features;
    double l0, noise;
    const char *firing;
};
static const char *const fake_firing[] = {"uniform", "zipf", NULL};
static const qsr_option fake_synthetic_options[] = {
    QSR_OPT(struct fake_synthetic, d_in, .help = "width", .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 20, .def = "64"),
    QSR_OPT(struct fake_synthetic, features, .help = "true features", .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 24,
            .def = "256"),
    QSR_OPT(struct fake_synthetic, l0, .help = "active features", .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN, .min = 0,
            .max = 1e6, .def = "8"),
    QSR_OPT(struct fake_synthetic, noise, .help = "standard deviation", .flags = QSR_OPT_RANGE, .min = 0, .max = 1e6,
            .def = "0"),
    QSR_OPT(struct fake_synthetic, firing, .help = "how often features fire", .choices = fake_firing, .def = "uniform"),
};

struct fake_gpt2 {
    const char *model, *site;
    qsr_strings tokens;
    int64_t layer, context;
};
static const char *const fake_sites[] = {"resid_pre", "resid_post", NULL};
static const qsr_option fake_gpt2_options[] = {
    QSR_OPT(struct fake_gpt2, model, .help = "folder", .flags = QSR_OPT_REQUIRED | QSR_OPT_PATH),
    QSR_OPT(struct fake_gpt2, tokens, .help = "token files", .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT_NAMED(struct fake_gpt2, layer, "hook.layer", .help = "layer",
                  .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE | QSR_OPT_TAP, .min = 0, .max = 1000),
    QSR_OPT_NAMED(struct fake_gpt2, site, "hook.site", .help = "site", .choices = fake_sites, .flags = QSR_OPT_TAP,
                  .def = "resid_pre"),
    QSR_OPT(struct fake_gpt2, context, .help = "tokens of a context", .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 20,
            .def = "128"),
};

/* Its default is out of range, so a spec that names it must be refused. */
static const qsr_option fake_broken_options[] = {
    QSR_OPT(struct fake_topafa, slack, .help = "wrong", .flags = QSR_OPT_RANGE, .min = 0, .max = 1, .def = "2"),
};

#define FAKE(kind_, name_, type_)                                                                                          \
    {                                                                                                                      \
        .abi = QSR_ABI(kind_), .name = #name_, .version = "1", .summary = "fake", .options = fake_##name_##_options,       \
        .n_options = FAKE_COUNT(fake_##name_##_options), .options_size = sizeof(type_)                                     \
    }
static const qsr_plugin fake_plugins[] = {
    FAKE(QSR_ACTIVATION, topk, struct fake_topk),
    FAKE(QSR_ACTIVATION, batchtopk, struct fake_batchtopk),
    FAKE(QSR_ACTIVATION, topafa, struct fake_topafa),
    FAKE(QSR_ACTIVATION, broken, struct fake_topafa),
    {.abi = QSR_ABI(QSR_ACTIVATION), .name = "relu", .version = "1", .summary = "fake"},
    FAKE(QSR_LOSS, mse, struct fake_coeff),
    FAKE(QSR_LOSS, auxk, struct fake_auxk),
    FAKE(QSR_LOSS, afa, struct fake_afa),
    FAKE(QSR_DATASET, synthetic, struct fake_synthetic),
    FAKE(QSR_DATASET, gpt2, struct fake_gpt2),
};

/* Also knows an activation `refused`, whose file cannot be used. */
static inline const qsr_plugin *fake_find(void *ctx, uint32_t kind, const char *name, const char **ret_near, qsr_error *e)
{
    const char *names[FAKE_COUNT(fake_plugins) + 1] = {NULL};
    size_t n = 0;
    (void)ctx;
    for (size_t i = 0; i < FAKE_COUNT(fake_plugins); i++) {
        if (fake_plugins[i].abi.kind != kind) continue;
        if (strcmp(fake_plugins[i].name, name) == 0) return &fake_plugins[i];
        names[n++] = fake_plugins[i].name;
    }
    if (kind == QSR_ACTIVATION && strcmp(name, "refused") == 0) {
        qsr_fail(e, QSR_E_UNSUPPORTED, "refused.so: built for ABI 2.0, this is 1.0");
        return NULL;
    }
    *ret_near = qsr_nearest(name, names);
    return NULL;
}

static const char *const fake_folders[] = {"shared", NULL};
static const qsr_spec_env fake_env = {.find = fake_find, .extends_folders = fake_folders};
#endif

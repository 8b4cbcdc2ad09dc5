#include "cli/bench-table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "cli/command.h"
#include "math/kernel.h"
#include "math/screen.h"

enum { MOST_OVERRIDES = 6, REPEATS = 3 };

/* One row. `limit` is the target for step / T; 0: the row is compared with the first instead, per token and latent. A learning rate
 * of nearly 0 keeps l0 where it is; init_scale and init_threshold put it there. */
typedef struct {
    const char *name, *overrides[MOST_OVERRIDES];
    double limit, dead;
    bool screened;
} bench_case;

#define STILL "train.lr=1e-12"
#define FULL "sae.screen=off"
#define SCREENED "sae.screen=" /* and what is best on the machine, which the row says */
#define BATCHTOPK "activation={plugin: batchtopk, k: 32}"

static const bench_case cases[] = {
    {"topk", {STILL, FULL, "eval.tokens=4096"}, 1.20, 0, false},
    {"topk, half dead", {STILL, FULL}, 2.0, 0.5, false},
    {"topk, screened", {STILL, SCREENED}, 0.6, 0, true},
    {"batchtopk", {STILL, FULL, BATCHTOPK}, 1.25, 0, false},
    {"batchtopk, screened", {STILL, SCREENED, BATCHTOPK}, 0.7, 0, true},
    {"topafa", {STILL, "activation={plugin: topafa}", "sae.init_scale=0.385", "losses.auxk=off"}, 2.6, 0, false},
    {"relu + l1", {STILL, "activation={plugin: relu}", "losses={mse: {}, l1: {coeff: 1e-4}}"}, 5.0, 0, false},
    {"jumprelu", {STILL, FULL, "activation={plugin: jumprelu, init_threshold: 2.4}", "losses.auxk=off"}, 1.3, 0, false},
    {"jumprelu, screened",
     {STILL, SCREENED, "activation={plugin: jumprelu, init_threshold: 2.4}", "losses.auxk=off"},
     1.0,
     0,
     true},
    {"topk, twice the batch", {STILL, FULL, "train.batch=8192"}, 0, 0, false},
    {"topk, twice the latents", {STILL, FULL, "sae.d_sae=24576"}, 0, 0, false},
};

/* ---- rows */

static void print_head(void)
{
    printf("  %-24s %9s %10s %9s %8s %9s %10s %10s\n", "CASE", "l0", "ms", "T, ms", "over T", "at most", "peak",
           "its own");
}

static void print_row(const char *name, double l0, double ms, double t, double ratio, double limit, const char *peak,
                      const char *own)
{
    char l0_text[32] = "", bound[32] = "";
    if (l0 >= 0) snprintf(l0_text, sizeof l0_text, "%.5g", l0);
    if (limit > 0) snprintf(bound, sizeof bound, "%.2f%s", limit, ratio <= limit ? "" : " !");
    printf("  %-24s %9s %10.1f %9.1f %8.3f %9s %10s %10s\n", name, l0_text, ms, t, ratio, bound, peak, own);
    fflush(stdout);
}

/* "Own" memory is what exceeds weights, gradients, moments and the shuffle buffer. */
static void print_case(const bench_case *c, const qsr_bench *b)
{
    char peak[32], own[32];
    size_t extra = b->peak_bytes > b->plain_bytes ? b->peak_bytes - b->plain_bytes : 0;
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", c->name, c->screened ? " " : "", c->screened ? b->screen : "");
    print_row(name, b->l0, b->step.median, b->t.median, b->step.median / b->t.median, c->limit,
              qsr_size_text(b->peak_bytes, peak, sizeof peak), qsr_size_text(extra, own, sizeof own));
}

static double per_token_and_latent(const qsr_bench *b) { return b->step.median / (double)b->batch / (double)b->d_sae; }

static void print_growth(const char *name, const qsr_bench *first, const qsr_bench *b)
{
    char text[64];
    snprintf(text, sizeof text, "%s, each", name + strlen("topk, "));
    print_row(text, -1, per_token_and_latent(b) * 1e6, per_token_and_latent(first) * 1e6,
              per_token_and_latent(b) / per_token_and_latent(first), 1.1, "", "");
}

/* Half of the product of the decoder with itself at the speed of T: what a symmetric product must do. */
static double half_product(const qsr_bench *b) { return b->t.median * (double)b->d_sae / (2 * (double)b->batch); }

static void print_evaluation(const qsr_bench *b)
{
    if (!(b->evaluation.median > 0)) return;
    print_row("evaluation of a batch", -1, b->evaluation.median, b->t.median, b->evaluation.median / b->t.median, 1.15, "",
              "");
    print_row("coherence, of half T(W)", -1, b->coherence.median, half_product(b), b->coherence.median / half_product(b),
              1.1, "", "");
}

/* ---- running them */

static const char *best_screen(void)
{
    return qsr_screen_tiles_get(QSR_SCREEN_INT8)   ? SCREENED "int8"
           : qsr_screen_tiles_get(QSR_SCREEN_BF16) ? SCREENED "bf16"
                                                   : FULL;
}

static qsr_spec *load_case(const bench_case *c, const char *base, const qsr_args *args, const qsr_spec_env *env,
                           qsr_problems *problems)
{
    size_t own = 0;
    while (own < MOST_OVERRIDES && c->overrides[own]) own++;
    const char **all = qsr_xcalloc(own + args->n_overrides + 1, sizeof *all);
    for (size_t i = 0; i < own; i++) all[i] = strcmp(c->overrides[i], SCREENED) == 0 ? best_screen() : c->overrides[i];
    if (args->n_overrides) memcpy(all + own, args->overrides, args->n_overrides * sizeof *all);
    qsr_spec *spec = NULL;
    qsr_status status = qsr_spec_load_text("the built-in spec of quasar bench", base, strlen(base), all,
                                           own + args->n_overrides, env, &spec, problems);
    free(all);
    return status ? NULL : spec;
}

static int run_case(const bench_case *c, const qsr_spec *spec, qsr_pool *pool, size_t repeats, qsr_bench_product *product,
                    qsr_bench *ret, qsr_problems *problems)
{
    qsr_error e = {0};
    qsr_bench_options options = {.repeats = repeats ? repeats : REPEATS, .dead = c->dead, .evaluate = spec->eval.tokens > 0,
                                 .brief = true, .t_once = !c->limit, .product = product};
    if (c->screened && !qsr_screen_tiles_get(QSR_SCREEN_BF16) && !qsr_screen_tiles_get(QSR_SCREEN_INT8)) {
        printf("  %-24s %s\n", c->name, "not on this machine: no AVX512-VNNI or AVX512-BF16");
        return QSR_EXIT_OK;
    }
    if (!qsr_bench_run(spec, pool, &options, ret, problems, &e)) return QSR_EXIT_OK;
    return problems->count ? qsr_cli_problems(problems) : qsr_cli_report(&e);
}

int qsr_bench_table(const char *base, const qsr_args *args, const qsr_spec_env *env, qsr_pool *pool, size_t repeats)
{
    qsr_bench first = {0};
    qsr_bench_product product = {0};
    int code = QSR_EXIT_OK;
    printf("%u thread%s, %s; medians of %zu steps\n", qsr_pool_threads(pool), qsr_pool_threads(pool) == 1 ? "" : "s",
           qsr_kernels_get()->isa, repeats ? repeats : (size_t)REPEATS);
    print_head();
    for (size_t i = 0; !code && i < sizeof cases / sizeof *cases; i++) {
        qsr_problems problems = {0};
        qsr_bench now = {0};
        qsr_spec *spec = load_case(&cases[i], base, args, env, &problems);
        code = spec ? run_case(&cases[i], spec, pool, repeats, &product, &now, &problems) : qsr_cli_problems(&problems);
        if (!code && now.repeats) print_case(&cases[i], &now);
        if (!code && !cases[i].limit) print_growth(cases[i].name, &first, &now);
        if (i == 0) {
            first = now;
            print_evaluation(&now);
        }
        qsr_spec_free(spec);
        qsr_problems_free(&problems);
    }
    qsr_bench_product_free(&product);
    if (!code && first.peak_is_older) printf("/proc/self/clear_refs cannot be written: peaks are those of all cases until there\n");
    return code;
}

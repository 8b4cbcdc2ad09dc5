/* What is kept for a loss that looks at dead latents changes nothing: with tiles of our own a training has the very bytes that it has
 * when all they ask for is encoded again, whatever fires in the batch, ties, or is asked for; with OpenBLAS it agrees to rounding. And
 * it depends on no number of threads, nor on where it was interrupted. */
#include "../unit.h"

#include <unistd.h>

#include "../bench.h"
#include "train/checkpoint.h"

enum { D_SAE = 301, STEPS = 5, MOST_LOSSES = 4 };

typedef struct {
    const char *activation, *losses, *sae;
    size_t d_in, batch;
    float asleep;   /* factor on the encoder rows of odd latents, which have been silent for long */
    bool drowned;   /* half of them never fire at all */
    bool tied;      /* weights and rows are small whole numbers */
    bool by_plugin; /* rows that decide together: not by the host */
    bool kept, again,
        none; /* rows that are known to come from what was kept; that are encoded again; a loss that keeps nothing */
} outlook_case;

#define AUXK "auxk: {k: 20, dead_after: 900, coeff: 1}"
static const outlook_case cases[] = {
    {.activation = "topk, k: 5", .losses = "mse: {}, " AUXK, .d_in = 24, .batch = 300, .asleep = 0.01f, .kept = true},
    /* a few, and then many of those that may be dead fire */
    {.activation = "topk, k: 5", .losses = "mse: {}, " AUXK, .d_in = 24, .batch = 300, .asleep = 0.6f, .kept = true},
    {.activation = "topk, k: 5",
     .losses = "mse: {}, " AUXK,
     .d_in = 24,
     .batch = 300,
     .asleep = 0.8f,
     .kept = true,
     .again = true},
    {.activation = "topk, k: 9",
     .losses = "mse: {}, auxk: {k: 24, dead_after: 1}",
     .d_in = 24,
     .batch = 1100,
     .asleep = 0.7f,
     .again = true},
    {.activation = "topk, k: 5",
     .losses = "mse: {}, " AUXK,
     .d_in = 24,
     .batch = 300,
     .asleep = 0.5f,
     .tied = true,
     .kept = true},
    {.activation = "topk, k: 5", .losses = "mse: {}, " AUXK, .d_in = 24, .batch = 300, .asleep = 1, .tied = true},
    /* more than are dead, or kept at all */
    {.activation = "topk, k: 5",
     .losses = "mse: {}, auxk: {k: 250, dead_after: 900}",
     .d_in = 260,
     .batch = 70,
     .asleep = 0.3f,
     .kept = true},
    {.activation = "topk, k: 5",
     .losses = "mse: {}, auxk: {k: 100, dead_after: 900}",
     .d_in = 24,
     .batch = 70,
     .asleep = 0.3f,
     .none = true},
    {.activation = "topk, k: 5",
     .losses = "mse: {}, auxk: {k: 20, dead_after: 900, detach_residual: false, normalize: none}",
     .d_in = 24,
     .batch = 300,
     .asleep = 0.6f,
     .kept = true},
    {.activation = "batchtopk, k: 5", .losses = "mse: {}, " AUXK, .d_in = 24, .batch = 300, .asleep = 0.6f, .kept = true},
    {.activation = "batchtopk, k: 5",
     .losses = "mse: {}, " AUXK,
     .d_in = 24,
     .batch = 300,
     .asleep = 0.6f,
     .by_plugin = true,
     .kept = true},
    {.activation = "relu",
     .losses = "mse: {}, auxk: {k: 10, dead_after: 900}",
     .sae = ", encoder_bias: true",
     .d_in = 53,
     .batch = 300,
     .asleep = 0.2f,
     .drowned = true,
     .kept = true},
    {.activation = "topk, k: 5",
     .d_in = 33,
     .batch = 300,
     .asleep = 0.6f,
     .kept = true,
     .sae = ", encoder_bias: true",
     .losses =
         "mse: {}, " AUXK ", second: {plugin: auxk, k: 3, dead_after: 2000}, third: {plugin: auxk, k: 7, dead_after: 400, "
         "detach_residual: false}"},
    {.activation = "batchtopk, k: 5",
     .losses = "mse: {}, " AUXK,
     .sae = ", screen: bf16",
     .d_in = 24,
     .batch = 300,
     .asleep = 0.6f,
     .none = true},
    {.activation = "topk, k: 5",
     .losses = "mse: {}, " AUXK,
     .sae = ", screen: bf16",
     .d_in = 24,
     .batch = 300,
     .asleep = 0.6f,
     .none = true},
};
enum { CASES = sizeof cases / sizeof *cases };

static qsr_spec *spec_of(const outlook_case *c)
{
    return bench_spec(
        "name: outlook\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\nlosses: {%s}\n"
        "sae: {d_sae: %d, normalize: none%s}\ntrain: {tokens: 100000, batch: %zu, lr: 0.003, dead_after: 900}\n",
        c->activation, c->losses, D_SAE, c->sae ? c->sae : ", screen: off", c->batch);
}

static qsr_loss_ops without[MOST_LOSSES];

/* looks_ahead: as it is; otherwise losses have no outlook. */
static qsr_learner *learner_of(const outlook_case *c, const qsr_spec *spec, unsigned threads, bool looks_ahead)
{
    qsr_learner *l = bench_learner(spec, c->d_in, bench_pool(threads));
    qsr_params *p = &l->sae.params;
    for (size_t i = 0; i < D_SAE * c->d_in; i++) {
        if (c->tied) p->w_enc[i] = roundf(8 * p->w_enc[i]);
        if (i / c->d_in % 2) p->w_enc[i] *= c->asleep;
    }
    if (c->tied) memset(p->b_dec, 0, c->d_in * sizeof(float));
    for (size_t j = 1; j < D_SAE; j += 2) l->silent[j] = 700 + 10 * j;
    for (size_t j = 1; j < D_SAE && c->drowned; j += 4) p->b_enc[j] = -100;
    if (c->by_plugin) l->by_host = false;
    qsr_sae_refresh(&l->sae);
    assert_true(l->n_losses <= MOST_LOSSES);
    for (size_t i = 0; i < l->n_losses && !looks_ahead; i++) {
        without[i] = *l->losses[i].ops;
        without[i].outlook = NULL;
        l->losses[i].ops = &without[i];
    }
    return l;
}

static void step(const outlook_case *c, qsr_learner *l)
{
    float *raw = calloc(c->batch * c->d_in, sizeof *raw);
    qsr_error e = {0};
    bench_normal(raw, c->batch * c->d_in, 100 + l->step, 1);
    for (size_t i = 0; c->tied && i < c->batch * c->d_in; i++) raw[i] = roundf(2 * raw[i]);
    if (qsr_learner_step(l, raw, &e)) fail_msg("%s", e.text);
    free(raw);
}

static void same_floats(const char *what, size_t number, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) fail_msg("case %zu: %s[%zu]: %.9g and %.9g", number, what, i, a[i], b[i]);
}

static void same_training(size_t number, const qsr_learner *a, const qsr_learner *b)
{
    size_t n = a->d_in * a->d_sae;
    for (size_t i = 0; i < a->n_losses; i++) assert_true(a->losses[i].value == b->losses[i].value);
    same_floats("gradient of W_enc", number, a->gradient.w_enc, b->gradient.w_enc, n);
    same_floats("gradient of W_dec", number, a->gradient.w_dec, b->gradient.w_dec, n);
    same_floats("W_enc", number, a->sae.params.w_enc, b->sae.params.w_enc, n);
    same_floats("W_dec", number, a->sae.params.w_dec, b->sae.params.w_dec, n);
    same_floats("b_dec", number, a->sae.params.b_dec, b->sae.params.b_dec, a->d_in);
    assert_memory_equal(a->silent, b->silent, a->d_sae * sizeof *a->silent);
}

/* ---- which way rows went ----------------------------------------------------------------------------------------- */

typedef struct {
    size_t kept, again, fired, silent;
} ways;

static uint64_t dead_after(const qsr_learner *l, size_t loss)
{
    const struct {
        double coeff;
        int64_t k;
        uint64_t dead_after;
    } *options = l->losses[loss].spec->values; /* as plugins/losses/auxk.c begins */
    return options->dead_after ? options->dead_after : l->spec->train.dead_after;
}

static void count_rows(const qsr_learner *l, size_t loss, ways *w)
{
    const qsr_outlook *o = &l->losses[loss].outlook;
    static uint8_t asked[D_SAE];
    static uint32_t latent[D_SAE];
    static float value[D_SAE];
    size_t dead = 0, n;
    for (size_t j = 0; j < D_SAE; j++) {
        dead += asked[j] = l->silent[j] >= dead_after(l, loss);
        assert_true(!asked[j] || o->named[j]);
        w->fired += o->named[j] && !asked[j];
    }
    w->silent += !dead;
    for (size_t r = 0; dead && r < l->batch; r++) {
        bool enough =
            qsr_outlook_row(o, r / o->block_rows, r % o->block_rows, asked, o->k < dead ? o->k : dead, latent, value, &n);
        w->kept += enough;
        w->again += !enough;
    }
}

static void count_ways(const qsr_learner *l, ways *w)
{
    for (size_t i = 0; i < l->n_losses; i++)
        if (l->losses[i].outlook.active) count_rows(l, i, w);
}

static void expect(size_t number, const ways *w)
{
    const outlook_case *c = &cases[number];
    print_message("case %zu: %zu rows from what was kept, %zu encoded again, %zu latents fired\n", number, w->kept,
                  w->again, w->fired);
    if (c->kept) assert_true(w->kept > 0);
    if (c->again) assert_true(w->again > 0);
    if (c->none) assert_int_equal(w->kept + w->again, 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void what_is_kept_does_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        const outlook_case *c = &cases[i];
        if (c->sae && strstr(c->sae, "bf16") && !qsr_screen_tiles_get(QSR_SCREEN_BF16)) continue;
        qsr_spec *spec = spec_of(c);
        qsr_learner *plain = learner_of(c, spec, 1, false), *ahead = learner_of(c, spec, 2, true);
        ways w = {0};
        for (size_t t = 0; t < STEPS; t++) {
            step(c, plain);
            step(c, ahead);
            count_ways(ahead, &w);
            /* OpenBLAS rounds a product of 301 latents unlike one of those that are dead: by some 24 * 2^-24 of what is summed */
            if (!qsr_tiles_get() && t == 0) assert_close(ahead->report.loss, plain->report.loss, 1e-5 * plain->report.loss);
            if (qsr_tiles_get()) same_training(i, plain, ahead);
        }
        expect(i, &w);
        qsr_learner_free(plain);
        qsr_learner_free(ahead);
        qsr_spec_free(spec);
    }
}

static void nor_do_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        const outlook_case *c = &cases[i];
        if (c->sae && strstr(c->sae, "bf16") && !qsr_screen_tiles_get(QSR_SCREEN_BF16)) continue;
        qsr_spec *spec = spec_of(c);
        qsr_learner *l[] = {learner_of(c, spec, 1, true), learner_of(c, spec, 3, true)};
        for (size_t t = 0; t < STEPS; t++) {
            step(c, l[0]);
            step(c, l[1]);
            same_training(i, l[0], l[1]);
        }
        qsr_learner_free(l[0]);
        qsr_learner_free(l[1]);
        qsr_spec_free(spec);
    }
}

static void nor_does_an_interruption(void **state)
{
    (void)state;
    const outlook_case *c = &cases[2];
    char path[4096];
    snprintf(path, sizeof path, "%s/outlook-%ld.safetensors", test_folder(), (long)getpid());
    qsr_spec *spec = spec_of(c);
    qsr_learner *l = learner_of(c, spec, 2, true), *later = learner_of(c, spec, 1, true);
    qsr_checkpoint_note note = {.isa = "any", .kernel = "any", .screen = "off"};
    for (size_t t = 0; t < 2; t++) step(c, l);
    assert_ok(qsr_checkpoint_write(l, &note, path, NULL));
    assert_ok(qsr_checkpoint_read(later, &note, path, NULL));
    for (size_t t = 0; t < 3; t++) {
        step(c, l);
        step(c, later);
        same_training(2, l, later);
    }
    unlink(path);
    qsr_learner_free(l);
    qsr_learner_free(later);
    qsr_spec_free(spec);
}

/* Nobody can be dead before dead_after tokens have passed. */
static void nothing_is_kept_while_nobody_can_be_dead(void **state)
{
    (void)state;
    const outlook_case *c = &cases[0];
    qsr_spec *spec = spec_of(c);
    qsr_learner *l = bench_learner(spec, c->d_in, bench_pool(1));
    for (size_t t = 0; t < 3; t++) { /* 300 tokens each, and dead after 900 */
        step(c, l);
        assert_int_equal(l->losses[1].outlook.active, t == 2);
        assert_int_equal(l->losses[1].outlook.kept && l->losses[1].outlook.kept[0].latent != NULL, t == 2);
    }
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static qsr_status writes_seven(const qsr_instance *self, qsr_loss_outlook *out)
{
    (void)self;
    out->latents[3] = 7;
    out->k = 1;
    return QSR_OK;
}

static qsr_status fails(const qsr_instance *self, qsr_loss_outlook *out)
{
    (void)self, (void)out;
    return QSR_E_NUMERIC;
}

static void bad_outlooks_are_refused_by_name(void **state)
{
    (void)state;
    const outlook_case *c = &cases[0];
    qsr_spec *spec = spec_of(c);
    qsr_status (*const outlooks[])(const qsr_instance *, qsr_loss_outlook *) = {writes_seven, fails};
    const qsr_status statuses[] = {QSR_E_INTERNAL, QSR_E_NUMERIC};
    for (size_t i = 0; i < 2; i++) {
        qsr_learner *l = bench_learner(spec, c->d_in, bench_pool(1));
        float *raw = calloc(c->batch * c->d_in, sizeof *raw);
        qsr_error e = {0};
        without[1] = *l->losses[1].ops;
        without[1].outlook = outlooks[i];
        l->losses[1].ops = &without[1];
        assert_int_equal(qsr_learner_step(l, raw, &e), statuses[i]);
        if (!strstr(e.text, "losses.auxk")) fail_msg("%s", e.text);
        free(raw);
        qsr_learner_free(l);
    }
    qsr_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_does_not_show),       cmocka_unit_test(nor_do_threads),
        cmocka_unit_test(nor_does_an_interruption),         cmocka_unit_test(nothing_is_kept_while_nobody_can_be_dead),
        cmocka_unit_test(bad_outlooks_are_refused_by_name),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bench_end();
    return failed;
}

/* tests/unit/bench: see the header. */
#include "unit.h"

#include "bench.h"

#include "base/arena.h"
#include "base/rng.h"

static qsr_registry *registry;
static qsr_pool *pools[4];

qsr_registry *bench_registry(void)
{
    const char *build = getenv("QUASAR_BUILD");
    char fixtures[4096];
    snprintf(fixtures, sizeof fixtures, "%s/tests/fixtures", build ? build : QSR_BUILD_DIR);
    const char *const folders[] = {fixtures, NULL};
    if (!registry) registry = qsr_registry_create(folders);
    return registry;
}

const char *bench_source(void)
{
    const char *source = getenv("QUASAR_SOURCE");
    return source ? source : QSR_SOURCE_DIR;
}

qsr_pool *bench_pool(unsigned threads)
{
    if (!pools[threads]) assert_ok(qsr_pool_create(threads, &pools[threads], NULL));
    return pools[threads];
}

void bench_end(void)
{
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) qsr_pool_free(pools[i]);
    qsr_registry_free(registry);
    if (!getenv("KEEP")) qsr_remove_tree(test_folder(), NULL);
}

static _Noreturn void give_up(const qsr_problems *problems)
{
    qsr_text text = {0};
    qsr_problems_write(problems, &text);
    print_error("%s\n", text.bytes);
    _fail(__FILE__, __LINE__);
    abort();
}

qsr_spec *bench_spec(const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert_in_range(n, 1, sizeof text - 1);
    qsr_spec_env env = qsr_registry_env(bench_registry());
    qsr_problems problems = {0};
    qsr_spec *spec;
    if (qsr_spec_load_text("bench.yaml", text, (size_t)n, NULL, 0, &env, &spec, &problems)) give_up(&problems);
    qsr_problems_free(&problems);
    return spec;
}

void bench_normal(float *v, size_t n, uint64_t seed, double scale)
{
    qsr_rng rng = qsr_rng_make(seed, "bench");
    for (size_t i = 0; i < n; i++) v[i] = (float)(scale * qsr_rng_normal(&rng, i));
}

qsr_learner *bench_learner(const qsr_spec *spec, size_t d_in, qsr_pool *pool)
{
    qsr_learner *l;
    qsr_error e = {0};
    if (qsr_learner_create(spec, d_in, pool, &l, NULL, &e)) fail_msg("%s", e.text);
    qsr_params *p = &l->sae.params;
    bench_normal(p->w_enc, d_in * p->d_sae, 1, 1 / sqrt((double)d_in));
    bench_normal(p->w_dec, d_in * p->d_sae, 2, 1 / sqrt((double)d_in));
    bench_normal(p->b_dec, d_in, 3, 0.1);
    if (p->encoder_bias) bench_normal(p->b_enc, p->d_sae, 4, 0.1);
    qsr_sae_refresh(&l->sae);
    return l;
}

qsr_run_summary bench_run(const qsr_spec *spec, const char *out, qsr_pool *pool)
{
    qsr_arena arena = {0};
    qsr_run_options options = {
        .out = qsr_path_join(&arena, test_folder(), out), .pool = pool, .registry = bench_registry()};
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_run_summary summary;
    qsr_status status = qsr_lab_run(&spec, 1, &options, &summary, &problems, &e);
    if (status && !e.code) give_up(&problems);
    if (status) fail_msg("%s", e.text);
    qsr_problems_free(&problems);
    qsr_arena_free(&arena);
    return summary;
}

char *bench_file(qsr_arena *arena, const char *folder, const char *file, size_t *ret_size)
{
    char *text = NULL;
    qsr_error e = {0};
    if (qsr_read_file(arena, qsr_path_join(arena, folder, file), 64 << 20, &text, ret_size, &e)) fail_msg("%s", e.text);
    return text;
}

void bench_same_file(const char *folder_a, const char *folder_b, const char *file)
{
    qsr_arena arena = {0};
    size_t n_a, n_b;
    const char *a = bench_file(&arena, folder_a, file, &n_a), *b = bench_file(&arena, folder_b, file, &n_b);
    if (n_a != n_b || memcmp(a, b, n_a) != 0) fail_msg("%s differs between %s and %s", file, folder_a, folder_b);
    qsr_arena_free(&arena);
}

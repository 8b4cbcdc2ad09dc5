/* The services that plugins get, and the calls around them. */
#include "../unit.h"

#include "plugin/instance.h"

/* An activation whose create is the test's own code. (host->fail) stands in parentheses because cmocka has a macro of that name. */
static qsr_status (*create_body)(const qsr_host *);
static int destroyed;

struct qsr_instance {
    const qsr_host *host;
};

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret)
{
    (void)shape, (void)options;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    self->host = host;
    *ret = self;
    return create_body ? create_body(host) : QSR_OK;
}

static void destroy(qsr_instance *self) { destroyed += self != NULL; }

static const qsr_activation_ops ops = {.struct_size = sizeof ops};
static const qsr_plugin plugin = {.abi = QSR_ABI(QSR_ACTIVATION), .name = "probe", .version = "1", .summary = "a test", .create = create,
                                  .destroy = destroy, .ops = &ops};

static qsr_made *make(uint64_t seed, qsr_pool *pool)
{
    qsr_made *made = NULL;
    qsr_shape shape = {.struct_size = sizeof shape};
    qsr_error e = {0};
    create_body = NULL;
    if (qsr_made_create(&plugin, &shape, NULL, seed, pool, &made, &e)) fail_msg("%s", e.text);
    return made;
}

static void alloc_works_in_create_alone(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    assert_int_equal((uintptr_t)made->instance % 64, 0);
    assert_null(made->host.alloc(&made->host, 1, 8));
    assert_true(made->services.misused);
    destroyed = 0;
    qsr_made_free(made);
    assert_int_equal(destroyed, 1);
}

static qsr_status fails_with_option(const qsr_host *host) { return (host->fail)(host, QSR_E_OPTION, "k", "k=%d exceeds %d", 9, 8); }
static qsr_status fails_silently(const qsr_host *host)
{
    (void)host;
    return QSR_E_INPUT;
}
static qsr_status ends(const qsr_host *host)
{
    (void)host;
    return QSR_END;
}

static void failures_of_create_carry_text_and_option(void **state)
{
    (void)state;
    const struct {
        qsr_status (*body)(const qsr_host *);
        qsr_status status;
        const char *option, *text;
    } cases[] = {
        {fails_with_option, QSR_E_OPTION, "k", "k=9 exceeds 8"},
        {fails_silently, QSR_E_INPUT, "", "activation probe failed without saying why (-2: unusable input)"},
        {ends, QSR_E_INTERNAL, "", "activation probe: create made no instance and gave no error"},
    };
    for (size_t i = 0; i < 3; i++) {
        qsr_made *made = NULL;
        qsr_error e = {0};
        qsr_shape shape = {.struct_size = sizeof shape};
        create_body = cases[i].body;
        assert_int_equal(qsr_made_create(&plugin, &shape, NULL, 1, NULL, &made, &e), cases[i].status);
        assert_string_equal(e.text, cases[i].text);
        assert_string_equal(e.option, cases[i].option);
        assert_null(made);
    }
}

static void refuses_the_chosen_allocation(void **state)
{
    (void)state;
    qsr_made *made = NULL;
    qsr_error e = {0};
    size_t asked = 0;
    create_body = NULL;
    assert_int_equal(qsr_made_create_refusing(&plugin, &(qsr_shape){0}, NULL, 1, NULL, 1, &asked, &made, &e), QSR_E_NOMEM);
    assert_int_equal(asked, 1);
    assert_string_equal(e.text, "activation probe: out of memory");
}

static void scratch_is_aligned_apart_and_reused(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    const qsr_host *host = &made->host;
    unsigned char *first = host->scratch(host, 3, 5), *second = host->scratch(host, 1, 1 << 20);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_int_equal((uintptr_t)second % 64, 0);
    memset(first, 1, 15);
    memset(second, 2, 1 << 20);
    assert_int_equal(first[14], 1);
    assert_null(host->scratch(host, SIZE_MAX / 2, 4));
    qsr_made_finish(made, QSR_OK, NULL);
    assert_int_equal(qsr_scratch_mark(), 0);
    unsigned char *large = host->scratch(host, 1, 1 << 20); /* one slab serves it all from now on */
    qsr_made_finish(made, QSR_OK, NULL);
    assert_ptr_equal(host->scratch(host, 1, 1 << 20), large);
    qsr_made_finish(made, QSR_OK, NULL);
    qsr_made_free(made);
}

static void poisoned_scratch_is_nan(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    qsr_scratch_poison(true);
    float *v = made->host.scratch(&made->host, 4, sizeof *v);
    assert_true(isnan(v[0]) && isnan(v[3]));
    v[0] = v[3] = 1;
    qsr_made_finish(made, QSR_OK, NULL);
    assert_true(isnan(v[0]) && isnan(v[3])); /* whoever kept it does not get away with it */
    qsr_made_free(made);
}

static void nested_calls_keep_the_outer_scratch(void **state)
{
    (void)state;
    qsr_made *outer = make(1, NULL), *inner = make(2, NULL);
    float *v = outer->host.scratch(&outer->host, 1, sizeof *v);
    *v = 7;
    size_t nest = qsr_host_nest();
    (void)inner->host.scratch(&inner->host, 100, sizeof *v);
    qsr_made_finish(inner, QSR_OK, NULL);
    qsr_host_unnest(nest);
    assert_true(*v == 7);
    assert_int_equal(qsr_scratch_mark(), 64);
    qsr_made_finish(outer, QSR_OK, NULL);
    assert_int_equal(qsr_scratch_mark(), 0);
    qsr_made_free(inner);
    qsr_made_free(outer);
}

static void random_depends_on_seed_stream_and_counter_alone(void **state)
{
    (void)state;
    qsr_made *a = make(1, NULL), *b = make(1, NULL), *c = make(2, NULL);
    uint64_t x = a->host.random(&a->host, "row", 5);
    assert_true(x == b->host.random(&b->host, "row", 5));
    assert_true(x != c->host.random(&c->host, "row", 5));
    assert_true(x != a->host.random(&a->host, "rows", 5));
    assert_true(x != a->host.random(&a->host, "row", 6));
    qsr_made_free(a);
    qsr_made_free(b);
    qsr_made_free(c);
}

struct sum {
    const qsr_host *host;
    unsigned workers; /* bits */
    size_t seen[64];
    size_t fail_from;
};

static qsr_status note(void *arg, size_t begin, size_t end)
{
    struct sum *s = arg;
    float *scratch = s->host->scratch(s->host, end - begin, sizeof *scratch);
    assert_non_null(scratch);
    __atomic_or_fetch(&s->workers, 1u << qsr_pool_worker(), __ATOMIC_RELAXED);
    for (size_t i = begin; i < end; i++) s->seen[i]++;
    if (begin < s->fail_from) return QSR_OK;
    return (s->host->fail)(s->host, QSR_E_NUMERIC, NULL, "chunk at %zu", begin);
}

static void parallel_for_covers_all_on_any_threads(void **state)
{
    (void)state;
    qsr_pool *pool;
    assert_int_equal(qsr_pool_create(4, &pool, NULL), QSR_OK);
    qsr_made *made = make(1, pool);
    for (int serial = 0; serial < 2; serial++) {
        struct sum s = {.host = &made->host, .fail_from = SIZE_MAX};
        float *mine = made->host.scratch(&made->host, 1, sizeof *mine);
        *mine = 3;
        if (serial) qsr_made_serial(made);
        assert_int_equal(made->host.parallel_for(&made->host, 61, 4, note, &s), QSR_OK);
        assert_true(*mine == 3); /* a body's scratch is its own */
        for (size_t i = 0; i < 61; i++) assert_int_equal(s.seen[i], 1);
        if (!serial) assert_int_equal(s.workers, 1); /* not announced: the calling thread */
        qsr_made_finish(made, QSR_OK, NULL);
    }
    qsr_made_free(made);
    qsr_pool_free(pool);
}

static void the_first_failing_chunk_speaks(void **state)
{
    (void)state;
    qsr_pool *pool;
    assert_int_equal(qsr_pool_create(4, &pool, NULL), QSR_OK);
    qsr_made *made = make(1, pool);
    for (int i = 0; i < 50; i++) {
        struct sum s = {.host = &made->host, .fail_from = 20};
        qsr_error e = {0};
        qsr_made_serial(made);
        qsr_status status = qsr_made_finish(made, made->host.parallel_for(&made->host, 61, 4, note, &s), &e);
        assert_int_equal(status, QSR_E_NUMERIC);
        assert_string_equal(e.text, "chunk at 20");
    }
    qsr_made_free(made);
    qsr_pool_free(pool);
}

static void finish_drops_the_text_of_a_call_that_succeeded(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    qsr_error e = {0};
    (made->host.fail)(&made->host, QSR_E_INPUT, NULL, "was mended");
    assert_int_equal(qsr_made_finish(made, QSR_OK, &e), QSR_OK);
    assert_int_equal(e.code, QSR_OK);
    assert_int_equal(qsr_made_finish(made, QSR_E_IO, &e), QSR_E_IO);
    assert_string_equal(e.text, "activation probe failed without saying why (-6: file operation refused)");
    assert_int_equal(qsr_made_finish(made, 5, &e), QSR_E_INTERNAL);
    assert_int_equal(qsr_made_finish(made, QSR_END, &e), QSR_END);
    assert_int_equal((made->host.fail)(&made->host, QSR_OK, NULL, "no error at all"), QSR_E_INTERNAL);
    qsr_made_finish(made, QSR_OK, NULL);
    qsr_made_free(made);
    qsr_made_free(NULL);
}

static void numbers_go_through_the_host(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    const qsr_host *host = &made->host;
    const float a[] = {1, 2, 3, 4}, v[] = {-1, 5, 2, 5, 3};
    float c[4] = {0};
    uint32_t index[5];
    host->gemm(host, false, true, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    assert_true(c[0] == 5 && c[1] == 11 && c[2] == 11 && c[3] == 25);
    assert_int_equal(host->select_largest(host, v, 5, 2, index), 2);
    assert_true(index[0] == 1 && index[1] == 3);
    assert_null(host->extension(host, "quasar.nothing/1"));
    qsr_made_free(made);
}

static void passes_over_rows_are_offered_by_name(void **state)
{
    (void)state;
    qsr_made *made = make(1, NULL);
    const qsr_host *host = &made->host;
    const qsr_host_passes *passes = host->extension(host, QSR_HOST_PASSES);
    assert_true(passes && passes == host->extension(host, QSR_HOST_PASSES) && passes->struct_size == sizeof *passes);
    const float v[] = {-1, 3, 4, 12}, thresholds[] = {-2, 3, 3.5f, 20}, bad[] = {1, INFINITY};
    float value[4], guess = 0;
    uint32_t index[4];
    size_t count = 0;
    assert_int_equal(passes->above(host, v, NULL, 3, 4, index, value), 2);
    assert_true(index[0] == 2 && value[0] == 4 && index[1] == 3 && value[1] == 12);
    assert_int_equal(passes->above(host, v, thresholds, 0, 4, index, value), 2);
    assert_true(index[0] == 0 && value[0] == -1 && index[1] == 2 && value[1] == 4);
    const size_t mark = qsr_scratch_mark();
    assert_int_equal(passes->nearest_norm(host, v, NULL, 4, 12.7, &guess, index, value, &count), QSR_OK); /* c = 12, 12.65, 13 */
    assert_true(count == 2 && index[0] == 2 && index[1] == 3 && value[0] == 4 && value[1] == 12);
    assert_int_equal(passes->nearest_norm(host, bad, NULL, 2, 1, &guess, index, value, &count), QSR_E_NUMERIC);
    assert_int_equal(passes->nearest_norm(host, v, NULL, SIZE_MAX / 4, 1, &guess, index, value, &count), QSR_E_NOMEM);
    assert_int_equal(qsr_scratch_mark(), mark);
    qsr_made_free(made);
}

static void a_wish_to_stop_is_passed_on(void **state)
{
    (void)state;
    static volatile sig_atomic_t flag;
    qsr_made *made = make(1, NULL);
    const qsr_host *host = &made->host;
    const qsr_host_stop *stop = host->extension(host, QSR_HOST_STOP);
    assert_true(stop && stop->struct_size == sizeof *stop);
    assert_false(stop->asked(host)); /* nobody listens */
    qsr_host_stop_on(&flag);
    assert_false(stop->asked(host));
    flag = 1;
    assert_true(stop->asked(host));
    qsr_host_stop_on(NULL);
    assert_false(stop->asked(host));
    qsr_made_free(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_works_in_create_alone),
        cmocka_unit_test(failures_of_create_carry_text_and_option),
        cmocka_unit_test(refuses_the_chosen_allocation),
        cmocka_unit_test(scratch_is_aligned_apart_and_reused),
        cmocka_unit_test(poisoned_scratch_is_nan),
        cmocka_unit_test(nested_calls_keep_the_outer_scratch),
        cmocka_unit_test(random_depends_on_seed_stream_and_counter_alone),
        cmocka_unit_test(parallel_for_covers_all_on_any_threads),
        cmocka_unit_test(the_first_failing_chunk_speaks),
        cmocka_unit_test(finish_drops_the_text_of_a_call_that_succeeded),
        cmocka_unit_test(numbers_go_through_the_host),
        cmocka_unit_test(passes_over_rows_are_offered_by_name),
        cmocka_unit_test(a_wish_to_stop_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* pool: every chunk once, the first failure in index order, nested runs, one BLAS thread everywhere. */
#include "../unit.h"

#include <stdatomic.h>

#include "math/blas.h"
#include "math/pool.h"

static atomic_int visits[1000];

static qsr_status visit(void *arg, size_t begin, size_t end)
{
    assert_true(end - begin <= *(size_t *)arg);
    for (size_t i = begin; i < end; i++) atomic_fetch_add(&visits[i], 1);
    return QSR_OK;
}

static void visits_everything_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 5; threads++) {
        qsr_pool *pool;
        assert_int_equal(qsr_pool_create(threads, &pool, NULL), QSR_OK);
        assert_int_equal(qsr_pool_threads(pool), threads);
        for (size_t grain = 1; grain < 400; grain = grain * 3 + 1)
            for (int repeat = 0; repeat < 20; repeat++) {
                memset(visits, 0, sizeof visits);
                assert_int_equal(qsr_pool_run(pool, 1000, grain, visit, &grain), QSR_OK);
                for (int i = 0; i < 1000; i++) assert_int_equal(visits[i], 1);
            }
        qsr_pool_free(pool);
    }
}

static qsr_status fail_some(void *arg, size_t begin, size_t end)
{
    (void)arg, (void)end;
    return begin >= 300 && begin % 7 == 0 ? -(qsr_status)begin : QSR_OK;
}

static void first_failure_in_index_order_wins(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++) {
        qsr_pool *pool;
        assert_int_equal(qsr_pool_create(threads, &pool, NULL), QSR_OK);
        for (int repeat = 0; repeat < 200; repeat++) assert_int_equal(qsr_pool_run(pool, 1000, 1, fail_some, NULL), -301);
        qsr_pool_free(pool);
    }
}

struct nest {
    qsr_pool *pool;
    atomic_size_t sum;
};

static qsr_status inner(void *arg, size_t begin, size_t end)
{
    struct nest *nest = arg;
    atomic_fetch_add(&nest->sum, end - begin);
    return QSR_OK;
}

static qsr_status outer(void *arg, size_t begin, size_t end)
{
    struct nest *nest = arg;
    (void)begin, (void)end;
    return qsr_pool_run(nest->pool, 10, 3, inner, nest);
}

static void nested_runs_stay_on_their_thread(void **state)
{
    (void)state;
    struct nest nest = {NULL, 0};
    assert_int_equal(qsr_pool_create(3, &nest.pool, NULL), QSR_OK);
    assert_int_equal(qsr_pool_run(nest.pool, 20, 1, outer, &nest), QSR_OK);
    assert_int_equal(nest.sum, 200);
    qsr_pool_free(nest.pool);
}

static void blas_keeps_to_one_thread(void **state)
{
    (void)state;
    qsr_blas_info info;
    qsr_blas_describe(&info);
    assert_int_equal(info.threads, 1);
    assert_int_equal(info.pool_threads, 1);
    assert_int_equal(qsr_blas_verify(NULL), QSR_OK);
}

static void refuses_absurd_counts(void **state)
{
    (void)state;
    qsr_pool *pool;
    qsr_error e = {0};
    assert_int_equal(qsr_pool_create(100000, &pool, &e), QSR_E_OPTION);
    assert_string_equal(e.text, "100000 threads are more than the limit of 1024");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(visits_everything_once),         cmocka_unit_test(first_failure_in_index_order_wins),
        cmocka_unit_test(nested_runs_stay_on_their_thread), cmocka_unit_test(blas_keeps_to_one_thread),
        cmocka_unit_test(refuses_absurd_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

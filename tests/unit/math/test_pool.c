/* pool: every chunk once, the first failure in index order, nested runs, runs and jobs aside, one BLAS thread everywhere. */
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

/* ---- aside ------------------------------------------------------------------------------------------------------- */

enum { ITEMS = 500 };

/* A thread that runs aside what the main thread is not at. */
typedef struct {
    qsr_pool *pool, *aside;
    atomic_int visits[ITEMS];
    atomic_bool over;
    qsr_status fails; /* every item from 300 on, if not QSR_OK */
    qsr_status status;
} side;

static qsr_status visit_aside(void *arg, size_t begin, size_t end)
{
    side *s = arg;
    for (size_t i = begin; i < end; i++) atomic_fetch_add(&s->visits[i], 1);
    return begin >= 300 ? s->fails : QSR_OK;
}

static void *run_aside(void *arg)
{
    side *s = arg;
    s->status = qsr_pool_run(s->aside, ITEMS, 3, visit_aside, s);
    atomic_store(&s->over, true);
    qsr_pool_nudge(s->pool);
    return NULL;
}

static bool is_over(void *arg) { return atomic_load(&((side *)arg)->over); }

static side *begin_side(unsigned threads, bool waits, qsr_status fails, pthread_t *ret_thread)
{
    side *s = calloc(1, sizeof *s);
    s->fails = fails;
    assert_int_equal(qsr_pool_create(threads, &s->pool, NULL), QSR_OK);
    s->aside = qsr_pool_aside(s->pool, waits);
    assert_int_equal(qsr_pool_threads(s->aside), threads);
    assert_int_equal(pthread_create(ret_thread, NULL, run_aside, s), 0);
    return s;
}

static void end_side(side *s, pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(s->status, s->fails);
    for (int i = 0; i < ITEMS; i++) assert_true(s->visits[i] == 1 || (s->fails && i >= 303 && !s->visits[i]));
    qsr_pool_free(s->aside);
    qsr_pool_free(s->pool);
    free(s);
}

static void runs_aside_disturb_none_of_the_others(void **state)
{
    (void)state;
    size_t grain = 7;
    for (unsigned threads = 1; threads <= 4; threads++)
        for (int waits = 0; waits < 2; waits++)
            for (int repeat = 0; repeat < 40; repeat++) {
                pthread_t thread;
                side *s = begin_side(threads, waits, repeat % 2 ? QSR_E_INPUT : QSR_OK, &thread);
                for (int turn = 0; turn < 5; turn++) {
                    memset(visits, 0, sizeof visits);
                    assert_int_equal(qsr_pool_run(s->pool, 1000, grain, visit, &grain), QSR_OK);
                    for (int i = 0; i < 1000; i++) assert_int_equal(visits[i], 1);
                }
                if (repeat % 3 == 0) qsr_pool_help(s->pool, is_over, s);
                end_side(s, thread);
            }
}

/* Chunks are done as they are allowed, by whom is another matter; closing does the rest, cancelling does not. */
static void jobs_do_what_is_allowed(void **state)
{
    (void)state;
    for (unsigned threads = 0; threads <= 4; threads++)
        for (int waits = 0; waits < 2; waits++)
            for (int cancel = 0; cancel < 2; cancel++) {
                side *s = calloc(1, sizeof *s);
                if (threads) assert_int_equal(qsr_pool_create(threads, &s->pool, NULL), QSR_OK);
                s->aside = qsr_pool_aside(s->pool, waits);
                qsr_job *job = qsr_job_open(s->aside, ITEMS, 3, visit_aside, s);
                assert_false(qsr_job_take(job));
                qsr_job_allow(job, 100); /* 33 chunks */
                qsr_job_allow(job, 50);  /* never fewer */
                while (qsr_job_take(job)) continue;
                for (int i = 99; i < ITEMS; i++) assert_int_equal(s->visits[i], 0);
                if (!cancel)
                    assert_int_equal(qsr_job_close(job), QSR_OK);
                else
                    qsr_job_cancel(job);
                for (int i = 0; i < ITEMS; i++) assert_true(s->visits[i] == 1 || (cancel && !s->visits[i]));
                qsr_pool_free(s->aside);
                qsr_pool_free(s->pool);
                free(s);
            }
    qsr_job_cancel(NULL);
}

static void a_job_tells_its_first_failure(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++)
        for (int waits = 0; waits < 2; waits++)
            for (int repeat = 0; repeat < 50; repeat++) {
                qsr_pool *pool;
                assert_int_equal(qsr_pool_create(threads, &pool, NULL), QSR_OK);
                qsr_pool *aside = qsr_pool_aside(pool, waits);
                qsr_job *job = qsr_job_open(aside, 1000, 1, fail_some, NULL);
                qsr_job_allow(job, 400);
                if (repeat % 2) (void)qsr_job_take(job);
                assert_int_equal(qsr_job_close(job), -301);
                qsr_pool_free(aside);
                qsr_pool_free(pool);
            }
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
        cmocka_unit_test(visits_everything_once),
        cmocka_unit_test(first_failure_in_index_order_wins),
        cmocka_unit_test(nested_runs_stay_on_their_thread),
        cmocka_unit_test(blas_keeps_to_one_thread),
        cmocka_unit_test(refuses_absurd_counts),
        cmocka_unit_test(runs_aside_disturb_none_of_the_others),
        cmocka_unit_test(jobs_do_what_is_allowed),
        cmocka_unit_test(a_job_tells_its_first_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

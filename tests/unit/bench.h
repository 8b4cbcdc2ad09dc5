/* tests/unit/bench: specs, learners and runs for tests, through the real plugins of the build tree and those of tests/fixtures.
 * Everything fails the running cmocka test when it cannot do its work. */
#ifndef QSR_TESTS_BENCH_H
#define QSR_TESTS_BENCH_H
#include "data/cursor.h"
#include "lab/run.h"
#include "train/start.h"

qsr_registry *bench_registry(void);     /* made once */
const char *bench_source(void);         /* the source folder */
qsr_pool *bench_pool(unsigned threads); /* made once for each of 1, 2, 3 */
void bench_end(void);                   /* last of all: removes test_folder() too, unless KEEP is set in the environment */

/* A spec from YAML text; paths in it must be absolute. */
qsr_spec *bench_spec(const char *fmt, ...) QSR_PRINTF(1, 2);
/* A learner of rows [d_in], whose weights are random: W_enc and W_dec of norm about 1, biases about 0.1. */
qsr_learner *bench_learner(const qsr_spec *, size_t d_in, qsr_pool *);
/* v[0..n) = scale times standard normal numbers, a function of (seed, i). */
void bench_normal(float *v, size_t n, uint64_t seed, double scale);
/* The spec run into test_folder()/out; must not fail before its first step. Returns what happened. */
qsr_run_summary bench_run(const qsr_spec *, const char *out, qsr_pool *);

/* folder/file whole, in the arena. */
char *bench_file(qsr_arena *, const char *folder, const char *file, size_t *ret_size);
/* The files of two folders have the same bytes. */
void bench_same_file(const char *folder_a, const char *folder_b, const char *file);

#define assert_ok(status_) assert_int_equal(status_, QSR_OK)
#endif

/* tests/unit/fake_host: a small host for testing a built plugin by itself, and what a test needs around it. Everything fails the
 * running cmocka test when it cannot do its work. It is stricter than the contract asks for where that finds mistakes: scratch is
 * NaN, chunks of parallel_for run backwards, and code blocks have exactly the capacity that they promise. */
#ifndef QSR_TESTS_FAKE_HOST_H
#define QSR_TESTS_FAKE_HOST_H
#include <quasar/plugin.h>

typedef struct {
    qsr_host host;               /* what the plugin gets */
    char error[512], option[64]; /* of the last fail(); "" without one */
    size_t refuse_alloc;         /* the n-th alloc from 1 is refused; 0: none */
    size_t allocs;
    uint64_t seed; /* of random(); 0 unless a test sets it before create */
    const qsr_host_passes *passes; /* what extension() offers; NULL unless a test sets it before create */
    struct fake_block *owned, *scratch;
} fake_host;

fake_host *fake_host_create(void);
void fake_host_free(fake_host *);
void fake_host_end_call(fake_host *); /* releases scratch */

/* The plugin of the build tree, as plugins/<folder>/.libs/<name>.so: folder is "activations", "losses" or "datasets". */
const qsr_plugin *fake_plugin(const char *folder, const char *name);
/* An options struct filled from defaults and then from pairs of key and text, NULL-ended; free() it. */
void *fake_options(const qsr_plugin *, ...);
/* Sets an option that is a list of strings; `items` is not copied. */
void fake_set_strings(const qsr_plugin *, void *options, const char *key, const char *const *items, size_t n);

/* An instance that create() accepted, with its own host. Takes over `options`, which may be NULL. */
typedef struct {
    const qsr_plugin *plugin;
    const void *ops;
    fake_host *host;
    void *options;
    qsr_instance *instance;
} fake_made;
fake_made fake_make(const qsr_plugin *, const qsr_shape *, void *options);
/* The same with a host that offers these passes. */
fake_made fake_make_with(const qsr_plugin *, const qsr_shape *, void *options, const qsr_host_passes *);
void fake_unmake(fake_made *);
/* Expects create() to fail with this code, option and text. Takes over `options`. */
void fake_refuse(const qsr_plugin *, const qsr_shape *, void *options, qsr_status code, const char *option,
                 const char *error);

/* Bytes for qsr_state_ops: what save() wrote is what load() reads. */
typedef struct {
    qsr_stream stream;
    unsigned char bytes[4096];
    size_t written, read;
} fake_stream;
void fake_stream_init(fake_stream *);

/* A code block with room for rows * d_sae entries and `planes` planes. */
qsr_code *fake_code_create(size_t rows, size_t d_sae, uint32_t planes);
void fake_code_free(qsr_code *);

/* Numbers for tests: a pure function of seed and index, in [0, 1) and standard normal. */
double fake_uniform(uint64_t seed, uint64_t i);
double fake_normal(uint64_t seed, uint64_t i);
#endif

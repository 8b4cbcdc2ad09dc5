/* tests/unit/data/fake-data.h: a dataset plugin within the test program whose values say where they come from, with and without
 * taps, that counts what is read of it. */
#ifndef QSR_TESTS_DATA_FAKE_H
#define QSR_TESTS_DATA_FAKE_H
#include "../spec/fake.h"
#include "../unit.h"

#include <stdatomic.h>

#include "data/cursor.h"

enum { FAKE_WIDTH = 3, FAKE_REFUSED = 99 };

struct fake_data {
    int64_t units, rows, per_read, place, nan_place;
    const char *file, *word;
    qsr_strings list;
    int64_t free;
};

/* The word fail is a macro of cmocka, hence (host->fail). units 0: without end. place is the tap; FAKE_REFUSED is refused; nan_place has a NaN in row 1 of unit 2. */
static const qsr_option fake_data_options[] = {
    QSR_OPT(struct fake_data, units, .help = "units", .flags = QSR_OPT_RANGE, .min = 0, .max = 1e6, .def = "10"),
    QSR_OPT(struct fake_data, rows, .help = "rows of a unit", .flags = QSR_OPT_RANGE, .min = 1, .max = 100, .def = "4"),
    QSR_OPT(struct fake_data, per_read, .help = "units per read", .flags = QSR_OPT_RANGE, .min = 1, .max = 100, .def = "3"),
    QSR_OPT(struct fake_data, place, .help = "tap", .flags = QSR_OPT_TAP | QSR_OPT_RANGE, .min = 0, .max = 1000,
            .def = "0"),
    QSR_OPT(struct fake_data, nan_place, .help = "where a NaN is", .flags = QSR_OPT_RANGE, .min = -1, .max = 1000,
            .def = "-1"),
    QSR_OPT(struct fake_data, file, .help = "a path", .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT(struct fake_data, word, .help = "a word", .flags = QSR_OPT_OPTIONAL),
    QSR_OPT(struct fake_data, list, .help = "words", .flags = QSR_OPT_OPTIONAL),
    QSR_OPT(struct fake_data, free, .help = "changes nothing", .flags = QSR_OPT_NO_ID, .def = "0"),
};

struct qsr_instance {
    const qsr_host *host;
    const struct fake_data *options;
    size_t n_taps;
    int64_t place[16];
};

static atomic_size_t fake_units_read; /* since the test began, whatever the number of taps */

static qsr_status fake_create_taps(const qsr_host *host, const qsr_shape *shape, const void *const *options, size_t n,
                                   size_t *ret_tap, qsr_instance **ret_instance)
{
    (void)shape;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self || n > 16) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .options = options[0], .n_taps = n};
    for (size_t t = 0; t < n; t++) {
        self->place[t] = ((const struct fake_data *)options[t])->place;
        if (self->place[t] != FAKE_REFUSED) continue;
        *ret_tap = t;
        return (host->fail)(host, QSR_E_OPTION, "place", "place=%d is refused", FAKE_REFUSED);
    }
    *ret_instance = self;
    return QSR_OK;
}

static qsr_status fake_create(const qsr_host *host, const qsr_shape *shape, const void *options,
                              qsr_instance **ret_instance)
{
    size_t tap;
    return fake_create_taps(host, shape, &options, 1, &tap, ret_instance);
}

static qsr_status fake_describe(const qsr_instance *self, qsr_dataset_info *ret_info)
{
    const struct fake_data *o = self->options;
    *ret_info = (qsr_dataset_info){.struct_size = sizeof *ret_info,
                                   .d_in = FAKE_WIDTH,
                                   .units = o->units ? (uint64_t)o->units : UINT64_MAX,
                                   .rows_per_unit = (size_t)o->rows,
                                   .units_per_read = (size_t)o->per_read};
    return QSR_OK;
}

/* Exact in float32 for units below 1000, 10 rows of 10 columns, and places below 100. */
static float fake_value(int64_t place, uint64_t unit, size_t row, size_t column)
{
    return (float)(place * 100000) + (float)(unit * 100 + row * 10 + column);
}

static void fake_fill(const struct fake_data *o, int64_t place, const uint64_t *units, size_t n, float *out)
{
    for (size_t u = 0; u < n; u++)
        for (size_t r = 0; r < (size_t)o->rows; r++)
            for (size_t i = 0; i < FAKE_WIDTH; i++)
                *out++ =
                    place == o->nan_place && units[u] == 2 && r == 1 && i == 2 ? NAN : fake_value(place, units[u], r, i);
}

static qsr_status fake_read_taps(const qsr_instance *self, const uint64_t *units, size_t n, float *const *out)
{
    if (n > (size_t)self->options->per_read) return (self->host->fail)(self->host, QSR_E_INTERNAL, NULL, "%zu units", n);
    atomic_fetch_add(&fake_units_read, n);
    for (size_t t = 0; t < self->n_taps; t++)
        if (out[t]) fake_fill(self->options, self->place[t], units, n, out[t]);
    return QSR_OK;
}

/* Never for an instance with several taps: the framework has to use read_taps there. */
static qsr_status fake_read(const qsr_instance *self, const uint64_t *units, size_t n, float *out)
{
    if (self->n_taps != 1) return (self->host->fail)(self->host, QSR_E_INTERNAL, NULL, "read of an instance with taps");
    return fake_read_taps(self, units, n, &out);
}

static const qsr_dataset_ops fake_data_ops = {
    .struct_size = sizeof fake_data_ops, .describe = fake_describe, .read = fake_read};
static const qsr_taps_ops fake_taps_ops = {
    .struct_size = sizeof fake_taps_ops, .create = fake_create_taps, .read = fake_read_taps};

static const void *fake_data_extension(const char *id) { return strcmp(id, QSR_EXT_TAPS) == 0 ? &fake_taps_ops : NULL; }

#define FAKE_DATA(name_, version_, extension_)                                                                             \
    {                                                                                                                      \
        .abi = QSR_ABI(QSR_DATASET), .name = name_, .version = version_, .summary = "values that say where they are from", \
        .options = fake_data_options, .n_options = FAKE_COUNT(fake_data_options),                                          \
        .options_size = sizeof(struct fake_data), .create = fake_create, .ops = &fake_data_ops, .extension = extension_    \
    }
static const qsr_plugin fake_datasets[] = {FAKE_DATA("tapped", "1", fake_data_extension), FAKE_DATA("plain", "1", NULL)};

static const qsr_plugin *fake_data_find(void *ctx, uint32_t kind, const char *name, const char **ret_near, qsr_error *e)
{
    for (size_t i = 0; kind == QSR_DATASET && i < FAKE_COUNT(fake_datasets); i++)
        if (strcmp(fake_datasets[i].name, name) == 0) return &fake_datasets[i];
    return fake_find(ctx, kind, name, ret_near, e);
}

/* A spec in `folder` whose dataset block is the plugin and `dataset`, with `eval_tokens` held out. */
static qsr_spec *fake_spec_in(const char *folder, const char *plugin, const char *dataset, int eval_tokens)
{
    const qsr_spec_env env = {.find = fake_data_find, .extends_folders = fake_folders};
    qsr_text text = {0}, name = {0}, wrong = {0};
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    qsr_text_add(&name, "%s/test.yaml", folder);
    qsr_text_add(&text,
                 "dataset: {plugin: %s%s%s}\nsae: {d_sae: 8}\nactivation: {plugin: topk, k: 2}\n"
                 "train: {tokens: 100, batch: 10}\neval: {tokens: %d}\n",
                 plugin, *dataset ? ", " : "", dataset, eval_tokens);
    qsr_spec_load_text(name.bytes, text.bytes, text.length, NULL, 0, &env, &spec, &problems);
    qsr_problems_write(&problems, &wrong);
    if (!spec) fail_msg("%s", wrong.bytes);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
    qsr_text_free(&name);
    qsr_text_free(&wrong);
    return spec;
}

static inline qsr_spec *fake_spec(const char *dataset, int eval_tokens)
{
    return fake_spec_in("dir", "tapped", dataset, eval_tokens);
}
#endif

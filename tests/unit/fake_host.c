/* tests/unit/fake_host: see the header. */
#include "unit.h"

#include "fake_host.h"

#include <dlfcn.h>

struct fake_block {
    struct fake_block *next;
    void *memory;
};

static void release(struct fake_block **list)
{
    while (*list) {
        struct fake_block *block = *list;
        *list = block->next;
        free(block->memory);
        free(block);
    }
}

static void *take(struct fake_block **list, size_t n, size_t size, int fill)
{
    assert_true(!size || n <= SIZE_MAX / size);
    struct fake_block *block = malloc(sizeof *block);
    assert_non_null(block);
    *block = (struct fake_block){.next = *list, .memory = malloc(n * size + 1)};
    assert_non_null(block->memory);
    memset(block->memory, fill, n * size);
    *list = block;
    return block->memory;
}

/* ---- services ---- */

static qsr_status set_error(const qsr_host *host, qsr_status code, const char *option, const char *fmt, ...)
{
    fake_host *self = host->ctx;
    va_list args;
    va_start(args, fmt);
    vsnprintf(self->error, sizeof self->error, fmt, args);
    va_end(args);
    snprintf(self->option, sizeof self->option, "%s", option ? option : "");
    return code;
}

static void quiet(const qsr_host *host, uint32_t level, const char *fmt, ...)
{
    (void)host;
    (void)level;
    (void)fmt;
}

static void *alloc(const qsr_host *host, size_t n, size_t size)
{
    fake_host *self = host->ctx;
    if (++self->allocs == self->refuse_alloc) return NULL;
    return take(&self->owned, n, size, 0);
}

static void *scratch(const qsr_host *host, size_t n, size_t size)
{
    return take(&((fake_host *)host->ctx)->scratch, n, size, 0xff);
}

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t random_bits(const qsr_host *host, const char *stream, uint64_t counter)
{
    uint64_t key = 1 + ((const fake_host *)host->ctx)->seed;
    for (; *stream; stream++) key = mixed(key ^ (unsigned char)*stream);
    return mixed(key ^ mixed(counter));
}

static qsr_status parallel_for(const qsr_host *host, size_t n, size_t grain,
                               qsr_status (*body)(void *arg, size_t begin, size_t end), void *arg)
{
    (void)host;
    qsr_status first = QSR_OK;
    for (size_t chunk = (n + grain - 1) / grain; chunk-- > 0;) {
        const size_t begin = chunk * grain, end = n - begin < grain ? n : begin + grain;
        const qsr_status status = body(arg, begin, end);
        if (status) first = status;
    }
    return first;
}

static void gemm(const qsr_host *host, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    (void)host;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)(trans_a ? a[l * lda + i] : a[i * lda + l]) * (trans_b ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = (float)(alpha * sum + (beta != 0 ? (double)beta * c[i * ldc + j] : 0));
        }
    }
}

static size_t select_largest(const qsr_host *host, const float *v, size_t n, size_t k, uint32_t *index)
{
    (void)host;
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        size_t better = 0;
        for (size_t j = 0; j < n; j++) better += v[j] > v[i] || (v[j] == v[i] && j < i);
        if (v[i] > 0 && better < k) index[found++] = (uint32_t)i;
    }
    return found;
}

static const void *extension(const qsr_host *host, const char *id)
{
    return strcmp(id, QSR_HOST_PASSES) ? NULL : ((const fake_host *)host->ctx)->passes;
}

fake_host *fake_host_create(void)
{
    fake_host *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->host = (qsr_host){.struct_size = sizeof(qsr_host),
                            .ctx = self,
                            .fail = set_error,
                            .log = quiet,
                            .alloc = alloc,
                            .scratch = scratch,
                            .random = random_bits,
                            .parallel_for = parallel_for,
                            .gemm = gemm,
                            .select_largest = select_largest,
                            .extension = extension};
    return self;
}

void fake_host_end_call(fake_host *self) { release(&self->scratch); }

void fake_host_free(fake_host *self)
{
    if (!self) return;
    release(&self->scratch);
    release(&self->owned);
    free(self);
}

/* ---- plugins and their options ---- */

const qsr_plugin *fake_plugin(const char *folder, const char *name)
{
    const char *build = getenv("QUASAR_BUILD");
    char path[4096];
    snprintf(path, sizeof path, "%s/plugins/%s/.libs/%s.so", build ? build : QSR_BUILD_DIR, folder, name);
    void *file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!file) fail_msg("%s", dlerror());
    void *symbol = dlsym(file, "qsr_plugin_entry");
    assert_non_null(symbol);
    const qsr_plugin *(*entry)(uint32_t);
    memcpy(&entry, &symbol, sizeof entry);
    for (uint32_t i = 0; entry(i); i++)
        if (!strcmp(entry(i)->name, name)) return entry(i);
    fail_msg("%s holds no plugin %s", path, name);
    return NULL;
}

static void set_option(void *options, const qsr_option *row, const char *text)
{
    void *field = (char *)options + row->offset;
    char *slash = NULL;
    double real = 0;
    int64_t integer = 0;
    uint64_t natural = 0;
    bool truth = !strcmp(text, "true");
    switch (row->type) {
    case QSR_OPT_INT:
        integer = strtoll(text, NULL, 10), memcpy(field, &integer, sizeof integer);
        return;
    case QSR_OPT_UINT:
        natural = strtoull(text, NULL, 10), memcpy(field, &natural, sizeof natural);
        return;
    case QSR_OPT_REAL:
        real = strtod(text, &slash);
        if (*slash == '/') real /= strtod(slash + 1, NULL);
        memcpy(field, &real, sizeof real);
        return;
    case QSR_OPT_BOOL:
        memcpy(field, &truth, sizeof truth);
        return;
    case QSR_OPT_STRING:
        memcpy(field, &text, sizeof text);
        return;
    default:
        fail_msg("option %s: a type that fake_options does not read", row->name);
    }
}

void *fake_options(const qsr_plugin *plugin, ...)
{
    void *options = calloc(1, plugin->options_size ? plugin->options_size : 1);
    assert_non_null(options);
    for (size_t i = 0; i < plugin->n_options; i++)
        if (plugin->options[i].def) set_option(options, &plugin->options[i], plugin->options[i].def);
    va_list args;
    va_start(args, plugin);
    for (const char *key; (key = va_arg(args, const char *));) {
        const char *text = va_arg(args, const char *);
        size_t i = 0;
        while (i < plugin->n_options && strcmp(plugin->options[i].name, key) != 0) i++;
        if (i == plugin->n_options)
            fail_msg("%s has no option %s", plugin->name, key);
        else
            set_option(options, &plugin->options[i], text);
    }
    va_end(args);
    return options;
}

void fake_set_strings(const qsr_plugin *plugin, void *options, const char *key, const char *const *items, size_t n)
{
    const qsr_strings list = {items, n};
    for (size_t i = 0; i < plugin->n_options; i++) {
        if (strcmp(plugin->options[i].name, key) != 0) continue;
        assert_int_equal(plugin->options[i].type, QSR_OPT_STRINGS);
        memcpy((char *)options + plugin->options[i].offset, &list, sizeof list);
        return;
    }
    fail_msg("%s has no option %s", plugin->name, key);
}

fake_made fake_make(const qsr_plugin *plugin, const qsr_shape *shape, void *options)
{
    return fake_make_with(plugin, shape, options, NULL);
}

fake_made fake_make_with(const qsr_plugin *plugin, const qsr_shape *shape, void *options, const qsr_host_passes *passes)
{
    fake_made made = {.plugin = plugin, .ops = plugin->ops, .host = fake_host_create(), .options = options};
    made.host->passes = passes;
    const qsr_status status = plugin->create(&made.host->host, shape, options, &made.instance);
    if (status) fail_msg("create of %s: status %d, %s", plugin->name, status, made.host->error);
    assert_non_null(made.instance);
    fake_host_end_call(made.host);
    return made;
}

void fake_unmake(fake_made *made)
{
    if (made->plugin->destroy) made->plugin->destroy(made->instance);
    fake_host_free(made->host);
    free(made->options);
}

void fake_refuse(const qsr_plugin *plugin, const qsr_shape *shape, void *options, qsr_status code, const char *option,
                 const char *error)
{
    fake_host *host = fake_host_create();
    qsr_instance *instance = NULL;
    assert_int_equal(plugin->create(&host->host, shape, options, &instance), code);
    assert_string_equal(host->option, option);
    assert_string_equal(host->error, error);
    fake_host_free(host);
    free(options);
}

/* ---- streams, codes, numbers ---- */

static qsr_status stream_write(qsr_stream *stream, const void *bytes, size_t n)
{
    fake_stream *self = stream->ctx;
    if (n > sizeof self->bytes - self->written) return QSR_E_IO;
    memcpy(self->bytes + self->written, bytes, n);
    self->written += n;
    return QSR_OK;
}

static qsr_status stream_read(qsr_stream *stream, void *bytes, size_t n)
{
    fake_stream *self = stream->ctx;
    if (n > self->written - self->read) return QSR_E_STATE;
    memcpy(bytes, self->bytes + self->read, n);
    self->read += n;
    return QSR_OK;
}

void fake_stream_init(fake_stream *self)
{
    *self = (fake_stream){.stream = {.ctx = self, .write = stream_write, .read = stream_read}};
}

qsr_code *fake_code_create(size_t rows, size_t d_sae, uint32_t planes)
{
    qsr_code *code = calloc(1, sizeof *code);
    assert_non_null(code);
    const size_t n = rows * d_sae, bytes = n ? n * sizeof(float) : 1;
    *code = (qsr_code){.struct_size = sizeof *code,
                       .planes = planes,
                       .rows = rows,
                       .d_sae = d_sae,
                       .capacity = n,
                       .row_begin = calloc(rows + 1, sizeof *code->row_begin),
                       .latent = malloc(bytes),
                       .value = malloc(bytes)};
    for (uint32_t p = 0; p < planes; p++) code->plane[p] = malloc(bytes);
    assert_true(code->row_begin && code->latent && code->value);
    return code;
}

void fake_code_free(qsr_code *code)
{
    if (!code) return;
    free(code->row_begin);
    free(code->latent);
    free(code->value);
    free(code->plane[0]);
    free(code->plane[1]);
    free(code);
}

double fake_uniform(uint64_t seed, uint64_t i) { return (double)(mixed(mixed(seed) ^ i) >> 11) * 0x1p-53; }

double fake_normal(uint64_t seed, uint64_t i)
{
    const double u = 1 - fake_uniform(seed, 2 * i), v = fake_uniform(seed, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* gpt2: rows are hidden states that a GPT-2 model computes on the fly from token ids.
 *
 * A unit is a context of consecutive tokens: unit u covers tokens u * context to (u + 1) * context - 1, a rest at the end
 * is left out. read() runs forward_contexts contexts through the model at once and stops after the last block it needs. Several
 * hooks of one model are taps of one pass ("quasar.taps/1"); an instance for one hook is an instance with one tap. */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "exclude.h"
#include "forward.h"
#include "splice.h"
#include "text.h"
#include "tokens.h"

struct gpt2_options {
    const char *model, *site, *convention;
    int64_t layer, context, forward_contexts;
    qsr_strings tokens, text, exclude;
};

struct qsr_instance {
    const qsr_host *host;
    gpt2_model model;
    gpt2_tokens tokens;
    gpt2_plan plan;
    exclude_set exclude;
    uint64_t units;
    size_t at_once; /* forward_contexts */
    size_t n_taps;
    size_t *tap_place; /* [n_taps] */
};

enum { ROWS_LIMIT = 1 << 20 };

static void destroy(qsr_instance *self)
{
    if (!self) return;
    gpt2_model_close(&self->model);
    gpt2_tokens_close(&self->tokens);
}

/* Hands an error of the rooms below to the host, under the option that caused it. */
static qsr_status pass_on(const qsr_host *host, qsr_status status, const char *option, const qsr_error *e)
{
    if (status == QSR_OK || e->code == QSR_OK) return status;
    return host->fail(host, e->code, option, "%s", e->text);
}

/* In the order of their places within a layer; resid_post is the next layer's resid_pre. */
static const char *const sites[] = {"resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", NULL};

static qsr_status check_hook(const qsr_host *host, const struct gpt2_options *o, size_t layers, size_t *ret_place)
{
    size_t site = 0;
    if (o->layer < 0 || (uint64_t)o->layer >= layers)
        return host->fail(host, QSR_E_OPTION, "hook.layer",
                          "hook.layer=%" PRId64 " is outside 0..%zu: the model has %zu layers", o->layer, layers - 1,
                          layers);
    while (strcmp(o->site, sites[site]) != 0) site++;
    *ret_place = (size_t)o->layer * GPT2_PLACES + site;
    return QSR_OK;
}

static qsr_status check_context(const qsr_host *host, const struct gpt2_options *o, size_t positions)
{
    if (o->context < 1 || (uint64_t)o->context > positions)
        return host->fail(host, QSR_E_OPTION, "context", "context=%" PRId64 " exceeds the model's n_positions=%zu",
                          o->context, positions);
    if (o->forward_contexts < 1 || o->forward_contexts > ROWS_LIMIT / o->context)
        return host->fail(host, QSR_E_OPTION, "forward_contexts",
                          "forward_contexts=%" PRId64 " of context=%" PRId64 " tokens exceed %d rows per pass",
                          o->forward_contexts, o->context, ROWS_LIMIT);
    return QSR_OK;
}

static qsr_status check_hooks(qsr_instance *self, const void *const *options, size_t layers, size_t *ret_tap)
{
    for (size_t t = 0; t < self->n_taps; t++) {
        qsr_status status = check_hook(self->host, options[t], layers, &self->tap_place[t]);
        if (status) {
            *ret_tap = t;
            return status;
        }
    }
    return QSR_OK;
}

static size_t deepest_place(const qsr_instance *self)
{
    size_t deepest = 0;
    for (size_t t = 0; t < self->n_taps; t++) deepest = qsr_max_size(deepest, self->tap_place[t]);
    return deepest;
}

static qsr_status open_model(qsr_instance *self, const void *const *options, size_t *ret_tap)
{
    const struct gpt2_options *o = options[0]; /* they agree in all but their hooks */
    const qsr_host *host = self->host;
    qsr_arena arena = {0};
    qsr_error e = {0};
    gpt2_config config;
    qsr_status status = gpt2_config_read(qsr_path_join(&arena, o->model, "config.json"), &config, &e);
    qsr_arena_free(&arena);
    if (status) return pass_on(host, status, "model", &e);
    status = check_hooks(self, options, config.layers, ret_tap);
    if (!status) status = check_context(host, o, config.positions);
    if (status) return status;
    const size_t blocks = qsr_div_up(deepest_place(self), GPT2_PLACES);
    return pass_on(host, gpt2_model_open(host, o->model, &config, blocks, &self->model, &e), "model", &e);
}

/* Opens what the texts became, or the files of tokens. */
static qsr_status open_files(qsr_instance *self, const struct gpt2_options *o, qsr_error *e)
{
    const size_t vocabulary = self->model.config.vocabulary;
    if (!o->text.count) return gpt2_tokens_open(&o->tokens, o->model, vocabulary, &self->tokens, e);
    qsr_arena arena = {0};
    gpt2_text made;
    qsr_status status = gpt2_text_encode(self->host, &o->text, o->model, vocabulary, &arena, &made, e);
    if (!status) {
        status = gpt2_tokens_open(&(qsr_strings){&made.path, 1}, o->model, vocabulary, &self->tokens, e);
        gpt2_text_opened(&made);
        self->model.config.eot = made.end;
    }
    qsr_arena_free(&arena);
    return status;
}

static qsr_status open_tokens(qsr_instance *self, const struct gpt2_options *o)
{
    const char *option = o->text.count ? "text" : "tokens";
    qsr_error e = {0};
    if (!o->tokens.count == !o->text.count)
        return self->host->fail(self->host, QSR_E_OPTION, option, "%s: give either tokens or text",
                                o->text.count ? "tokens are given as well" : "there is nothing to read");
    qsr_status status = open_files(self, o, &e);
    if (status) return pass_on(self->host, status, option, &e);
    const size_t count = self->tokens.count;
    self->units = count / (uint64_t)o->context;
    if (self->units) return QSR_OK;
    return self->host->fail(self->host, QSR_E_INPUT, option, "%s: %zu tokens are fewer than one context of %" PRId64,
                            o->text.count ? o->text.items[0] : o->tokens.items[0], count, o->context);
}

static qsr_status open_exclude(qsr_instance *self, const struct gpt2_options *o)
{
    const gpt2_config *c = &self->model.config;
    const exclude_name names[] = {
        {"bos", c->bos, "config.json has no usable bos_token_id: give the id as a number"},
        {"eot", c->eot, "config.json has no usable eos_token_id: give the id as a number"},
    };
    return exclude_create(self->host, &o->exclude, names, sizeof names / sizeof *names, c->vocabulary, &self->exclude);
}

static qsr_status create_taps(const qsr_host *host, const qsr_shape *shape, const void *const *options, size_t n,
                              size_t *ret_tap, qsr_instance **ret_instance)
{
    (void)shape;
    const struct gpt2_options *o = options[0];
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    self->host = host;
    self->n_taps = n;
    self->tap_place = host->alloc(host, n, sizeof *self->tap_place);
    if (!self->tap_place) return QSR_E_NOMEM;
    qsr_status status = open_model(self, options, ret_tap);
    if (!status) status = open_tokens(self, o);
    if (!status) status = open_exclude(self, o);
    self->at_once = (size_t)o->forward_contexts;
    if (!status)
        status = gpt2_plan_make(host, &self->model, self->at_once, (size_t)o->context, strcmp(o->convention, "centered") == 0,
                                &self->plan);
    if (status)
        destroy(self);
    else
        *ret_instance = self;
    return status;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    size_t tap;
    return create_taps(host, shape, &options, 1, &tap, ret_instance);
}

static qsr_status describe(const qsr_instance *self, qsr_dataset_info *ret_info)
{
    const size_t context = self->plan.context;
    *ret_info = (qsr_dataset_info){.struct_size = sizeof *ret_info,
                                   .d_in = self->model.config.d,
                                   .units = self->units,
                                   .rows_per_unit = context,
                                   .units_per_read = self->at_once,
                                   .read_bytes = gpt2_pass_bytes(&self->plan) + self->at_once * context * sizeof(int64_t),
                                   .unit_flops = gpt2_flops(&self->model, context, deepest_place(self))};
    return QSR_OK;
}

/* *ret_ids[n][context], in scratch */
static qsr_status fetch_ids(const qsr_instance *self, const uint64_t *units, size_t n, int64_t **ret_ids)
{
    const qsr_host *host = self->host;
    const size_t context = self->plan.context;
    if (n > self->at_once)
        return host->fail(host, QSR_E_INTERNAL, NULL, "read of %zu units at once, %zu are possible", n, self->at_once);
    int64_t *ids = *ret_ids = host->scratch(host, self->at_once * context, sizeof *ids);
    if (!ids) return QSR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (units[i] >= self->units)
            return host->fail(host, QSR_E_INTERNAL, NULL, "read of unit %" PRIu64 ", the last one is %" PRIu64, units[i],
                              self->units - 1);
        gpt2_tokens_read(&self->tokens, (size_t)units[i] * context, context, ids + i * context);
    }
    return QSR_OK;
}

static qsr_status read_taps(const qsr_instance *self, const uint64_t *units, size_t n, float *const *out)
{
    int64_t *ids;
    gpt2_tap *taps = self->host->scratch(self->host, self->n_taps, sizeof *taps);
    if (!taps) return QSR_E_NOMEM;
    for (size_t t = 0; t < self->n_taps; t++) taps[t] = (gpt2_tap){self->tap_place[t], out[t]};
    qsr_status status = fetch_ids(self, units, n, &ids);
    return status ? status : gpt2_forward(&self->plan, ids, n, taps, self->n_taps);
}

static qsr_status read(const qsr_instance *self, const uint64_t *units, size_t n, float *out)
{
    int64_t *ids;
    qsr_status status = fetch_ids(self, units, n, &ids);
    return status ? status : gpt2_forward(&self->plan, ids, n, &(gpt2_tap){self->tap_place[0], out}, 1);
}

/* ---- quasar.splice/1 --------------------------------------------------------------------------------------------- */

static qsr_status splice_ready(const qsr_instance *self)
{
    if (self->model.whole) return QSR_OK;
    return self->host->fail(self->host, self->model.missing.code, "model", "%s", self->model.missing.text);
}

static qsr_status splice_run(const qsr_instance *self, const uint64_t *units, size_t n, const qsr_splice *splice)
{
    int64_t *ids;
    qsr_status status = splice_ready(self);
    if (!status) status = fetch_ids(self, units, n, &ids);
    return status ? status : gpt2_splice_run(&self->plan, self->tap_place, self->n_taps, ids, n, splice);
}

static size_t splice_bytes(const qsr_instance *self) { return gpt2_splice_bytes(&self->plan, self->n_taps); }

/* ---- quasar.tokens/1 --------------------------------------------------------------------------------------------- */

static qsr_status tokens(const qsr_instance *self, const uint64_t *units, size_t n, int64_t *ret_token, uint64_t *ret_document)
{
    const size_t context = self->plan.context;
    for (size_t i = 0; i < n; i++) {
        const size_t begin = (size_t)units[i] * context;
        if (ret_token) gpt2_tokens_read(&self->tokens, begin, context, ret_token + i * context);
        if (ret_document) gpt2_tokens_documents(&self->tokens, begin, context, ret_document + i * context);
    }
    return QSR_OK;
}

static const char *text(const qsr_instance *self, int64_t token, size_t *ret_bytes)
{
    return gpt2_tokens_text(&self->tokens, token, ret_bytes);
}

static int64_t special(const qsr_instance *self, const char *name)
{
    const gpt2_config *c = &self->model.config;
    return strcmp(name, "bos") == 0 ? c->bos : strcmp(name, "eot") == 0 ? c->eot : -1;
}

static qsr_status mask(const qsr_instance *self, const uint64_t *units, size_t n, uint8_t *ret_keep)
{
    const size_t context = self->plan.context;
    if (!self->exclude.count) return QSR_END;
    int64_t *ids = self->host->scratch(self->host, context, sizeof *ids);
    if (!ids) return QSR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        gpt2_tokens_read(&self->tokens, (size_t)units[i] * context, context, ids);
        exclude_mask(&self->exclude, ids, context, ret_keep + i * context);
    }
    return QSR_OK;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static const char *const conventions[] = {"raw", "centered", NULL};

static const qsr_option options_table[] = {
    QSR_OPT(struct gpt2_options, model,
            .help = "HuggingFace folder of the model: config.json and model.safetensors (F32, F16 or BF16), or its shards with "
                    "model.safetensors.index.json",
            .cite = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_PATH),
    QSR_OPT(struct gpt2_options, tokens,
            .help = "token ids, read flat and cut into contexts: .npy (uint16, uint32, int32 or int64) or .bin (nanoGPT's uint16, "
                    "or llm.c's); one file, several or a pattern; this or text",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH | QSR_OPT_ONE_PLAIN),
    QSR_OPT(struct gpt2_options, text,
            .help = "texts instead of tokens, encoded by the model's tokenizer when they are first used: x.txt is one document, "
                    "x.jsonl has one in the \"text\" of each line, both also as .gz or .zst; one file, several or a pattern",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH | QSR_OPT_ONE_PLAIN),
    QSR_OPT_NAMED(struct gpt2_options, site, "hook.site",
                  .help = "where in the layer: the residual stream before it (resid_pre), between attention and MLP "
                          "(resid_mid) or after it (resid_post); what attention (attn_out) or MLP (mlp_out) add to it",
                  .flags = QSR_OPT_TAP, .def = "resid_pre", .choices = sites),
    QSR_OPT_NAMED(struct gpt2_options, layer, "hook.layer", .help = "layer of the hook, the first being 0",
                  .flags = QSR_OPT_REQUIRED | QSR_OPT_TAP | QSR_OPT_RANGE, .min = 0, .max = 4095),
    QSR_OPT(struct gpt2_options, convention,
            .help = "raw: states as the model has them; centered: less their mean over d, as TransformerLens gives them, which "
                    "no layer of the model can see",
            .choices = conventions, .def = "raw"),
    QSR_OPT(struct gpt2_options, context, .help = "tokens of one context; not more than the model's n_positions",
            .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 1, .max = ROWS_LIMIT, .def = "128"),
    QSR_OPT(struct gpt2_options, forward_contexts,
            .help = "contexts in one pass through the model: more make larger matrix products and take more memory",
            .unit = "contexts", .flags = QSR_OPT_RANGE, .min = 1, .max = 4096, .def = "8"),
    QSR_OPT(struct gpt2_options, exclude, .help = EXCLUDE_HELP, .flags = QSR_OPT_OPTIONAL),
};

static const qsr_dataset_ops ops = {.struct_size = sizeof ops, .describe = describe, .read = read};

static const qsr_taps_ops taps_ops = {.struct_size = sizeof taps_ops, .create = create_taps, .read = read_taps};

static const qsr_splice_ops splice_ops = {
    .struct_size = sizeof splice_ops, .ready = splice_ready, .run = splice_run, .bytes = splice_bytes};

static const qsr_tokens_ops tokens_ops = {.struct_size = sizeof tokens_ops, .tokens = tokens, .text = text, .mask = mask, .special = special};

static const void *extension(const char *id)
{
    if (strcmp(id, QSR_EXT_TAPS) == 0) return &taps_ops;
    if (strcmp(id, QSR_EXT_SPLICE) == 0) return &splice_ops;
    return strcmp(id, QSR_EXT_TOKENS) == 0 ? &tokens_ops : NULL;
}

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_DATASET),
    .name = "gpt2",
    .version = "2",
    .summary = "hidden states of a GPT-2 model, computed from token ids while they are needed",
    .cite = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    .caps = QSR_CAP_COMPUTES,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct gpt2_options),
    .create = create,
    .destroy = destroy,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

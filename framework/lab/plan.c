#include "lab/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sizes.h"
#include "data/feed.h"
#include "plugin/instance.h"

size_t qsr_plan_default_memory(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256];
    unsigned long kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1) break;
    if (file) fclose(file);
    return kib ? (size_t)kib * 1024 / 10 * 7 : (size_t)4 << 30;
}

size_t qsr_plan_kept(const qsr_spec *spec, size_t d_in)
{
    size_t kept = 0, d_sae = (size_t)spec->sae.d_sae;
    const qsr_plugin *plugin = spec->activation.plugin;
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = d_in, .d_sae = d_sae, .batch_rows = (size_t)spec->train.batch,
                       .dead_after = spec->train.dead_after};
    qsr_made *made = NULL;
    if (d_in == 0 || qsr_made_create(plugin, &shape, spec->activation.values, spec->seed, NULL, &made, NULL)) return 0;
    const qsr_selector_ops *ops = qsr_made_extension(made, QSR_EXT_SELECTOR);
    qsr_selection rule = {.struct_size = sizeof rule};
    if (ops && qsr_made_finish(made, ops->get(made->instance, QSR_TRAIN, &rule), NULL) == QSR_OK) kept = qsr_min_size(rule.k, d_sae);
    qsr_made_free(made);
    return kept;
}

/* Entries of codes that are in memory together, at most: those of the blocks that threads work on, or those that wait for the weight
 * gradients. Rows that decide together begin with all positive pre-activations, which are half of them. */
static size_t entries_held(const qsr_spec *spec, size_t kept, size_t waiting, size_t at_work)
{
    size_t half = qsr_max_size((size_t)spec->sae.d_sae / 2, 1);
    bool all = !kept || spec->activation.plugin->caps & QSR_CAP_ROWS_COUPLED;
    size_t wait = qsr_min_size(QSR_WAITING_ENTRIES, waiting * (kept ? kept : half));
    return qsr_max_size(wait, at_work * (all ? half : kept));
}

/* What losses look at in the last batch, when latents may have been silent for longest: entries that are kept of each row while they
 * wait for it, and entries of their own codes. A loss that cannot be asked counts as one that looks at nothing. */
static size_t entries_looked_at(const qsr_spec *spec, size_t d_in, const qsr_block *block, size_t *ret_own)
{
    size_t d_sae = (size_t)spec->sae.d_sae, batch = (size_t)spec->train.batch, named = 0;
    const qsr_loss_ops *ops = block->plugin->ops;
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = d_in, .d_sae = d_sae, .batch_rows = batch,
                       .dead_after = spec->train.dead_after};
    qsr_made *made = NULL;
    if (!ops->outlook || qsr_made_create(block->plugin, &shape, block->values, spec->seed, NULL, &made, NULL)) return 0;
    uint8_t *latents = qsr_xcalloc(d_sae, 1);
    uint64_t *silent = qsr_xcalloc(d_sae, sizeof *silent), steps = qsr_training_steps(&spec->train);
    for (size_t j = 0; j < d_sae; j++) silent[j] = steps ? (steps - 1) * batch : 0;
    qsr_loss_outlook ask = {.struct_size = sizeof ask, .rows = batch, .d_sae = d_sae, .silent = silent, .latents = latents};
    bool asks = qsr_made_finish(made, ops->outlook(made->instance, &ask), NULL) == QSR_OK;
    for (size_t j = 0; asks && j < d_sae; j++) named += latents[j] != 0;
    free(latents);
    free(silent);
    qsr_made_free(made);
    *ret_own = batch * qsr_min_size(ask.k, named);
    return batch * qsr_outlook_room(d_in, qsr_min_size(ask.k, named), named);
}

enum {
    ENTRY_BYTES = 30, /* latent, value, their gradients, the same in latent order, some room */
    LOOK_BYTES = 8    /* latent and value */
};

/* Weights, gradients and two moments, and the packed encoder; the batch thrice (raw, x, xhat), and what of it waits for the weight
 * gradients, with its codes; per thread a block of pre-activations and of codes; pre-activations kept for losses. */
size_t qsr_plan_cell_bytes(const qsr_spec *spec, size_t d_in, unsigned threads)
{
    size_t d_sae = (size_t)spec->sae.d_sae, batch = (size_t)spec->train.batch, kept = qsr_plan_kept(spec, d_in);
    if (d_in == 0) d_in = qsr_max_size(d_sae / 8, 1);
    size_t rows = qsr_block_rows(batch);
    size_t waiting = qsr_min_size(batch, qsr_max_size(threads, QSR_BLOCKS_IN_FLIGHT) * rows);
    size_t entries = entries_held(spec, kept, waiting, qsr_min_size(batch, threads * rows)), looked_at = 0;
    for (size_t i = 0; i < spec->n_losses; i++) {
        size_t own = 0;
        looked_at += entries_looked_at(spec, d_in, &spec->losses[i], &own);
        entries = qsr_max_size(entries, qsr_min_size(QSR_WAITING_ENTRIES, own));
    }
    return 9 * d_in * d_sae * sizeof(float) + (3 * batch + 2 * waiting) * d_in * sizeof(float) + threads * rows * d_sae * 8 +
           entries * ENTRY_BYTES + looked_at * LOOK_BYTES;
}

/* d_in of each cell, from one opening of its dataset per stream; 0 where that fails (the group will say why). */
typedef struct {
    const char *key, *tap;
    size_t d_in, index;
    size_t window; /* rows that a shuffle buffer holds of a tap */
    bool ahead;    /* its data is read ahead */
    bool taken;
} keyed_cell;

static void look_at_data(const qsr_spec *spec, const qsr_run_options *options, keyed_cell *c)
{
    qsr_dataset data;
    if (qsr_dataset_open(spec, options->pool, &data, NULL)) return;
    c->d_in = data.d_in;
    c->window = qsr_cursor_window_rows(&data, &spec->data);
    c->ahead = !options->read_in_turn && qsr_feed_pays(&data);
    qsr_dataset_close(&data);
}

/* Cells that can share a stream have equal keys; without taps in the plugin, equal taps too. */
static const char *key_of(const qsr_spec *spec, qsr_arena *arena)
{
    const char *stream = qsr_dataset_stream_key(spec, arena);
    if (qsr_dataset_has_taps(spec)) return stream;
    return qsr_arena_printf(arena, "%s\n%s", stream, qsr_dataset_tap_key(spec, arena));
}

/* order[0..n) = the cells, those of one stream together, streams by their first cell. */
static void order_cells(keyed_cell *cells, size_t n, size_t *order)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (cells[i].taken) continue;
        for (size_t j = i; j < n; j++)
            if (!cells[j].taken && strcmp(cells[i].key, cells[j].key) == 0) {
                cells[j].taken = true;
                order[at++] = j;
            }
    }
}

static void put_cell(qsr_plan *plan, size_t index, size_t bytes, bool new_group)
{
    if (new_group) {
        plan->groups = qsr_xrealloc(plan->groups, plan->n + 1, sizeof *plan->groups);
        plan->groups[plan->n++] = (qsr_plan_group){0};
    }
    qsr_plan_group *g = &plan->groups[plan->n - 1];
    g->cells = qsr_xrealloc(g->cells, g->n + 1, sizeof *g->cells);
    g->cells[g->n++] = index;
    g->bytes += bytes;
}

static void warn_of_size(const qsr_spec *spec, size_t bytes, size_t memory)
{
    char needs[32], may[32];
    if (bytes > memory)
        qsr_log(QSR_LOG_WARNING, "%s needs about %s, more than the limit of %s", spec->id, qsr_size_text(bytes, needs, sizeof needs),
                qsr_size_text(memory, may, sizeof may));
}

/* Each tap of a stream has a shuffle buffer, and rows on their way to the cells. Nothing for a cell that shares the tap of one of those
 * before it in the group. */
static size_t tap_bytes(const qsr_spec *spec, const keyed_cell *cells, const size_t *group, size_t n, const keyed_cell *c)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(cells[group[i]].tap, c->tap) == 0) return 0;
    const size_t row = c->d_in * sizeof(float), piece = qsr_min_size((size_t)spec->train.batch, QSR_ROWS_AT_ONCE) * row;
    return c->window * row + piece * qsr_feed_pieces(piece, c->ahead);
}

static void cut(const qsr_spec *const *specs, const keyed_cell *cells, const size_t *order, size_t first, size_t last,
                unsigned threads, qsr_plan *plan)
{
    for (size_t i = first; i < last; i++) {
        const keyed_cell *c = &cells[order[i]];
        const qsr_spec *spec = specs[c->index];
        size_t cell = qsr_plan_cell_bytes(spec, c->d_in, threads);
        qsr_plan_group *g = plan->n ? &plan->groups[plan->n - 1] : NULL;
        bool other = i == first || strcmp(c->key, cells[order[i - 1]].key) != 0;
        size_t bytes = cell + tap_bytes(spec, cells, g ? g->cells : NULL, other ? 0 : g->n, c);
        bool full = !other && g->bytes + bytes > plan->memory;
        if (full) bytes = cell + tap_bytes(spec, cells, NULL, 0, c);
        put_cell(plan, c->index, bytes, other || full);
        if (other || full) warn_of_size(spec, bytes, plan->memory);
    }
}

void qsr_plan_make(const qsr_spec *const *specs, size_t n, const qsr_run_options *options, bool exact, qsr_plan *ret)
{
    qsr_arena arena = {0};
    keyed_cell *cells = qsr_xcalloc(n, sizeof *cells);
    size_t *order = qsr_xcalloc(n, sizeof *order), first = 0, last = n;
    *ret = (qsr_plan){.memory = options->memory ? options->memory : qsr_plan_default_memory()};
    for (size_t i = 0; i < n; i++) cells[i] = (keyed_cell){.key = key_of(specs[i], &arena), .tap = qsr_dataset_tap_key(specs[i], &arena), .index = i};
    for (size_t i = 0; (n > 1 || exact) && i < n; i++) {
        for (size_t j = 0; j < i && !cells[i].d_in; j++)
            if (strcmp(cells[i].key, cells[j].key) == 0) cells[i].d_in = cells[j].d_in, cells[i].window = cells[j].window, cells[i].ahead = cells[j].ahead;
        if (!cells[i].d_in) look_at_data(specs[i], options, &cells[i]);
    }
    ret->d_in = qsr_xcalloc(n, sizeof *ret->d_in);
    for (size_t i = 0; i < n; i++) ret->d_in[i] = cells[i].d_in;
    order_cells(cells, n, order);
    if (options->shards) {
        first = n * (options->shard - 1) / options->shards;
        last = n * options->shard / options->shards;
    }
    cut(specs, cells, order, first, last, qsr_pool_threads(options->pool), ret);
    free(cells);
    free(order);
    qsr_arena_free(&arena);
}

qsr_status qsr_plan_check(const qsr_plan *plan, const qsr_spec *const *cells, const qsr_run_options *options, qsr_problems *problems,
                          qsr_error *e)
{
    qsr_status first = QSR_OK;
    for (size_t g = 0; g < plan->n; g++) {
        qsr_error why = {0};
        const qsr_plan_group *group = &plan->groups[g];
        const qsr_spec **specs = qsr_xcalloc(group->n, sizeof *specs);
        for (size_t i = 0; i < group->n; i++) specs[i] = cells[group->cells[i]];
        qsr_status status = qsr_group_check(specs, group->n, options, problems, &why);
        if (status && !first) first = status, *e = why;
        free(specs);
    }
    return first;
}

void qsr_plan_free(qsr_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) free(plan->groups[i].cells);
    free(plan->groups);
    free(plan->d_in);
    *plan = (qsr_plan){0};
}

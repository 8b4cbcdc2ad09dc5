#include "lab/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sizes.h"

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

/* Weights, gradients and two moments, and the packed encoder; the batch thrice (raw, x, xhat), and what of it waits for the weight gradients, with its
 * codes; per thread a block of pre-activations and a code of half density. */
size_t qsr_plan_cell_bytes(const qsr_spec *spec, size_t d_in, unsigned threads)
{
    size_t d_sae = (size_t)spec->sae.d_sae, batch = (size_t)spec->train.batch;
    if (d_in == 0) d_in = qsr_max_size(d_sae / 8, 1);
    size_t rows = qsr_block_rows(batch);
    size_t waiting = qsr_min_size(batch, qsr_max_size(threads, QSR_BLOCKS_IN_FLIGHT) * rows);
    size_t codes = qsr_min_size(QSR_WAITING_ENTRIES, qsr_max_size(waiting / 16, threads * rows / 2) * d_sae) * 20;
    return 9 * d_in * d_sae * sizeof(float) + (3 * batch + 2 * waiting) * d_in * sizeof(float) + threads * rows * d_sae * 8 + codes;
}

static size_t shuffle_bytes(const qsr_spec *spec, size_t d_in) { return (size_t)spec->data.buffer * d_in * sizeof(float); }

/* d_in of each cell, from one opening of its dataset per stream; 0 where that fails (the group will say why). */
typedef struct {
    const char *key;
    size_t d_in, index;
    bool taken;
} keyed_cell;

static size_t width_of(const qsr_spec *spec, const qsr_run_options *options)
{
    qsr_dataset data;
    if (qsr_dataset_open(spec, options->pool, &data, NULL)) return 0;
    size_t d_in = data.d_in;
    qsr_dataset_close(&data);
    return d_in;
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

static void cut(const qsr_spec *const *specs, const keyed_cell *cells, const size_t *order, size_t first, size_t last,
                unsigned threads, qsr_plan *plan)
{
    for (size_t i = first; i < last; i++) {
        const keyed_cell *c = &cells[order[i]];
        size_t bytes = qsr_plan_cell_bytes(specs[c->index], c->d_in, threads);
        bool other = i == first || strcmp(c->key, cells[order[i - 1]].key) != 0;
        bool full = !other && plan->groups[plan->n - 1].bytes + bytes > plan->memory;
        if (other || full) {
            put_cell(plan, c->index, bytes + shuffle_bytes(specs[c->index], c->d_in), true);
            warn_of_size(specs[c->index], plan->groups[plan->n - 1].bytes, plan->memory);
        } else {
            put_cell(plan, c->index, bytes, false);
        }
    }
}

void qsr_plan_make(const qsr_spec *const *specs, size_t n, const qsr_run_options *options, bool exact, qsr_plan *ret)
{
    qsr_arena arena = {0};
    keyed_cell *cells = qsr_xcalloc(n, sizeof *cells);
    size_t *order = qsr_xcalloc(n, sizeof *order), first = 0, last = n;
    *ret = (qsr_plan){.memory = options->memory ? options->memory : qsr_plan_default_memory()};
    for (size_t i = 0; i < n; i++) cells[i] = (keyed_cell){.key = key_of(specs[i], &arena), .index = i};
    for (size_t i = 0; (n > 1 || exact) && i < n; i++) {
        for (size_t j = 0; j < i && !cells[i].d_in; j++)
            if (strcmp(cells[i].key, cells[j].key) == 0) cells[i].d_in = cells[j].d_in;
        if (!cells[i].d_in) cells[i].d_in = width_of(specs[i], options);
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

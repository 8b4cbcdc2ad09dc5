#include "eval/contexts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "format/json.h"

enum { FLUSH_BYTES = 1 << 16, BLOCK_BYTES = 16 << 20 };
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void qsr_contexts_clean(const char *bytes, size_t n, qsr_text *out)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = qsr_utf8_at(bytes + i, n - i, &c);
        if (length && c) {
            qsr_text_append(out, bytes + i, length);
            i += length;
            continue;
        }
        qsr_text_puts(out, replacement);
        /* The rest of a character that was cut goes with its first byte. */
        unsigned char first = (unsigned char)bytes[i++];
        size_t rest = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
        while (rest-- && i < n && ((unsigned char)bytes[i] & 0xc0) == 0x80) i++;
    }
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* One context to write: a top row, and the tokens about it. */
typedef struct {
    const qsr_top_row *top;
    int64_t *tokens; /* [before + 1 + after]: those from `first` to `end` are inside the unit, `before` is the row's own */
    size_t first, end;
    uint64_t document;
} context;

typedef struct {
    const qsr_latents *latents;
    const qsr_dataset *data;
    const qsr_tokens_ops *ops; /* NULL: the dataset has no tokens */
    qsr_context_width width;
    size_t window;        /* before + 1 + after */
    size_t block;         /* latents written at once */
    context *contexts;    /* [block * top], latent by latent */
    context **order;      /* the same by unit */
    int64_t *tokens;      /* [block * top][window] */
    int64_t *unit_tokens; /* [rows of a unit] */
    uint64_t *unit_documents;
    qsr_text bytes, clean; /* of one text */
    qsr_writer writer;
    qsr_text lines;
} job;

static int by_unit(const void *a, const void *b)
{
    const qsr_top_row *x = (*(context *const *)a)->top, *y = (*(context *const *)b)->top;
    return x->unit != y->unit ? (x->unit > y->unit) - (x->unit < y->unit) : (x->row > y->row) - (x->row < y->row);
}

static void cut_window(const job *j, context *c)
{
    size_t row = c->top->row, rows = j->data->info.rows_per_unit;
    size_t before = qsr_min_size(j->width.before, row), after = qsr_min_size(j->width.after, rows - 1 - row);
    c->first = j->width.before - before;
    c->end = j->width.before + 1 + after;
    memcpy(c->tokens + c->first, j->unit_tokens + row - before, (before + 1 + after) * sizeof *c->tokens);
    c->document = j->unit_documents[row];
}

/* Every unit is asked for once in a block. QSR_E_UNSUPPORTED: this instance has no tokens, which is no error. */
static qsr_status look_up_tokens(job *j, size_t n, qsr_error *e)
{
    const qsr_made *made = j->data->made;
    qsort(j->order, n, sizeof *j->order, by_unit);
    for (size_t i = 0; i < n && j->ops; i++) {
        uint64_t unit = j->order[i]->top->unit;
        if (i == 0 || unit != j->order[i - 1]->top->unit) {
            qsr_error why = {0};
            qsr_status status =
                qsr_made_finish(made, j->ops->tokens(made->instance, &unit, 1, j->unit_tokens, j->unit_documents), &why);
            if (status == QSR_E_UNSUPPORTED) {
                j->ops = NULL;
                break;
            }
            if (status) {
                if (e) *e = why;
                return status;
            }
        }
        cut_window(j, j->order[i]);
    }
    return QSR_OK;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static const char *text_of(const job *j, int64_t token, size_t *ret_bytes)
{
    *ret_bytes = 0;
    return j->ops->text(j->data->made->instance, token, ret_bytes);
}

/* Without a vocabulary no token has a text; with one, a token that it does not know stands as U+FFFD. */
static bool has_text(const job *j, const context *c)
{
    size_t bytes;
    for (size_t i = c->first; i < c->end && j->ops->text; i++)
        if (text_of(j, c->tokens[i], &bytes)) return true;
    return false;
}

/* The tokens' bytes one after the other, cleaned as one text. */
static void put_text(job *j, const char *key, const int64_t *tokens, size_t n)
{
    j->bytes.length = j->clean.length = 0;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const char *text = text_of(j, tokens[i], &size);
        if (text)
            qsr_text_append(&j->bytes, text, size);
        else
            qsr_text_puts(&j->bytes, replacement);
    }
    if (j->bytes.length) qsr_contexts_clean(j->bytes.bytes, j->bytes.length, &j->clean);
    qsr_text_add(&j->lines, ",\"%s\":", key);
    qsr_json_quote(j->clean.length ? j->clean.bytes : "", j->clean.length, &j->lines);
}

static void put_context(job *j, const context *c)
{
    char number[32];
    qsr_text_add(&j->lines, "{\"unit\":%" PRIu64 ",\"row\":%" PRIu32 ",\"activation\":", c->top->unit, c->top->row);
    qsr_text_puts(&j->lines, isfinite(c->top->value) ? qsr_float_text(c->top->value, number, sizeof number) : "null");
    if (j->ops) {
        size_t own = j->width.before;
        qsr_text_add(&j->lines, ",\"token\":%" PRId64, c->tokens[own]);
        if (has_text(j, c)) {
            put_text(j, "before", c->tokens + c->first, own - c->first);
            put_text(j, "text", c->tokens + own, 1);
            put_text(j, "after", c->tokens + own + 1, c->end - own - 1);
        }
        qsr_text_add(&j->lines, ",\"document\":%" PRIu64, c->document);
    }
    qsr_text_puts(&j->lines, "}");
}

static qsr_status write_block(job *j, size_t begin, size_t end, qsr_error *e)
{
    size_t n = 0;
    for (size_t latent = begin; latent < end; latent++) {
        const qsr_top_row *rows;
        size_t count = qsr_latents_top(j->latents, latent, &rows);
        for (size_t i = 0; i < count; i++, n++) {
            j->contexts[n] = (context){.top = &rows[i], .tokens = j->tokens + n * j->window};
            j->order[n] = &j->contexts[n];
        }
    }
    qsr_status status = look_up_tokens(j, n, e);
    n = 0;
    for (size_t latent = begin; latent < end && !status; latent++) {
        const qsr_top_row *rows;
        size_t count = qsr_latents_top(j->latents, latent, &rows);
        qsr_text_add(&j->lines, "{\"latent\":%zu,\"contexts\":[", latent);
        for (size_t i = 0; i < count; i++, n++) {
            if (i) qsr_text_puts(&j->lines, ",");
            put_context(j, &j->contexts[n]);
        }
        qsr_text_puts(&j->lines, "]}\n");
        status = qsr_writer_drain(&j->writer, &j->lines, FLUSH_BYTES, e);
    }
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static qsr_status prepare(job *j, size_t top, qsr_error *e)
{
    const qsr_tokens_ops *ops = qsr_made_extension(j->data->made, QSR_EXT_TOKENS);
    size_t d_sae = qsr_latents_count(j->latents), rows = j->data->info.rows_per_unit;
    j->ops = ops && ops->tokens ? ops : NULL;
    j->window = j->width.before + 1 + j->width.after;
    top = qsr_max_size(top, 1);
    j->block = BLOCK_BYTES / (j->window * sizeof(int64_t) + sizeof(context) + sizeof(context *)) / top;
    j->block = qsr_min_size(qsr_max_size(j->block, 1), d_sae);
    size_t entries = j->block * top;
    j->contexts = qsr_block_raw(entries, sizeof *j->contexts);
    j->order = qsr_block_raw(entries, sizeof *j->order);
    j->tokens = qsr_block_raw(entries, j->window * sizeof *j->tokens);
    j->unit_tokens = qsr_block_alloc(rows, sizeof *j->unit_tokens);
    j->unit_documents = qsr_block_alloc(rows, sizeof *j->unit_documents);
    if (j->contexts && j->order && j->tokens && j->unit_tokens && j->unit_documents) return QSR_OK;
    return qsr_fail_nomem(e, "top contexts (eval.top_contexts, eval.context_before, eval.context_after)",
                          entries * (j->window * sizeof(int64_t) + sizeof(context)));
}

static void release(job *j)
{
    void *blocks[] = {j->contexts, j->order, j->tokens, j->unit_tokens, j->unit_documents};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    qsr_writer_abort(&j->writer);
    qsr_text_free(&j->bytes);
    qsr_text_free(&j->clean);
    qsr_text_free(&j->lines);
}

qsr_status qsr_contexts_write(const qsr_latents *latents, const char *path, const qsr_dataset *data,
                              qsr_context_width width, qsr_error *e)
{
    job j = {.latents = latents, .data = data, .width = width, .writer = {.fd = -1}};
    size_t d_sae = qsr_latents_count(latents);
    qsr_status status = prepare(&j, qsr_latents_most(latents), e);
    if (!status) status = qsr_writer_open(&j.writer, path, e);
    for (size_t begin = 0; begin < d_sae && !status; begin += j.block)
        status = write_block(&j, begin, qsr_min_size(begin + j.block, d_sae), e);
    if (!status) status = qsr_writer_drain(&j.writer, &j.lines, 0, e);
    if (!status) status = qsr_writer_commit(&j.writer, e);
    release(&j);
    return status;
}

/* plugin/check-activation: manners, determinism, rows, selectors, state and export of activations. Gradients have their own
 * file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "base/text.h"
#include "math/select.h"
#include "plugin/check-batch.h"
#include "plugin/check-gradient.h"

enum { BATCHES = 3, BLOCK = 4 };

/* Runs training batches 0 .. n - 1 and then one in `mode` on the batch `which`; *ret is that last one's. */
static qsr_status run(const qsr_check *c, qsr_made *made, size_t n, uint64_t which, qsr_check_how how,
                      qsr_check_result *ret, qsr_error *e)
{
    qsr_status status = QSR_OK;
    uint32_t mode = how.mode;
    how.mode = QSR_TRAIN;
    for (size_t i = 0; i <= n && !status; i++) {
        qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, i < n ? i : which);
        if (i == n) how.mode = mode;
        qsr_check_result result;
        status = qsr_check_batch(made, &in, how, &result, e);
        if (i < n)
            qsr_check_result_free(&result);
        else
            *ret = result;
        if (status && i < n) *ret = (qsr_check_result){0};
        qsr_check_input_free(&in);
    }
    return status;
}

/* The same on a fresh instance. */
static qsr_status run_fresh(const qsr_check *c, size_t n, qsr_check_how how, qsr_check_result *ret, qsr_error *e)
{
    qsr_made *made;
    *ret = (qsr_check_result){0};
    qsr_status status = qsr_check_make(c, how.pool, &made, e);
    if (status) return status;
    status = run(c, made, n, n, how, ret, e);
    qsr_made_free(made);
    return status;
}

static const uint32_t modes[] = {QSR_TRAIN, QSR_EVAL};
static const char *const mode_names[] = {"training", "evaluation"};

/* ---- manners */

static qsr_status test_sizes_of(const qsr_check *c, size_t rows, uint32_t mode, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    qsr_check_result result;
    qsr_check_input in = qsr_check_input_make(c, rows, 0);
    /* no rows: forward sees one block of none, as the pool would never call it */
    if (rows) {
        status = qsr_check_batch(made, &in, (qsr_check_how){mode, c->one, rows, false}, &result, e);
        qsr_check_result_free(&result);
    } else {
        const qsr_activation_ops *ops = c->plugin->ops;
        qsr_code *code = qsr_guard_code(0, in.d_sae, ops->planes);
        qsr_rows none = qsr_check_rows(made, &in, mode, 0, 0);
        status = qsr_made_finish(made, ops->forward(made->instance, &none, code), e);
        if (!status && code->row_begin[0])
            status = qsr_fail(e, QSR_E_INTERNAL, "forward changed row_begin[0] of a block without rows");
        if (!qsr_guard_code_free(code))
            status = qsr_fail(e, QSR_E_INTERNAL, "forward wrote outside of a code without rows");
    }
    if (status) qsr_context(e, "%s, %zu rows", mode_names[mode], rows);
    if (!status && made->services.misused)
        status = qsr_fail(e, QSR_E_INTERNAL, "calls alloc outside of create: use scratch");
    qsr_check_input_free(&in);
    qsr_made_free(made);
    return status;
}

static qsr_status test_manners(const qsr_check *c, qsr_error *e)
{
    const size_t sizes[] = {0, 1, c->shape.batch_rows};
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < 3 && !status; i++)
        for (size_t m = 0; m < 2 && !status; m++) status = test_sizes_of(c, sizes[i], modes[m], e);
    return status;
}

/* Rows without any positive value, and with values of all sizes, are ordinary inputs. */
static qsr_status test_extremes(const qsr_check *c, qsr_error *e)
{
    static const float values[] = {-1, 0, 1e-30f, 1e30f};
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < 4 && !status; i++) {
        qsr_made *made;
        qsr_check_result result = {0};
        status = qsr_check_make(c, c->one, &made, e);
        if (status) return status;
        qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, 0);
        for (size_t r = 0; r < in.rows; r++)
            for (size_t j = 0; j < in.d_sae; j++) in.pre[r * in.ld + j] = values[i];
        status = qsr_check_batch(made, &in, (qsr_check_how){QSR_TRAIN, c->one, BLOCK, false}, &result, e);
        if (status == QSR_E_NUMERIC) { /* a clean refusal is an answer */
            status = QSR_OK;
            *e = (qsr_error){0};
        }
        if (status) qsr_context(e, "all pre-activations %g", values[i]);
        qsr_check_result_free(&result);
        qsr_check_input_free(&in);
        qsr_made_free(made);
    }
    return status;
}

/* ---- determinism */

static qsr_status compare_runs(const qsr_check *c, qsr_check_how a, qsr_check_how b, const char *what, qsr_error *e)
{
    qsr_check_result first, second = {0};
    qsr_status status = run_fresh(c, BATCHES, a, &first, e);
    if (!status) status = run_fresh(c, BATCHES, b, &second, e);
    if (!status) status = qsr_check_same(&first, &second, what, e);
    qsr_check_result_free(&first);
    qsr_check_result_free(&second);
    return status;
}

static qsr_status test_same_twice(const qsr_check *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t m = 0; m < 2 && !status; m++) {
        qsr_check_how how = {modes[m], c->one, BLOCK, false};
        status = compare_runs(c, how, how, "the same run twice", e);
    }
    return status;
}

/* forward may not change the instance: a second call must find what the first found. */
static qsr_status test_same_instance(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    qsr_check_result first, second = {0};
    qsr_check_how how = {QSR_EVAL, c->one, BLOCK, false};
    status = run(c, made, BATCHES, 9, how, &first, e);
    if (!status) status = run(c, made, 0, 9, how, &second, e);
    if (!status) status = qsr_check_same(&first, &second, "forward twice on one instance", e);
    qsr_check_result_free(&first);
    qsr_check_result_free(&second);
    qsr_made_free(made);
    return status;
}

static qsr_status test_threads(const qsr_check *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t m = 0; m < 2 && !status; m++)
        for (int again = 0; again < 3 && !status; again++)
            status = compare_runs(c, (qsr_check_how){modes[m], c->one, 1, false},
                                  (qsr_check_how){modes[m], c->four, 1, false}, "1 and 4 threads", e);
    return status;
}

static qsr_status test_blocks(const qsr_check *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t m = 0; m < 2 && !status; m++)
        status = compare_runs(c, (qsr_check_how){modes[m], c->one, BLOCK, false},
                              (qsr_check_how){modes[m], c->one, c->shape.batch_rows, false},
                              "blocks of 4 rows and one block", e);
    return status;
}

static qsr_status test_early_prune(const qsr_check *c, qsr_error *e)
{
    if (!(c->plugin->caps & QSR_CAP_ROWS_COUPLED)) return qsr_fail(e, QSR_END, "rows are not coupled");
    return compare_runs(c, (qsr_check_how){QSR_TRAIN, c->one, BLOCK, false},
                        (qsr_check_how){QSR_TRAIN, c->one, BLOCK, true},
                        "pruning once and pruning after half of the rows too", e);
}

/* ---- rows */

/* Row `from` of a into row `to` of b, each with its norms. */
static void copy_row(const qsr_check_input *a, size_t from, qsr_check_input *b, size_t to)
{
    memcpy(b->pre + to * b->ld, a->pre + from * a->ld, a->ld * sizeof *a->pre);
    b->input_norm[to] = a->input_norm[from];
}

static bool same_row(const qsr_check_result *a, size_t i, const qsr_check_result *b, size_t k)
{
    return memcmp(a->support + i * a->d_sae, b->support + k * b->d_sae, a->d_sae) == 0 &&
           memcmp(a->value + i * a->d_sae, b->value + k * b->d_sae, a->d_sae * sizeof *a->value) == 0;
}

static qsr_status reversed_and_single(qsr_made *made, const qsr_check_input *in, qsr_check_how how,
                                      const qsr_check_result *whole, const qsr_check *c, qsr_error *e)
{
    qsr_check_input other = qsr_check_input_make(c, in->rows, 0), one = qsr_check_input_make(c, 1, 0);
    for (size_t r = 0; r < in->rows; r++) copy_row(in, r, &other, in->rows - 1 - r);
    qsr_check_result turned, single;
    qsr_status status = qsr_check_batch(made, &other, how, &turned, e);
    for (size_t r = 0; r < in->rows && !status; r++) {
        copy_row(in, r, &one, 0);
        status = qsr_check_batch(made, &one, how, &single, e);
        if (!status && !same_row(whole, r, &turned, in->rows - 1 - r))
            status = qsr_fail(e, QSR_E_INTERNAL, "row %zu comes out otherwise when the rows of the batch are reversed", r);
        if (!status && !same_row(whole, r, &single, 0))
            status = qsr_fail(e, QSR_E_INTERNAL, "row %zu comes out otherwise when it is alone", r);
        qsr_check_result_free(&single);
    }
    qsr_check_result_free(&turned);
    qsr_check_input_free(&other);
    qsr_check_input_free(&one);
    return status;
}

static qsr_status rows_in_mode(const qsr_check *c, uint32_t mode, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    qsr_check_result warm, whole = {0};
    qsr_check_how how = {mode, c->one, BLOCK, false};
    status = run(c, made, BATCHES, 7, how, &warm, e); /* what training leaves behind belongs to evaluation */
    qsr_check_result_free(&warm);
    qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, 8);
    if (!status) status = qsr_check_batch(made, &in, how, &whole, e);
    if (!status) status = reversed_and_single(made, &in, how, &whole, c, e);
    qsr_check_result_free(&whole);
    qsr_check_input_free(&in);
    qsr_made_free(made);
    if (status)
        qsr_context(e, "in %s, without QSR_CAP_ROWS_COUPLED%s", mode_names[mode], mode == QSR_EVAL ? " or with it" : "");
    return status;
}

static qsr_status test_rows(const qsr_check *c, qsr_error *e)
{
    qsr_status status = rows_in_mode(c, QSR_EVAL, e);
    if (status || (c->plugin->caps & QSR_CAP_ROWS_COUPLED)) return status;
    return rows_in_mode(c, QSR_TRAIN, e);
}

/* ---- quasar.selector/1: the declared rule, done plainly */

static void select_above(const qsr_selection *s, const qsr_check_input *in, uint8_t *keep)
{
    for (size_t r = 0; r < in->rows; r++)
        for (size_t j = 0; j < in->d_sae; j++)
            keep[r * in->d_sae + j] = in->pre[r * in->ld + j] > (s->edge ? s->edge[j] : s->threshold ? s->threshold[j] : s->scalar);
}

static void select_best(const float *values, size_t n, size_t k, uint8_t *keep)
{
    uint32_t *index = qsr_xcalloc(n, sizeof *index);
    size_t count = qsr_select_largest(values, n, qsr_min_size(k, n), index);
    for (size_t i = 0; i < count; i++) keep[index[i]] = 1;
    free(index);
}

static qsr_status apply_rule(const qsr_selection *s, uint32_t mode, const qsr_check_input *in, uint8_t *keep, qsr_error *e)
{
    size_t d = in->d_sae;
    memset(keep, 0, in->rows * d);
    if (s->rule == QSR_SELECT_ABOVE || (s->rule == QSR_SELECT_BATCH && mode == QSR_EVAL)) {
        qsr_selection plain = *s;
        if (s->rule == QSR_SELECT_BATCH) plain.threshold = NULL;
        select_above(&plain, in, keep);
    } else if (s->rule == QSR_SELECT_ROW) {
        for (size_t r = 0; r < in->rows; r++) select_best(in->pre + r * in->ld, d, s->k, keep + r * d);
    } else if (s->rule == QSR_SELECT_BATCH) {
        float *all = qsr_xcalloc(in->rows * d, sizeof *all);
        for (size_t r = 0; r < in->rows; r++) memcpy(all + r * d, in->pre + r * in->ld, d * sizeof *all);
        select_best(all, in->rows * d, s->k * in->rows, keep);
        free(all);
    } else {
        return qsr_fail(e, QSR_E_INTERNAL, "rule %u does not exist", (unsigned)s->rule);
    }
    return QSR_OK;
}

static qsr_status compare_rule(const qsr_selection *s, const uint8_t *keep, const qsr_check_input *in, const qsr_check_result *result,
                               qsr_error *e)
{
    for (size_t i = 0; i < in->rows * in->d_sae; i++) {
        size_t j = i % in->d_sae;
        float pre = in->pre[i / in->d_sae * in->ld + j], value = s->edge && !(pre > s->threshold[j]) ? 0 : pre;
        if (keep[i] == result->support[i] && (!keep[i] || result->value[i] == value)) continue;
        return qsr_fail(e, QSR_E_INTERNAL, "row %zu, latent %zu (pre %g): the rule says %s, the code has %s%g",
                        i / in->d_sae, i % in->d_sae, pre, !keep[i] ? "absent" : value == pre ? "kept as it is" : "kept with 0",
                        result->support[i] ? "" : "it absent, ", result->value[i]);
    }
    return QSR_OK;
}

/* A training batch must be decided by the rule as it stood before it. */
static qsr_status selector_in_mode(const qsr_check *c, qsr_made *made, const qsr_selector_ops *ops, uint32_t mode,
                                   qsr_error *e)
{
    qsr_selection rule = {0};
    qsr_made_serial(made);
    qsr_status status = qsr_made_finish(made, ops->get(made->instance, mode, &rule), e);
    if (status) return status == QSR_END ? QSR_OK : status;
    if (rule.edge && (rule.rule != QSR_SELECT_ABOVE || !rule.threshold || mode != QSR_TRAIN))
        return qsr_fail(e, QSR_E_INTERNAL, "%s: edges go with QSR_SELECT_ABOVE in training, and with thresholds", mode_names[mode]);
    qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, 5);
    uint8_t *keep = qsr_xcalloc(in.rows, in.d_sae);
    status = apply_rule(&rule, mode, &in, keep, e);
    qsr_check_result result = {0};
    if (!status) status = qsr_check_batch(made, &in, (qsr_check_how){mode, c->one, BLOCK, false}, &result, e);
    if (!status) status = compare_rule(&rule, keep, &in, &result, e);
    if (status) qsr_context(e, "%s", mode_names[mode]);
    free(keep);
    qsr_check_result_free(&result);
    qsr_check_input_free(&in);
    return status;
}

static qsr_status test_selector(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_selector_ops *ops = qsr_made_extension(made, QSR_EXT_SELECTOR);
    qsr_check_result warm = {0};
    if (!ops)
        status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_SELECTOR);
    else
        status = run(c, made, BATCHES, 4, (qsr_check_how){QSR_TRAIN, c->one, BLOCK, false}, &warm, e);
    qsr_check_result_free(&warm);
    for (size_t m = 0; m < 2 && !status; m++) status = selector_in_mode(c, made, ops, modes[m], e);
    qsr_made_free(made);
    return status;
}

/* ---- quasar.state/1: what follows a load is what would have followed without it */

/* A load that throws the record away leaves a fresh instance, which saves something else than one that has trained. */
static qsr_status check_saved_again(const qsr_made *made, const qsr_text *saved, qsr_error *e)
{
    qsr_text again = {0};
    qsr_status status = qsr_state_save(made, &again, e);
    if (!status && (again.length != saved->length || memcmp(again.bytes, saved->bytes, saved->length) != 0))
        status = qsr_fail(e, QSR_E_INTERNAL, "after some batches, what was loaded is not what is saved next");
    qsr_text_free(&again);
    return status;
}

/* Trains, saves, and goes on for one batch in each mode with the bytes loaded into a fresh instance. With `flip` one bit of the
 * record is wrong: then the load may be refused, and if it is not the results need only be sound. */
static qsr_status continue_from(const qsr_check *c, const qsr_text *saved, uint32_t version, size_t flip,
                                const qsr_check_result expected[2], qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    char *bytes = qsr_xcalloc(saved->length, 1);
    memcpy(bytes, saved->bytes, saved->length);
    if (flip < 8 * saved->length) bytes[flip / 8] ^= (char)(1 << flip % 8);
    bool flipped = flip < 8 * saved->length;
    status = qsr_state_load(made, bytes, saved->length, version, flipped ? NULL : e);
    bool refused = status != QSR_OK;
    if (flipped) status = QSR_OK;
    else if (!status) status = check_saved_again(made, saved, e);
    for (size_t m = 0; m < 2 && !status && !refused; m++) {
        qsr_check_result result;
        status = run(c, made, 0, 6, (qsr_check_how){modes[1 - m], c->one, BLOCK, false}, &result, e);
        if (!status && !flipped) status = qsr_check_same(&expected[m], &result, "after a load", e);
        if (status && flipped) qsr_context(e, "after loading a record with bit %zu wrong", flip);
        qsr_check_result_free(&result);
    }
    free(bytes);
    qsr_made_free(made);
    return status;
}

static qsr_status state_of(const qsr_check *c, qsr_made *made, const qsr_state_ops *ops, qsr_error *e)
{
    qsr_check_result warm = {0}, expected[2] = {{0}, {0}};
    qsr_text saved = {0};
    qsr_status status = run(c, made, BATCHES, 4, (qsr_check_how){QSR_TRAIN, c->one, BLOCK, false}, &warm, e);
    if (!status) status = qsr_state_save(made, &saved, e);
    for (size_t m = 0; m < 2 && !status; m++)
        status = run(c, made, 0, 6, (qsr_check_how){modes[1 - m], c->one, BLOCK, false}, &expected[m], e);
    if (!status) status = continue_from(c, &saved, ops->state_version, SIZE_MAX, expected, e);
    for (size_t bit = 0; bit < 8 * saved.length && !status; bit += saved.length / 16 + 1)
        status = continue_from(c, &saved, ops->state_version, bit, expected, e);
    qsr_check_result_free(&warm);
    qsr_check_result_free(&expected[0]);
    qsr_check_result_free(&expected[1]);
    qsr_text_free(&saved);
    return status;
}

static qsr_status test_state(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    status = ops ? state_of(c, made, ops, e) : qsr_fail(e, QSR_END, "no %s", QSR_EXT_STATE);
    qsr_made_free(made);
    return status;
}

/* ---- quasar.export/1 and quasar.metrics/1 */

static qsr_status check_export(const qsr_made *made, const qsr_export_ops *ops, qsr_error *e)
{
    if (ops->tensor && !ops->import) return qsr_fail(e, QSR_E_INTERNAL, "tensor is there but import is not: what is saved could not be loaded");
    const char *word = ops->architecture ? ops->architecture(made->instance) : "none";
    if (!word || !*word) return qsr_fail(e, QSR_E_INTERNAL, "architecture is empty");
    double value;
    uint32_t n = 0;
    for (const char *key; ops->key && n < 64 && (key = ops->key(made->instance, n, &value)); n++)
        if (!*key || !isfinite(value))
            return qsr_fail(e, QSR_E_INTERNAL, "key %u is '%s' with the value %g", (unsigned)n, key, value);
    if (n == 64) return qsr_fail(e, QSR_E_INTERNAL, "key() never returns NULL");
    return QSR_OK;
}

static qsr_status check_tensors(const qsr_check *c, const qsr_made *made, const qsr_export_ops *ops, qsr_error *e)
{
    const float *none = c->plugin->ops; /* any readable memory: nothing of it may be taken */
    if (!ops->tensor) return QSR_OK;
    for (uint32_t i = 0; i < 16; i++) {
        qsr_export_tensor t = {0};
        qsr_status status = qsr_made_finish(made, ops->tensor(made->instance, i, &t), e);
        if (status && status != QSR_END) return status;
        if (status == QSR_END) {
            status = qsr_made_finish(made, ops->import(made->instance, "no_such_tensor", none, 1), e);
            return status == QSR_END ? QSR_OK : qsr_fail(e, QSR_E_INTERNAL, "import takes a tensor of an unknown name");
        }
        if (!t.name || !t.data) return qsr_fail(e, QSR_E_INTERNAL, "tensor %u has no name or no data", (unsigned)i);
        for (size_t j = 0; j < c->shape.d_sae; j++)
            if (!isfinite(t.data[j])) return qsr_fail(e, QSR_E_INTERNAL, "tensor %s is %g at %zu", t.name, t.data[j], j);
        float *copy = qsr_xcalloc(c->shape.d_sae, sizeof *copy);
        memcpy(copy, t.data, c->shape.d_sae * sizeof *copy);
        status = qsr_made_finish(made, ops->import(made->instance, t.name, copy, c->shape.d_sae), e);
        free(copy);
        if (status) return qsr_fail(e, QSR_E_INTERNAL, "import refuses the tensor %s that was exported", t.name);
    }
    return qsr_fail(e, QSR_E_INTERNAL, "tensor() never returns QSR_END");
}

static qsr_status test_export(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_export_ops *ops = qsr_made_extension(made, QSR_EXT_EXPORT);
    qsr_check_result warm = {0};
    if (!ops) status = qsr_fail(e, QSR_END, "no %s: sae/cfg.json will say quasar/%s", QSR_EXT_EXPORT, c->plugin->name);
    if (!status) status = run(c, made, 1, 1, (qsr_check_how){QSR_TRAIN, c->one, BLOCK, false}, &warm, e);
    if (!status) status = check_export(made, ops, e);
    if (!status) status = check_tensors(c, made, ops, e);
    qsr_check_result_free(&warm);
    qsr_made_free(made);
    return status;
}

static qsr_status test_metrics(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_metrics_ops *ops = qsr_made_extension(made, QSR_EXT_METRICS);
    if (!ops)
        status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_METRICS);
    else if (!ops->get && ops->count)
        status = qsr_fail(e, QSR_E_INTERNAL, "get is missing");
    for (uint32_t i = 0; !status && i < ops->count; i++) {
        const char *name = NULL;
        double value = INFINITY;
        ops->get(made->instance, i, &name, &value);
        if (!name || !*name || isinf(value))
            status =
                qsr_fail(e, QSR_E_INTERNAL, "metric %u is '%s' with the value %g", (unsigned)i, name ? name : "", value);
    }
    qsr_made_free(made);
    return status;
}

void qsr_check_activation(const qsr_check *c)
{
    qsr_check_run(c, "manners", test_manners);
    qsr_check_run(c, "extreme values", test_extremes);
    qsr_check_run(c, "same bytes twice", test_same_twice);
    qsr_check_run(c, "forward changes nothing", test_same_instance);
    qsr_check_run(c, "1 and 4 threads", test_threads);
    qsr_check_run(c, "blocks", test_blocks);
    qsr_check_run(c, "early prune", test_early_prune);
    qsr_check_run(c, "rows", test_rows);
    qsr_check_activation_gradient(c);
    qsr_check_run(c, "selector", test_selector);
    qsr_check_run(c, "state", test_state);
    qsr_check_run(c, "export", test_export);
    qsr_check_run(c, "metrics", test_metrics);
}

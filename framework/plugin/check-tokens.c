/* plugin/check-tokens: a dataset's "quasar.tokens/1" promises that what a row stands for is a pure function of its unit, and so is the
 * mask. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "plugin/check-parts.h"

/* What is asked about. */
typedef struct {
    qsr_dataset_info info;
    uint64_t units[QSR_CHECK_UNITS];
    size_t n;
} asking;

typedef struct {
    int64_t *token;
    uint64_t *document;
    uint8_t *keep;
} token_rows;

static void free_tokens(token_rows *t)
{
    free(t->token);
    free(t->document);
    free(t->keep);
}

/* Either array may be NULL, which changes nothing in the other. */
static qsr_status check_halves(const qsr_made *made, const uint64_t *units, size_t n, size_t rows, const int64_t *token,
                               const uint64_t *document, qsr_error *e)
{
    const qsr_tokens_ops *ops = qsr_made_extension(made, QSR_EXT_TOKENS);
    int64_t *tokens = qsr_xcalloc(n * rows, sizeof *tokens);
    uint64_t *documents = qsr_xcalloc(n * rows, sizeof *documents);
    qsr_status status = qsr_made_finish(made, ops->tokens(made->instance, units, n, tokens, NULL), NULL);
    if (!status) status = qsr_made_finish(made, ops->tokens(made->instance, units, n, NULL, documents), NULL);
    if (status)
        status = qsr_fail(e, QSR_E_INTERNAL, "tokens fails where one of its two arrays is NULL");
    else if (memcmp(token, tokens, n * rows * sizeof *tokens) != 0 ||
             memcmp(document, documents, n * rows * sizeof *documents) != 0)
        status = qsr_fail(e, QSR_E_INTERNAL, "tokens answers otherwise where one of its two arrays is NULL");
    free(tokens);
    free(documents);
    return status;
}

/* All of `units`, `group` at a time; *ret_has: which of tokens and mask this instance has (bits 0 and 1). */
static qsr_status ask_tokens(const qsr_made *made, const asking *r, size_t group, token_rows *to, unsigned *ret_has,
                             qsr_error *e)
{
    const qsr_tokens_ops *ops = qsr_made_extension(made, QSR_EXT_TOKENS);
    const size_t rows = r->info.rows_per_unit;
    *ret_has = 0;
    for (size_t i = 0; i < r->n; i += group) {
        const size_t n = qsr_min_size(group, r->n - i);
        int64_t *token = qsr_guard_new(n * rows, sizeof *token);
        uint64_t *document = qsr_guard_new(n * rows, sizeof *document);
        uint8_t *keep = qsr_guard_new(n * rows, 1);
        memset(keep, 7, n * rows);
        qsr_status status, masked = QSR_END;
        status = qsr_made_finish(made, ops->tokens(made->instance, r->units + i, n, token, document), e);
        if (status == QSR_E_UNSUPPORTED) status = QSR_END;
        if (ops->mask && (status == QSR_OK || status == QSR_END))
            masked = qsr_made_finish(made, ops->mask(made->instance, r->units + i, n, keep), e);
        if (status == QSR_OK && (status = check_halves(made, r->units + i, n, rows, token, document, e)) == QSR_OK) {
            memcpy(to->token + i * rows, token, n * rows * sizeof *token);
            memcpy(to->document + i * rows, document, n * rows * sizeof *document);
        }
        for (size_t k = 0; masked == QSR_OK && k < n * rows; k++)
            if (keep[k] > 1) masked = qsr_fail(e, QSR_E_INTERNAL, "mask answers %d for a row: 0 or 1", keep[k]);
        if (masked == QSR_OK) memcpy(to->keep + i * rows, keep, n * rows);
        const unsigned has = (status == QSR_OK) | (unsigned)(masked == QSR_OK) << 1;
        const bool tidy = qsr_guard_free(token) & qsr_guard_free(document) & qsr_guard_free(keep);
        if (status < 0 || masked < 0) return status < 0 ? status : masked;
        if (!tidy) return qsr_fail(e, QSR_E_INTERNAL, "tokens or mask wrote outside of their rows");
        if (i && has != *ret_has) return qsr_fail(e, QSR_E_INTERNAL, "tokens or mask are there for some units only");
        *ret_has = has;
    }
    return QSR_OK;
}

/* Units ascend, so documents may not fall. */
static qsr_status check_documents(const uint64_t *document, size_t n, qsr_error *e)
{
    for (size_t i = 1; i < n; i++)
        if (document[i] < document[i - 1])
            return qsr_fail(e, QSR_E_INTERNAL, "document %llu comes after document %llu", (unsigned long long)document[i],
                            (unsigned long long)document[i - 1]);
    return QSR_OK;
}

static qsr_status check_texts(const qsr_made *made, const int64_t *token, size_t n, qsr_error *e)
{
    const qsr_tokens_ops *ops = qsr_made_extension(made, QSR_EXT_TOKENS);
    size_t bytes = 0, again = 0;
    for (size_t i = 0; i < n && ops->text; i++) {
        const char *text = ops->text(made->instance, token[i], &bytes),
                   *twice = ops->text(made->instance, token[i], &again);
        if (!text != !twice || (text && (bytes != again || memcmp(text, twice, bytes) != 0)))
            return qsr_fail(e, QSR_E_INTERNAL, "token %lld has another text the second time", (long long)token[i]);
    }
    if (ops->text && ops->text(made->instance, -1, &bytes)) return qsr_fail(e, QSR_E_INTERNAL, "token -1 has a text");
    return QSR_OK;
}

/* Token by token alone, then all at once on a fresh instance. */
static qsr_status compare_tokens(const qsr_check *c, const asking *r, qsr_error *e)
{
    const size_t n = r->n * r->info.rows_per_unit;
    token_rows got[2];
    unsigned has[2] = {0, 0};
    qsr_status status = QSR_OK;
    for (size_t k = 0; k < 2; k++) {
        qsr_made *made = NULL;
        got[k] = (token_rows){qsr_xcalloc(n, sizeof(int64_t)), qsr_xcalloc(n, sizeof(uint64_t)), qsr_xcalloc(n, 1)};
        if (!status) status = qsr_check_make(c, k ? c->four : c->one, &made, e);
        if (!status) status = ask_tokens(made, r, k ? r->n : 1, &got[k], &has[k], e);
        if (!status && has[k] & 1) status = check_documents(got[k].document, n, e);
        if (!status && has[k] & 1) status = check_texts(made, got[k].token, n, e);
        qsr_made_free(made);
    }
    if (!status && (has[0] != has[1] || memcmp(got[0].token, got[1].token, n * sizeof(int64_t)) ||
                    memcmp(got[0].document, got[1].document, n * sizeof(uint64_t)) || memcmp(got[0].keep, got[1].keep, n)))
        status = qsr_fail(e, QSR_E_INTERNAL, "tokens or mask answer otherwise alone than in company");
    for (size_t k = 0; k < 2; k++) free_tokens(&got[k]);
    if (!status && !has[0]) status = qsr_fail(e, QSR_END, "this instance has no tokens");
    return status;
}

/* The question whether there is a mask at all, asked of no units, has the answer that units get. */
static qsr_status test_tokens(const qsr_check *c, qsr_error *e)
{
    if (!c->plugin->extension || !c->plugin->extension(QSR_EXT_TOKENS))
        return qsr_fail(e, QSR_END, "no %s", QSR_EXT_TOKENS);
    asking r = {0};
    qsr_made *made = NULL;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (!status) status = qsr_check_describe(made, &r.info, e);
    if (!status) r.n = qsr_check_units(c, &r.info, r.units);
    const qsr_tokens_ops *ops = made ? qsr_made_extension(made, QSR_EXT_TOKENS) : NULL;
    if (!status && ops->mask) {
        uint8_t keep[1];
        const qsr_status none = qsr_made_finish(made, ops->mask(made->instance, r.units, 0, keep), e);
        uint8_t *one = qsr_xcalloc(r.info.rows_per_unit, 1);
        const qsr_status some = none < 0 ? none : qsr_made_finish(made, ops->mask(made->instance, r.units, 1, one), e);
        free(one);
        if (some < 0)
            status = some;
        else if (some != none)
            status = qsr_fail(e, QSR_E_INTERNAL, "mask says for 0 units %d and for one %d", none, some);
    }
    qsr_made_free(made);
    if (!status) status = compare_tokens(c, &r, e);
    return status;
}

void qsr_check_tokens(const qsr_check *c) { qsr_check_run(c, "tokens", test_tokens); }

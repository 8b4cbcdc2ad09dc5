/* spec/option: what a row of an option table does: typed values from text, defaults through the same parser, canonical text,
 * help, and the lint that `quasar check` runs. Plugins' tables and the experiment's own (spec/experiment.h) alike. */
#ifndef QSR_SPEC_OPTION_H
#define QSR_SPEC_OPTION_H
#include "base/arena.h"
#include "base/text.h"
#include "quasar/plugin.h"

/* Rows, walked with the stride of whoever compiled them. */
typedef struct {
    const qsr_option *rows;
    size_t count, stride;
} qsr_option_table;

qsr_option_table qsr_plugin_options(const qsr_plugin *);
const qsr_option *qsr_option_at(const qsr_option_table *, size_t index);
/* By name or alias; NULL: none. ret_index may be NULL. */
const qsr_option *qsr_option_find(const qsr_option_table *, const char *name, size_t *ret_index);

/* Reads a value into its field of `values`. `texts` holds one text, or any number for STRINGS. Relative paths are taken from
 * `folder` (NULL: left alone). Strings go to the arena. The error text names value and limit but not the option, which the
 * caller knows better; *ret_hint (may be NULL) is set on failure only, to a suggestion or NULL. */
qsr_status qsr_option_store(const qsr_option *, const char *const *texts, size_t n, const char *folder, qsr_arena *,
                            void *values, const char **ret_hint, qsr_error *);
/* Its default, by way of the same parser; OPTIONAL: zero, NULL or an empty list. */
qsr_status qsr_option_default(const qsr_option *, qsr_arena *, void *values, qsr_error *);
/* A number as a REAL, INT or UINT option holds it; 0 for others. qsr_option_set_real rounds for integers. */
double qsr_option_real(const qsr_option *, const void *values);
void qsr_option_set_real(const qsr_option *, void *values, double value);

/* The field as text that reads back to the same value: one for each item (ret_texts in the arena). Returns how many; an unset
 * OPTIONAL STRING has none. No YAML quoting. */
size_t qsr_option_texts(const qsr_option *, const void *values, qsr_arena *, const char *const **ret_texts);

/* "integer", "path or list of paths", for help; "an integer", for messages. */
const char *qsr_option_type_text(const qsr_option *);
const char *qsr_option_expects(const qsr_option *);
/* Name, type, unit, default, range, choices, help and citation of every row, wrapped to `columns` (80 to 100 read well). */
void qsr_options_help(const qsr_option_table *, size_t columns, qsr_text *out);
/* Everything wrong with a table, one line each, appended to `out`; returns how many. `reserved` (NULL-ended, or NULL): names that
 * the host reads in the same block. */
size_t qsr_options_lint(const qsr_option_table *, size_t options_size, const char *const *reserved, qsr_text *out);
/* The same for a plugin, whose kind decides the reserved names. */
size_t qsr_plugin_lint_options(const qsr_plugin *, qsr_text *out);
#endif

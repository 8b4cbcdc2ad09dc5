/* plugin/check: the conformance suite behind `quasar check`, shared by our tests and by authors of outside plugins.
 * Each promise of quasar/plugin.h that can be tested is one line of a report. */
#ifndef QSR_PLUGIN_CHECK_H
#define QSR_PLUGIN_CHECK_H
#include "base/arena.h"
#include "plugin/registry.h"

typedef enum {
    QSR_CHECK_OK,
    QSR_CHECK_FAIL,
    QSR_CHECK_NOT_TESTED, /* could not be tested although it should be: counts as a failure */
    QSR_CHECK_NOTE        /* not applicable, or not testable by nature; the detail says why. Does not count */
} qsr_check_verdict;

typedef struct {
    const char *plugin; /* "activation/topk" */
    const char *name;   /* "rows", "gradient of value" */
    qsr_check_verdict verdict;
    const char *detail; /* what was seen; "" when there is nothing to add */
} qsr_check_line;

typedef struct {
    qsr_check_line *lines;
    size_t count, capacity;
    size_t failures; /* lines with FAIL or NOT_TESTED */
    qsr_arena arena;
    struct qsr_check_running *running; /* kept up to date where given: what is being checked, should the plugin crash */
} qsr_check_report; /* {0} is an empty one; add any number of plugins to it */

typedef struct qsr_check_running {
    char plugin[160], name[64];
} qsr_check_running;

const char *qsr_check_verdict_name(qsr_check_verdict); /* "ok", "FAIL", "not tested", "note" */

/* Runs every check on one plugin. `settings` are options as "key=value", for those that the plugin requires and that no
 * default or range suggests (paths). An error (bad settings) means that nothing could be tested; failures of the plugin are
 * lines of the report. */
qsr_status qsr_check_plugin(const qsr_found *, const char *const *settings, size_t n_settings, qsr_check_report *,
                            qsr_error *e);
/* The same for all plugins of a file, which is loaded first; a refused file is an error. */
qsr_status qsr_check_file(const char *path, const char *const *settings, size_t n_settings, qsr_check_report *,
                          qsr_error *e);
void qsr_check_report_free(qsr_check_report *);
#endif

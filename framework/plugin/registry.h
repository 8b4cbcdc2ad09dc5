/* plugin/registry: names to plugins, through the folders that may hold them.
 *
 * Folders in order: those given (--plugin-dir), QUASAR_PLUGIN_PATH (separated by colons), the built-in one (of the build tree
 * when the program runs from there). Each holds activations/, losses/ and datasets/; there NAME.so is looked for, then
 * .libs/NAME.so, then any other file of that folder that holds a plugin of that name. The first match wins. A name is never a
 * path. */
#ifndef QSR_PLUGIN_REGISTRY_H
#define QSR_PLUGIN_REGISTRY_H
#include "base/error.h"
#include "spec/spec.h"

typedef struct {
    const qsr_plugin *plugin;
    const char *path; /* real path of the file */
} qsr_found;

typedef struct qsr_registry qsr_registry;

qsr_registry *qsr_registry_create(const char *const *plugin_dirs); /* NULL-ended, or NULL */
void qsr_registry_free(qsr_registry *);                            /* plugins that it found stay usable; qsr_found do not */

/* NULL with e->code == QSR_OK: no such plugin, *ret_near is a name to suggest or NULL. NULL with e set: a file of that name
 * was refused. ret_near may be NULL. The qsr_found lives as long as the registry. Serial. */
const qsr_found *qsr_registry_find(qsr_registry *, uint32_t kind, const char *name, const char **ret_near, qsr_error *e);
/* "KIND/NAME" ("activation/topk") or "NAME" where one kind alone has it; not finding it is an error here, which names the
 * folders and a near miss. */
const qsr_found *qsr_registry_resolve(qsr_registry *, const char *text, qsr_error *e);
/* All plugins of a kind by name; those that a folder before theirs shadows are left out. Returns the count. */
size_t qsr_registry_list(qsr_registry *, uint32_t kind, const qsr_found *const **ret_sorted_by_name);
const char *const *qsr_registry_folders(const qsr_registry *); /* NULL-ended, in order of search */
const char *const *qsr_registry_refusals(qsr_registry *);      /* NULL-ended; texts about files refused so far */
bool qsr_runs_from_build_tree(void); /* this program lies in the tree it was built in, so nothing need be installed */
qsr_spec_env qsr_registry_env(qsr_registry *); /* for qsr_spec_load; extends_folders are left NULL */
#endif

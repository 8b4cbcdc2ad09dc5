/* plugin/extension: the optional interfaces of plugins that this host knows, asked for once per instance. */
#ifndef QSR_PLUGIN_EXTENSION_H
#define QSR_PLUGIN_EXTENSION_H
#include "base/error.h"
#include "quasar/plugin.h"

typedef struct qsr_extensions qsr_extensions;

/* Asks the plugin for every known extension and widens its tables to this host's structs. QSR_E_INPUT when a table lacks a
 * method without which it means nothing: *ret is then NULL. */
qsr_status qsr_extensions_ask(const qsr_plugin *, qsr_extensions **ret, qsr_error *e);
void qsr_extensions_free(qsr_extensions *);
/* The table for one of the QSR_EXT_* ids; NULL: not offered. Thread-safe. */
const void *qsr_extensions_find(const qsr_extensions *, const char *id);
/* Known ids, counted up until NULL. */
const char *qsr_extension_id(size_t index);
#endif

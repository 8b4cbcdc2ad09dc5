/* plugin/loader: one file to the descriptors in it, checked before any other code of the plugin runs.
 *
 * This room turns shared objects into plugins and plugins into instances, and tests that both keep the promises of
 * quasar/plugin.h. May import: quasar/plugin.h, base/, math/, and of spec/ the option tables (this holds for the whole room).
 *
 * Files are never unloaded (nothing can safely unpick what a plugin has handed out, and sanitizers lose their symbols), so a
 * module lives as long as the program and may be shared by several registries. */
#ifndef QSR_PLUGIN_LOADER_H
#define QSR_PLUGIN_LOADER_H
#include "base/error.h"

/* The plugins of one file. Structs of an older minor version are widened: descriptors, ops tables and option rows have the
 * sizes of this host, with zeroes where the plugin had nothing. */
typedef struct {
    const char *path; /* real path */
    const qsr_plugin *const *plugins;
    size_t count;
} qsr_module;

/* Loads a file, or finds it loaded already (the same inode is the same file, whatever its name). A refusal is QSR_E_INPUT:
 * one line that names the path, every field that differs, and how to rebuild. Thread-safe. */
qsr_status qsr_module_load(const char *path, const qsr_module **ret, qsr_error *e);

const char *qsr_kind_name(uint32_t kind);   /* "activation", "loss", "dataset"; "plugin" for anything else */
const char *qsr_kind_folder(uint32_t kind); /* "activations", "losses", "datasets"; NULL for anything else */
bool qsr_plugin_name_ok(const char *name);  /* [a-z][a-z0-9_]*, at most 63 characters */
#endif

/* plugin/descriptor: what a file says about one plugin, checked and widened to the structs of this host. */
#ifndef QSR_PLUGIN_DESCRIPTOR_H
#define QSR_PLUGIN_DESCRIPTOR_H
#include "base/arena.h"
#include "base/error.h"

/* Checks the frozen block before it reads another field, then the rest; the copy it makes lives in the arena. Errors are
 * QSR_E_INPUT without the file's path, which the caller knows. Runs no code of the plugin. */
qsr_status qsr_descriptor_read(qsr_arena *, const qsr_plugin *theirs, const qsr_plugin **ret, qsr_error *e);

/* theirs, a struct that starts with its uint32_t size, as one of `size` bytes: itself when it is that long, else a copy in
 * the arena with zeroes where it ends early. */
const void *qsr_widen(qsr_arena *, const void *theirs, size_t size);
#endif

/* lab/index: an archive as a SQLite file, for questions that tables do not answer; the only includer of sqlite3.h.
 * docs/ARCHITECTURE.md has the schema. The run folders stay the truth: an index is written anew, whole or not at all, and can be
 * deleted at any time. */
#ifndef QSR_LAB_INDEX_H
#define QSR_LAB_INDEX_H
#include "lab/archive.h"

enum { QSR_INDEX_VERSION = 1 /* PRAGMA user_version */ };

qsr_status qsr_index_write(const qsr_archive *, const char *path, qsr_error *e);
#endif

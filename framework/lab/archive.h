/* lab/archive: the run folders below a folder, read back without trust: what the index, tables, comparisons and exports rest on.
 * A run folder is one that holds manifest.json, result.json or spec.yaml; folders inside it, links and names that begin with a
 * dot are not looked into. Nothing on disk is changed. */
#ifndef QSR_LAB_ARCHIVE_H
#define QSR_LAB_ARCHIVE_H
#include "base/arena.h"
#include "base/error.h"

typedef enum {
    QSR_RECORD_COMPLETED,
    QSR_RECORD_FAILED,     /* result.json says so */
    QSR_RECORD_UNFINISHED, /* no result.json: running or interrupted */
    QSR_RECORD_BROKEN      /* a file is missing or cannot be understood */
} qsr_record_state;

/* "activation.k", "16". Lists are "[a, b]". Each loss has one row more, "losses.<instance>": "on". In the order of spec.yaml. */
typedef struct {
    const char *key, *text;
} qsr_parameter;

/* A number of result.json: those of `metrics` under their own name, those of `train` as "trained.<name>"; of stability.json, where
 * there is one (report/stability.h), as "stability.<name>". Never NaN or infinite. */
typedef struct {
    const char *name;
    double value;
} qsr_measure;

typedef struct {
    const char *name;                    /* "activation/topk" */
    const char *version, *file, *digest; /* or NULL */
} qsr_record_plugin;

typedef struct {
    const char *folder; /* below the archive's folder, "." for that itself */
    const char *path;   /* the archive's folder joined with it */
    const char *cell;   /* the identity; the folder's name when no file tells it */
    const char *name;   /* of the spec, or NULL */
    qsr_record_state state;
    const char *reason;                            /* of a failure; what is wrong with a broken one; else NULL */
    const char *quasar, *git, *started, *finished; /* of manifest.json, or NULL */
    const qsr_parameter *parameters;
    size_t n_parameters;
    const qsr_measure *measures;
    size_t n_measures;
    const qsr_record_plugin *plugins;
    size_t n_plugins;
} qsr_record;

typedef struct {
    const char *folder;
    qsr_record *records; /* by folder */
    size_t count;
    qsr_arena arena; /* of all texts */
} qsr_archive;

const char *qsr_record_state_name(qsr_record_state); /* "completed", "failed", "unfinished", "broken" */

/* Reads all of them; a broken one is logged as a warning and listed with what could be read. QSR_E_INPUT when `folder` is none, or
 * holds no run folder. */
qsr_status qsr_archive_read(const char *folder, qsr_archive *ret, qsr_error *e);
void qsr_archive_free(qsr_archive *);
#endif

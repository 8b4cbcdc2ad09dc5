/* base/fs: files that appear whole or not at all, maps, paths, digests. */
#ifndef QSR_BASE_FS_H
#define QSR_BASE_FS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

/* A file mapped read-only. `bytes` is NULL when size is 0. */
typedef struct {
    const unsigned char *bytes;
    size_t size;
} qsr_map;

qsr_status qsr_map_open(const char *path, qsr_map *ret, qsr_error *e); /* directories and missing files: QSR_E_INPUT */
void qsr_map_close(qsr_map *);

/* Whole small text files; refuses more than `limit` bytes. The text is NUL-terminated in the arena. */
qsr_status qsr_read_file(qsr_arena *, const char *path, size_t limit, char **ret_text, size_t *ret_size, qsr_error *e);

/* A file read in pieces, from its begin to its end. */
typedef struct {
    int fd;
    char *path;
    size_t size; /* when it was opened */
} qsr_reader;
qsr_status qsr_reader_open(qsr_reader *, const char *path, qsr_error *e); /* directories and missing files: QSR_E_INPUT */
/* *ret_n bytes, n unless the file ends; 0: it has ended. */
qsr_status qsr_reader_get(qsr_reader *, void *bytes, size_t n, size_t *ret_n, qsr_error *e);
void qsr_reader_close(qsr_reader *); /* accepts one that was never opened ({.fd = -1}) */

/* Writes aside ("<path>.tmp-<pid>"), syncs, renames, syncs the folder. On failure nothing is left at `path`'s side. */
qsr_status qsr_write_file(const char *path, const void *bytes, size_t n, qsr_error *e);
/* The same in pieces: open, write any number of times, then commit or abort. */
typedef struct {
    int fd;
    char *path, *aside;
} qsr_writer;
qsr_status qsr_writer_open(qsr_writer *, const char *path, qsr_error *e);
qsr_status qsr_writer_put(qsr_writer *, const void *bytes, size_t n, qsr_error *e);
/* Puts what has gathered in a text and empties it, once there are `from` bytes of it. */
qsr_status qsr_writer_drain(qsr_writer *, qsr_text *, size_t from, qsr_error *e);
/* Overwrites what was put at `offset`: a header that counts what follows. */
qsr_status qsr_writer_patch(qsr_writer *, size_t offset, const void *bytes, size_t n, qsr_error *e);
qsr_status qsr_writer_commit(qsr_writer *, qsr_error *e);
void qsr_writer_abort(qsr_writer *); /* accepts one that was never opened ({.fd = -1}) or already committed */

/* For files that another library wrote aside: syncs `aside`, renames it over `path`, syncs the folder. */
qsr_status qsr_replace_file(const char *aside, const char *path, qsr_error *e);

qsr_status qsr_mkdirs(const char *path, qsr_error *e); /* like mkdir -p */
/* Renames a folder into place, replacing an older one, and syncs the parent. */
qsr_status qsr_replace_folder(const char *aside, const char *path, qsr_error *e);
qsr_status qsr_remove_tree(const char *path, qsr_error *e); /* a path that does not exist is fine */
bool qsr_exists(const char *path);
bool qsr_is_folder(const char *path);

const char *qsr_path_base(const char *path);                                    /* after the last '/' */
char *qsr_path_folder(qsr_arena *, const char *path);                           /* "." when there is none */
char *qsr_path_join(qsr_arena *, const char *folder, const char *path);         /* absolute paths stay themselves */
char *qsr_path_absolute(qsr_arena *, const char *path);

/* XXH3-128 (xxHash) as 32 hexadecimal digits, for identities and for noticing change, not against malice. */
typedef struct {
    char hex[33];
} qsr_digest;
qsr_digest qsr_digest_bytes(const void *bytes, size_t n);
qsr_status qsr_digest_file(const char *path, qsr_digest *ret, qsr_error *e); /* in pieces: a file may be larger than memory */
/* 64-bit checksum for records. */
uint64_t qsr_checksum(const void *bytes, size_t n);
#endif

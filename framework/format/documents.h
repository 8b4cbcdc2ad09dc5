/* format/documents: the documents of a text file, one after the other, in pieces.
 *
 * x.txt is one document, as its bytes are. x.jsonl has one object in each line, whose "text" is a document; blank lines are skipped.
 * Either may end in .gz or .zst besides. Memory: a piece, or for .jsonl the longest line. */
#ifndef QSR_FORMAT_DOCUMENTS_H
#define QSR_FORMAT_DOCUMENTS_H
#include "base/error.h"

typedef struct qsr_documents qsr_documents;

/* QSR_E_INPUT: it cannot be read, or its name says nothing of the above. */
qsr_status qsr_documents_open(const char *path, qsr_documents **ret, qsr_error *e);
void qsr_documents_close(qsr_documents *); /* NULL is fine */
/* Begins the next document, whatever is left of the one before; QSR_END: there is none. "x.jsonl:12: ..." where a line is wrong. */
qsr_status qsr_documents_next(qsr_documents *, qsr_error *e);
/* The next piece of the document, valid until the next call; *ret_n = 0: it has ended. */
qsr_status qsr_documents_read(qsr_documents *, const char **ret_bytes, size_t *ret_n, qsr_error *e);
/* Bytes of the file read so far, as they are on the disk, of how many. */
void qsr_documents_position(const qsr_documents *, size_t *ret_read, size_t *ret_size);
/* "text" or "jsonl", NULL where the name says neither. */
const char *qsr_documents_kind(const char *path);
#endif

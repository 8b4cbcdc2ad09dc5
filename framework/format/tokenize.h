/* format/tokenize: text files into token ids: each document preceded by the id that ends texts, in constant memory. */
#ifndef QSR_FORMAT_TOKENIZE_H
#define QSR_FORMAT_TOKENIZE_H
#include "format/tokenizer.h"

typedef struct {
    const char *path;                  /* of the file at hand */
    size_t read, size;                 /* bytes of all files, as they are on the disk, read so far, of how many */
    uint64_t documents, tokens, bytes; /* made so far; bytes of text, decompressed */
} qsr_tokenize_state;

/* Where ids go, and who is told how far it is, some hundred times in a second at most. Another status than QSR_OK ends the work and is
 * what qsr_tokenize returns. */
typedef struct {
    void *arg;
    qsr_status (*ids)(void *arg, const uint32_t *ids, size_t n, qsr_error *e);
    qsr_status (*at)(void *arg, const qsr_tokenize_state *, qsr_error *e); /* NULL: nobody */
} qsr_tokenize_sink;

/* Files in this order. Errors name the file. */
qsr_status qsr_tokenize(qsr_tokenizer *, const qsr_strings *paths, const qsr_tokenize_sink *, qsr_tokenize_state *ret,
                        qsr_error *e);
#endif

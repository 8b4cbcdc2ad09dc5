/* exchange/write: an SAE written in the format of another tool, as a folder that appears whole or not at all. */
#ifndef QSR_EXCHANGE_WRITE_H
#define QSR_EXCHANGE_WRITE_H
#include "exchange/pretrained.h"

typedef enum { QSR_TO_SAELENS, QSR_TO_SPARSIFY } qsr_export_format;

/* "saelens", "sparsify"; QSR_E_INPUT for another word. */
qsr_status qsr_export_format_parse(const char *word, qsr_export_format *ret, qsr_error *e);
/* `extra` (an object or NULL; borrowed) is put into cfg.json where there is a place for it. A folder with other things in it than an
 * earlier export is refused, and so is what the format cannot say. */
qsr_status qsr_pretrained_write(const qsr_pretrained *, qsr_export_format, const char *folder, json_t *extra, qsr_error *e);

/* For the writers: a tensor in the type it was read from, in a block of its own that the caller frees with qsr_block_free. */
qsr_status qsr_outgoing(const qsr_taken *, const char *name, size_t rank, size_t n0, size_t n1, bool transposed, qsr_tensor *ret,
                        qsr_error *e);
#endif

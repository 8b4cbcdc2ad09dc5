/* exchange/formats: the readers behind qsr_pretrained_open, one file each. The description is zeroed but for path and file names. */
#ifndef QSR_EXCHANGE_FORMATS_H
#define QSR_EXCHANGE_FORMATS_H
#include "exchange/pretrained.h"

/* Each wants p->weights_path set; those with a cfg.json want p->cfg_path and p->cfg, an object. */
qsr_status qsr_saelens_read(qsr_pretrained *p, qsr_error *e);  /* SAELens 3 to 6 and Quasar's own */
qsr_status qsr_sparsify_read(qsr_pretrained *p, qsr_error *e);
qsr_status qsr_gemma_read(qsr_pretrained *p, qsr_error *e);    /* Gemma Scope, or bare tensors of those names */

/* Whether the keys of a cfg.json are those of sparsify. */
bool qsr_sparsify_is(const json_t *cfg);
/* QSR_E_INPUT with what to do instead when the file is a pickle or holds one; else QSR_OK. A missing file is fine. */
qsr_status qsr_pickle_refuse(const char *path, qsr_error *e);

/* The writers: `folder` is filled, not replaced. `extra` goes into the metadata of cfg.json where the format has such a place; borrowed.
 * What the format has no words for is QSR_E_UNSUPPORTED before anything is written. Tensors keep the bytes they were read from (F64
 * becomes F32). */
qsr_status qsr_saelens_write(const qsr_pretrained *p, const char *folder, json_t *extra, qsr_error *e);
qsr_status qsr_sparsify_write(const qsr_pretrained *p, const char *folder, qsr_error *e);

/* Values of a cfg.json, with the path of the file in errors. Absent or null: *ret is left alone. */
qsr_status qsr_cfg_count(const qsr_pretrained *p, const json_t *object, const char *key, size_t *ret, qsr_error *e);
qsr_status qsr_cfg_flag(const qsr_pretrained *p, const json_t *object, const char *key, bool *ret, qsr_error *e);
qsr_status qsr_cfg_word(qsr_pretrained *p, const json_t *object, const char *key, const char **ret, qsr_error *e);
#endif

/* gpt2/splice: the model's loss with hidden states replaced, several variants on one clean pass ("quasar.splice/1"). */
#ifndef GPT2_SPLICE_H
#define GPT2_SPLICE_H
#include "pass.h"

/* `tap_place` gives the place of each of splice->tap; ids[n][context]. The model must be whole. */
qsr_status gpt2_splice_run(const gpt2_plan *, const size_t *tap_place, size_t n_taps, const int64_t *ids, size_t n,
                           const qsr_splice *);
size_t gpt2_splice_bytes(const gpt2_plan *, size_t n_taps);
#endif

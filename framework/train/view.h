/* train/view: the host's side of qsr_view, through which a loss looks at a block from elsewhere. */
#ifndef QSR_TRAIN_VIEW_H
#define QSR_TRAIN_VIEW_H
#include "train/block.h"
#include "train/outlook.h"

typedef struct {
    const qsr_sae *sae;
    qsr_block_work *block;
    size_t number;              /* of the block in its batch */
    bool pre_is_fresh;          /* block->lane->encoder.pre still holds this block's pre-activations; otherwise, … */
    const qsr_outlook *outlook; /* … what was kept of them for the loss, or NULL; the rest is computed again */
    qsr_error error;            /* of the last call that failed */
} qsr_view_work;

qsr_view qsr_view_make(qsr_view_work *);
#endif

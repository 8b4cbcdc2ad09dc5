/* exchange/rule: the activations that the formats know, for evaluation alone. They are the host's own because a file says "topk, 32" and
 * not which plugin made it; each does what the plugin of that rule does in evaluation, to the bit. */
#ifndef QSR_EXCHANGE_RULE_H
#define QSR_EXCHANGE_RULE_H
#include "exchange/pretrained.h"

/* What the instance is made from; read by create alone, which copies the vectors ([d_sae]; NULL: zeros). */
typedef struct {
    qsr_rule rule;
    size_t k;
    const float *threshold, *b_gate, *b_mag, *r_mag;
} qsr_rule_options;

extern const qsr_plugin qsr_rule_plugin; /* an activation whose options are a qsr_rule_options */
#endif

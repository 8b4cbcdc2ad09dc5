/* gpt2/head: what the model's last states say about the next token, without ever holding more logits than one piece of the
 * vocabulary for the rows of a pass. */
#ifndef GPT2_HEAD_H
#define GPT2_HEAD_H
#include "pass.h"

enum { GPT2_LOGITS = 512 }; /* tokens of the vocabulary per product */

/* logits[rows][GPT2_LOGITS]: those of tokens begin .. begin + n - 1 in the first n columns, from state[rows][d] = ln_f(x). */
void gpt2_head_piece(const gpt2_pass *, const float *state, size_t begin, size_t n, float *logits);

/* What is known of the rows of one state so far. */
typedef struct {
    gpt2_soft *own;   /* [rows] */
    gpt2_soft *clean; /* [rows] the first state's softmax, set apart from this one */
    float *target;    /* [rows] logit of the next token */
} gpt2_judged;

/* Memory for judging up to `most` states, from the host's scratch: gpt2_judge_bytes. */
typedef struct {
    const gpt2_pass *pass;
    size_t most;
    gpt2_judged *judged; /* [most] */
    float *logits[2];    /* of the first state, of another: [rows][GPT2_LOGITS] */
} gpt2_judge;
qsr_status gpt2_judge_begin(const gpt2_pass *, size_t most, gpt2_judge *ret);
size_t gpt2_judge_bytes(const gpt2_plan *, size_t most);

/* n >= 1 states[rows][d] after ln_f, for the contexts ids[contexts][context]. loss[k][contexts][context] = -log p(next token),
 * kl[k] = KL(states[0] || states[k]), NaN where a context has no next token; a NULL is not wanted, as kl[0] never is. */
void gpt2_judge_states(gpt2_judge *, float *const *states, size_t n, const int64_t *ids, double *const *loss,
                       double *const *kl);
#endif

/* eval/latents: what each latent did on the evaluated rows, and where it did most of it; the table of it is latents.csv:
 *
 *     latent
 *     frequency               rows on which f != 0 / rows evaluated
 *     mean_activation         mean of f over the rows on which f != 0; empty for a latent that was silent
 *     max_activation          largest f; empty likewise
 *     decoder_norm            ||W_dec,j||
 *     nearest_latent          the other latent whose decoder row has the largest |cos| with this one's, the smaller on a tie
 *     nearest_cosine          that cosine, with its sign
 *     encoder_decoder_cosine  cos(W_enc,j, W_dec,j); 0 where one of them is 0
 *
 * Activations are those of the code, in the space that the SAE encodes in. Numbers are the shortest text that reads back to the same
 * float32. */
#ifndef QSR_EVAL_LATENTS_H
#define QSR_EVAL_LATENTS_H
#include "eval/coherence.h"
#include "model/params.h"

/* A row of the data by its place: a unit, and the index within that unit as the dataset counts it. */
typedef struct {
    uint64_t unit;
    uint32_t row;
} qsr_place;

typedef struct {
    uint64_t unit;
    uint32_t row;
    float value;
} qsr_top_row;

typedef struct {
    uint64_t fired;
    double sum;    /* of f over those rows */
    float largest; /* -INFINITY: silent */
} qsr_latent_sums;

typedef struct qsr_latents qsr_latents;

/* top: rows kept for each latent, those with the largest f; at most one of a unit, since neighbouring rows share their text. Of
 * equal ones the earlier stay. Holds 32 + 16 top bytes per latent. */
qsr_status qsr_latents_create(size_t d_sae, size_t top, qsr_latents **ret, qsr_error *e);
void qsr_latents_free(qsr_latents *);
/* The rows of n codes, in the order of the data: all rows of a unit one after another. place is [n], each [rows of the code]. Latents
 * are shared out among threads, so each has its rows added in order, by one thread. */
void qsr_latents_add(qsr_latents *, qsr_pool *, const qsr_code *const *codes, const qsr_place *const *place, size_t n);

size_t qsr_latents_count(const qsr_latents *); /* d_sae */
size_t qsr_latents_most(const qsr_latents *);  /* the most rows that a latent can have: `top` */
const qsr_latent_sums *qsr_latents_get(const qsr_latents *, size_t latent);
/* Largest first; lives as long as `latents`. Returns how many. */
size_t qsr_latents_top(const qsr_latents *, size_t latent, const qsr_top_row **ret);

/* latents.csv, whole or not at all. rows: how many were evaluated. dec_norm and neighbour are [d_sae]. */
qsr_status qsr_latents_write(const qsr_latents *, const char *path, uint64_t rows, const qsr_params *,
                             const float *dec_norm, const qsr_neighbour *neighbour, qsr_pool *, qsr_error *e);
#endif

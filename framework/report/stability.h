/* report/stability: how much of a decoder comes again with another seed: the decoders of a cell's seeds, matched pair by pair.
 *
 * Each run of a pair keeps what it knows in its folder, in stability.json:
 *
 *     {"version": 1, "sae": DIGEST, "metrics": {"mcc": ..., "max_cosine": ..., "gap": ...},
 *      "pairs": [{"cell": ID, "sae": DIGEST, "mcc": ..., "max_cosine": ..., "gap": ...}]}
 *
 *   mcc         sum of |cos| over the best one-to-one assignment of decoder rows / latents of the larger of the two
 *   max_cosine  mean over the latents of this run of the largest (signed) cosine with any latent of the other
 *   gap         how far mcc may be below the optimum, by the duals: 0 up to rounding
 *
 * and in `metrics` the means over its pairs (of gap: the largest). Tables show those as stability.mcc and so on. What two files say of
 * each other holds as long as both digests are those of the weights, and is not computed again. */
#ifndef QSR_REPORT_STABILITY_H
#define QSR_REPORT_STABILITY_H
#include "eval/match.h"
#include "report/frame.h"

typedef struct {
    const char *a, *b; /* run folders, below the archive's */
    double mcc, gap;
    double max_cosine[2]; /* of a's latents in b; of b's in a */
    bool recalled;        /* read back, not computed */
    double seconds;
} qsr_stability_pair;

typedef struct {
    qsr_pool *pool;
    size_t memory; /* bytes that matching two decoders may take; 0: 70 % of what is available */
    void *ctx;
    void (*pair)(void *ctx, const qsr_stability_pair *, size_t done, size_t of); /* or NULL */
} qsr_stability_options;

/* The decoder of an SAE: W_dec of <folder>/sae/sae_weights.safetensors, or of the folder itself. */
typedef struct {
    float *w; /* [latents][d_in] */
    size_t latents, d_in;
} qsr_decoder;
qsr_status qsr_decoder_load(const char *folder, qsr_decoder *ret, qsr_error *e);
void qsr_decoder_free(qsr_decoder *);

/* Two decoders of equal width and any number of latents; ->max_cosine[] and so on in *ret. QSR_E_NOMEM names what it would take. */
qsr_status qsr_stability_of(const qsr_decoder *a, const qsr_decoder *b, const qsr_stability_options *,
                            qsr_stability_pair *ret, qsr_error *e);

/* All pairs of completed runs of the frame that differ in nothing but the seed. A run whose decoder cannot be used is left out, with a
 * note of the frame, and counted in *ret_unusable. *ret_pairs: how many there are. Errors: memory, or a file that cannot be written. */
qsr_status qsr_stability_make(qsr_frame *, const qsr_archive *, const qsr_stability_options *, size_t *ret_pairs,
                              size_t *ret_unusable, qsr_error *e);
#endif

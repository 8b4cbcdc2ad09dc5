/* train/phase: where the time of a step goes. Blocks are timed by the thread that works on them; a group of blocks then counts
 * as long as the average of its threads, and what the slowest took longer is `other`. */
#ifndef QSR_TRAIN_PHASE_H
#define QSR_TRAIN_PHASE_H
#include <stddef.h>

typedef enum {
    QSR_PHASE_NORMALISE,
    QSR_PHASE_ENCODE,        /* x W_enc, biases, norms */
    QSR_PHASE_SELECT,        /* the activation's forward, pruning of a batch */
    QSR_PHASE_DECODE,
    QSR_PHASE_LOSS,          /* losses and what they do through views */
    QSR_PHASE_CODE_GRADIENT, /* towards codes and pre-activations */
    QSR_PHASE_WEIGHTS,       /* both weight gradients */
    QSR_PHASE_OPTIMISER,     /* gradient norm, projection, Adam, renormalisation */
    QSR_PHASE_OTHER,
    QSR_PHASES
} qsr_phase;
extern const char *const qsr_phase_names[QSR_PHASES];

typedef struct {
    double seconds[QSR_PHASES];
    double mark; /* when the current phase began */
} qsr_stopwatch;

void qsr_stopwatch_start(qsr_stopwatch *);
/* What passed since the last call belongs to `phase`. */
void qsr_stopwatch_lap(qsr_stopwatch *, qsr_phase);

/* Floating-point operations and bytes that must move in a step, from shapes and l0 alone (docs/PERFORMANCE.md); 0: not counted. */
typedef struct {
    double flops[QSR_PHASES], bytes[QSR_PHASES];
} qsr_phase_counts;
qsr_phase_counts qsr_phase_count(size_t rows, size_t d_in, size_t d_sae, double l0);
#endif

#include "train/phase.h"

#include "base/clock.h"

const char *const qsr_phase_names[QSR_PHASES] = {"normalise",     "encode",           "select",    "decode", "loss",
                                                 "code gradient", "weight gradients", "optimiser", "other"};

void qsr_stopwatch_start(qsr_stopwatch *s) { s->mark = qsr_clock(); }

void qsr_stopwatch_lap(qsr_stopwatch *s, qsr_phase phase)
{
    double now = qsr_clock();
    s->seconds[phase] += now - s->mark;
    s->mark = now;
}

qsr_phase_counts qsr_phase_count(size_t n_rows, size_t d_in, size_t d_sae, double l0)
{
    double rows = (double)n_rows, d = (double)d_in, n = (double)d_sae, entries = rows * l0;
    qsr_phase_counts c = {0};
    c.bytes[QSR_PHASE_NORMALISE] = 8 * rows * d;
    c.flops[QSR_PHASE_ENCODE] = 2 * rows * d * n;
    c.bytes[QSR_PHASE_SELECT] = 4 * rows * n;
    c.flops[QSR_PHASE_DECODE] = c.flops[QSR_PHASE_CODE_GRADIENT] = 2 * entries * d;
    c.flops[QSR_PHASE_WEIGHTS] = 4 * entries * d;
    c.bytes[QSR_PHASE_OPTIMISER] = 2 * n * d * (4 * 7 + 4); /* both matrices: g, w, m, v read, w, m, v written; norm reads g */
    return c;
}

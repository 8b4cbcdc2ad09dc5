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

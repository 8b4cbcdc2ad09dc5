#include "lab/profile.h"

#include <math.h>
#include <string.h>

void qsr_profile_step(qsr_profile *p, const qsr_learner *l)
{
    p->steps++;
    p->entries += l->report.l0;
}

/* As in the JSON of `quasar bench`: a rate is null where nothing is counted. */
static json_t *phase_json(const char *name, double seconds, double flops, double bytes)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "ms", qsr_json_real(1e3 * seconds));
    json_object_set_new(o, "gflops", qsr_json_real(flops > 0 && seconds > 0 ? flops / seconds / 1e9 : NAN));
    json_object_set_new(o, "gbps", qsr_json_real(bytes > 0 && seconds > 0 ? bytes / seconds / 1e9 : NAN));
    return o;
}

void qsr_profile_put(qsr_profile *p, const qsr_learner *l, double step_seconds, double data_seconds, double read_seconds, json_t *line)
{
    double steps = (double)p->steps, step = (step_seconds - p->step_seconds) / steps, rest = step, l0 = p->entries / steps;
    qsr_phase_counts counts = qsr_phase_count(l->batch, l->d_in, l->d_sae, l0);
    json_t *profile = json_object(), *phases = json_array();
    json_object_set_new(profile, "steps", json_integer((json_int_t)p->steps));
    json_object_set_new(profile, "l0", qsr_json_real(l0));
    json_object_set_new(profile, "step_ms", qsr_json_real(1e3 * step));
    json_object_set_new(profile, "read_ms", qsr_json_real(1e3 * (read_seconds - p->read_seconds) / steps));
    json_array_append_new(phases, phase_json("data", (data_seconds - p->data_seconds) / steps, 0, 0)); /* waiting has no rate */
    for (int i = 0; i < QSR_PHASES; i++) {
        double seconds = (l->watch.seconds[i] - p->seconds[i]) / steps;
        if (i == QSR_PHASE_OTHER) seconds = rest; /* whatever no phase had */
        rest -= seconds;
        json_array_append_new(phases, phase_json(qsr_phase_names[i], seconds, counts.flops[i], counts.bytes[i]));
    }
    json_object_set_new(profile, "phases", phases);
    json_object_set_new(line, "profile", profile);
    *p = (qsr_profile){.step_seconds = step_seconds, .data_seconds = data_seconds, .read_seconds = read_seconds};
    memcpy(p->seconds, l->watch.seconds, sizeof p->seconds);
}

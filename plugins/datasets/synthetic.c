/* synthetic: sparse sums of known features, so that what an autoencoder finds can be compared with what is there.
 *
 *     row = sum over firing features i of m_i * feature_i  +  noise * standard normal
 *
 * feature_i   unit vectors, uniform on the sphere, drawn once
 * firing      feature i fires with probability p_i = min(1, c * w_i), w_i = 1 (uniform) or (i + 1)^-exponent (zipf), where c is
 *             chosen so that the p_i add up to l0. So l0 is the expected number of firing features, whatever the correlation.
 * correlation features come in groups of neighbours (0..group-1, ...). In each row a group is bound with probability
 *             `correlation`: then one uniform number u is common to the group and feature i fires if u < p_i; otherwise each
 *             feature has its own. Two features of a group with equal p therefore fire with correlation coefficient
 *             `correlation`, and each p_i stays what it was.
 * magnitude   m_i = |magnitude + magnitude_std * standard normal|, drawn anew for each row and firing feature
 *
 * A row is a pure function of (host->random, index): its random numbers are keyed by one draw at `index`. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <quasar/plugin.h>

#include "base/rng.h"

enum { UNITS_PER_READ = 1024 };

struct synthetic_options {
    int64_t d_in, features, group;
    double l0, exponent, noise, correlation, magnitude, magnitude_std;
    const char *firing;
};

struct qsr_instance {
    const qsr_host *host;
    const struct synthetic_options *options;
    size_t d_in, features, group;
    float *feature;      /* [features][d_in], unit rows */
    double *probability; /* [features], never rising */
};

/* ---- firing ------------------------------------------------------------------------------------------------------ */

/* Random numbers of one row: one stream for each purpose, keyed by the row. */
enum { ALONE, TOGETHER, BOUND, MAGNITUDE, NOISE, STREAMS };
typedef struct {
    qsr_rng rng[STREAMS];
    uint64_t used[STREAMS];
} row_random;

static row_random random_of_row(const qsr_host *host, uint64_t index)
{
    row_random r = {.used = {0}};
    uint64_t key = host->random(host, "row", index);
    for (uint32_t s = 0; s < STREAMS; s++) r.rng[s] = (qsr_rng){{(uint32_t)key, (uint32_t)(key >> 32)}, {s, 0}};
    return r;
}

static double next_unit(row_random *r, int stream) { return qsr_rng_unit(&r->rng[stream], r->used[stream]++); }

/* The next i >= from that fires, of independent events with probabilities p[stride * i] that never rise; n: none. Gaps are
 * drawn from the geometric distribution of the probability q at hand, and a candidate with a smaller p is kept with p / q. So
 * the time goes with the number of events that happen, not with n. (Batagelj and Brandes 2005, Efficient generation of large
 * random networks, for equal p; Miller and Hagberg 2011 for falling p.) */
static size_t next_event(row_random *r, int stream, const double *p, size_t stride, size_t from, size_t n)
{
    while (from < n) {
        double q = p[stride * from];
        if (q <= 0) return n;
        if (q < 1) {
            double gap = floor(log(1 - next_unit(r, stream)) / log1p(-q));
            if (!(gap < (double)(n - from))) return n;
            from += (size_t)gap;
        }
        if (next_unit(r, stream) * q < p[stride * from]) return from;
        from++;
    }
    return n;
}

static void add_feature(const qsr_instance *self, size_t i, row_random *r, float *row)
{
    const float *feature = self->feature + i * self->d_in;
    double z = qsr_rng_normal(&r->rng[MAGNITUDE], i);
    float m = (float)fabs(self->options->magnitude + self->options->magnitude_std * z);
    for (size_t d = 0; d < self->d_in; d++) row[d] += m * feature[d];
}

static bool bound(const qsr_instance *self, size_t group, const row_random *r)
{
    return qsr_rng_unit(&r->rng[BOUND], group) < self->options->correlation;
}

/* The members of unbound groups, each for itself. */
static void fire_alone(const qsr_instance *self, row_random *r, float *row)
{
    size_t n = self->features, i = next_event(r, ALONE, self->probability, 1, 0, n);
    for (; i < n; i = next_event(r, ALONE, self->probability, 1, i + 1, n))
        if (!bound(self, i / self->group, r)) add_feature(self, i, r, row);
}

/* The bound groups: one fires when its u is below the probability of its first and most frequent member; given that, u is
 * uniform below it. */
static void fire_together(const qsr_instance *self, row_random *r, float *row)
{
    size_t n = (self->features - 1) / self->group + 1, g = next_event(r, TOGETHER, self->probability, self->group, 0, n);
    for (; g < n; g = next_event(r, TOGETHER, self->probability, self->group, g + 1, n)) {
        size_t i = g * self->group, end = i + self->group < self->features ? i + self->group : self->features;
        double u = next_unit(r, TOGETHER) * self->probability[i];
        if (!bound(self, g, r)) continue;
        for (; i < end && u < self->probability[i]; i++) add_feature(self, i, r, row);
    }
}

static qsr_status read_units(const qsr_instance *self, const uint64_t *units, size_t n, float *out)
{
    memset(out, 0, n * self->d_in * sizeof *out);
    for (size_t i = 0; i < n; i++, out += self->d_in) {
        row_random r = random_of_row(self->host, units[i]);
        fire_alone(self, &r, out);
        if (self->options->correlation > 0) fire_together(self, &r, out);
        for (size_t d = 0; self->options->noise > 0 && d < self->d_in; d++)
            out[d] += (float)(self->options->noise * qsr_rng_normal(&r.rng[NOISE], d));
    }
    return QSR_OK;
}

static qsr_status describe(const qsr_instance *self, qsr_dataset_info *ret_info)
{
    *ret_info = (qsr_dataset_info){.struct_size = sizeof *ret_info,
                                   .d_in = self->d_in,
                                   .units = UINT64_MAX,
                                   .rows_per_unit = 1,
                                   .units_per_read = UNITS_PER_READ};
    return QSR_OK;
}

/* ---- the dictionary ---------------------------------------------------------------------------------------------- */

static void draw_features(qsr_instance *self)
{
    uint64_t key = self->host->random(self->host, "features", 0);
    qsr_rng rng = qsr_rng_make(key, "features");
    for (size_t i = 0; i < self->features; i++) {
        float *feature = self->feature + i * self->d_in;
        double square = 0;
        for (size_t d = 0; d < self->d_in; d++) {
            double z = qsr_rng_normal(&rng, i * self->d_in + d);
            feature[d] = (float)z;
            square += z * z;
        }
        float scale = (float)(1 / sqrt(square));
        for (size_t d = 0; d < self->d_in; d++) feature[d] *= scale;
    }
}

/* p_i = min(1, c * w_i) with sum l0. When the first k are clipped, c = (l0 - k) / (w_k + w_{k+1} + ...), and k is right once
 * c * w_k < 1. From the last feature down that holds until it no longer does, and the sums only grow, so nothing cancels. */
static void find_probabilities(qsr_instance *self)
{
    const struct synthetic_options *o = self->options;
    double *p = self->probability, exponent = strcmp(o->firing, "zipf") == 0 ? o->exponent : 0, sum = 0, c = 0;
    size_t certain = self->features;
    for (size_t i = certain; i-- > 0;) {
        p[i] = pow((double)(i + 1), -exponent);
        sum += p[i];
        if (certain == i + 1 && (o->l0 - (double)i) * p[i] < sum) {
            certain = i;
            c = (o->l0 - (double)i) / sum;
        }
    }
    for (size_t i = 0; i < self->features; i++) p[i] = i < certain ? 1 : fmin(1, c * p[i]);
}

static qsr_status truth(const qsr_instance *self, const float **ret_features, size_t *ret_count, size_t *ret_d_in)
{
    *ret_features = self->feature;
    *ret_count = self->features;
    *ret_d_in = self->d_in;
    return QSR_OK;
}

static const void *extension(const char *id)
{
    static const qsr_truth_ops truth_ops = {.struct_size = sizeof truth_ops, .get = truth};
    return strcmp(id, QSR_EXT_TRUTH) == 0 ? &truth_ops : NULL;
}

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    const struct synthetic_options *o = options;
    if (o->l0 > (double)o->features)
        return host->fail(host, QSR_E_OPTION, "l0", "l0=%g exceeds features=%" PRId64, o->l0, o->features);
    if (o->correlation > 0 && o->group > o->features)
        return host->fail(host, QSR_E_OPTION, "group", "group=%" PRId64 " exceeds features=%" PRId64, o->group,
                          o->features);
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .options = o};
    self->d_in = (size_t)o->d_in;
    self->features = (size_t)o->features;
    self->group = (size_t)o->group;
    self->feature = host->alloc(host, self->features * self->d_in, sizeof *self->feature);
    self->probability = host->alloc(host, self->features, sizeof *self->probability);
    if (!self->feature || !self->probability) return QSR_E_NOMEM;
    draw_features(self);
    find_probabilities(self);
    *ret_instance = self;
    return QSR_OK;
}

#define TOY "Elhage et al. 2022, Toy Models of Superposition, arXiv 2209.10652"
#define SHARKEY "Sharkey, Braun and Millidge 2022, Taking features out of superposition with sparse autoencoders"

static const char *const firing_choices[] = {"uniform", "zipf", NULL};

static const qsr_option options_table[] = {
    QSR_OPT(struct synthetic_options, d_in, .help = "width of a row", .unit = "dimensions", .def = "64",
            .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 16),
    QSR_OPT(struct synthetic_options, features,
            .help = "number of true features, unit vectors uniform on the sphere; more than d_in: superposition",
            .unit = "features", .cite = TOY, .def = "256", .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 24),
    QSR_OPT(struct synthetic_options, l0, .help = "expected number of firing features of a row; not more than features",
            .unit = "features per row", .def = "8.0", .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN, .min = 0, .max = 1 << 24),
    QSR_OPT(
        struct synthetic_options, firing,
        .help =
            "how firing probabilities fall with the index i of a feature: not at all, or as (i + 1)^-exponent; scaled to "
            "the sum l0 and clipped at 1",
        .def = "uniform", .choices = firing_choices),
    QSR_OPT(struct synthetic_options, exponent, .help = "exponent of firing: zipf; unused with uniform", .def = "1.0",
            .flags = QSR_OPT_RANGE, .min = 0, .max = 10),
    QSR_OPT(struct synthetic_options, correlation,
            .help = "correlation coefficient of the firing of two equally frequent features of a group; 0: all independent",
            .cite = SHARKEY, .def = "0", .flags = QSR_OPT_RANGE, .min = 0, .max = 1),
    QSR_OPT(struct synthetic_options, group, .help = "neighbouring features that fire together; unused with correlation 0",
            .unit = "features", .cite = SHARKEY, .def = "4", .flags = QSR_OPT_RANGE, .min = 1, .max = 1 << 24),
    QSR_OPT(struct synthetic_options, magnitude,
            .help = "m in the magnitude |m + s z| of a firing feature, z standard normal", .def = "1.0",
            .flags = QSR_OPT_RANGE, .min = 0, .max = 1e6),
    QSR_OPT(struct synthetic_options, magnitude_std,
            .help = "s in the magnitude |m + s z| of a firing feature; 0: all equal", .def = "0.25", .flags = QSR_OPT_RANGE,
            .min = 0, .max = 1e6),
    QSR_OPT(struct synthetic_options, noise,
            .help = "standard deviation of Gaussian noise added to every dimension; 0: none", .def = "0",
            .flags = QSR_OPT_RANGE, .min = 0, .max = 1e6),
};

static const qsr_dataset_ops ops = {.struct_size = sizeof ops, .describe = describe, .read = read_units};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_DATASET),
    .name = "synthetic",
    .version = "1",
    .summary = "sparse sums of known random features, with the truth to compare with",
    .cite = TOY,
    .caps = QSR_CAP_COMPUTES,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct synthetic_options),
    .create = create,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

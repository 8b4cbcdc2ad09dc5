#include "eval/afa.h"

#include <math.h>

/* Below this share of ||f~||^2 the denominator of coherence_lb says nothing (see the header). */
static const double lb_floor = 0x1p-16;

qsr_afa_features qsr_afa_features_of(const uint32_t *latent, const float *value, size_t n, const float *dec_norm,
                                     double b_dec_norm)
{
    qsr_afa_features f = {b_dec_norm, b_dec_norm * b_dec_norm};
    for (size_t i = 0; i < n; i++) {
        double component = fabs((double)value[i]) * dec_norm[latent[i]];
        f.sum += component;
        f.square += component * component;
    }
    return f;
}

double qsr_afa_epsilon_lbo(double ztz, double ftf, size_t d_sae)
{
    if (d_sae < 2) return NAN;
    if (ftf == 0) return INFINITY;
    return fabs(ztz - ftf) / ((double)(d_sae - 1) * ftf);
}

double qsr_afa_norm_ratio(double ztz, double ftf) { return ztz > 0 ? sqrt(ftf / ztz) : NAN; }

double qsr_afa_token_nmse(double l_recon, double ztz) { return ztz > 0 ? l_recon / ztz : NAN; }

double qsr_afa_coherence_lb(double x_hat_square, qsr_afa_features f)
{
    double cross = f.sum * f.sum - f.square;
    return cross > lb_floor * f.square ? fabs(x_hat_square - f.square) / cross : NAN;
}

double qsr_afa_zf_lower(double norm_z, double e) { return norm_z / sqrt(1 + e); }

double qsr_afa_zf_upper(double norm_z, double e) { return e < 1 ? norm_z / sqrt(1 - e) : NAN; }

/* eval/afa: the AFA diagnostics of one token, judging an SAE from norms alone (arXiv 2503.24277), as pure functions in double.
 * May import: quasar/plugin.h, base/, math/, spec/, format/, plugin/, data/, model/ (this holds for the whole room; metric, afa,
 * statistics, coherence, match and tokens-csv need base/ and math/ alone).
 *
 * A decoder writes x_hat = sum_j f_j W_j + b. The feature vector f~ has the components f_j ||W_j||, and ||b|| as one more: were all
 * directions orthogonal, ||f~|| would equal ||x_hat||. How far ||f~|| is from the norm of the *input* is what epsilon_lbo measures. */
#ifndef QSR_EVAL_AFA_H
#define QSR_EVAL_AFA_H
#include <stddef.h>
#include <stdint.h>

/* ||f~||_1 and ||f~||^2 of one row of a code, with b_dec appended, in the space that the SAE was trained in. */
typedef struct {
    double sum, square;
} qsr_afa_features;
qsr_afa_features qsr_afa_features_of(const uint32_t *latent, const float *value, size_t n, const float *dec_norm,
                                     double b_dec_norm);

/* One token in model space: the columns of tokens.csv but `layer`, and the one diagnostic that needs ||f~||_1.
 *
 * Model space: where a row was normalised, x_hat is taken back by z_hat = x_hat * spread + mean (the mean added to
 * every dimension). The features are then spread * f~, and the mean is one more component, of norm |mean| sqrt(d_in): like b_dec
 * it is a direction that the decoder is given. Without normalisation, or with a spread alone, this is the plain definition, of which
 * every ratio below is then the same in both spaces. */
typedef struct {
    double ztz;          /* ||z||^2 */
    double ftf;          /* ||f~||^2 */
    double norm_z_hat;   /* ||z_hat|| */
    double l_recon;      /* ||z - z_hat||^2 */
    double coherence_lb; /* below; in training space, where it bounds [W_dec; b_dec] and no other direction */
    uint32_t l0;         /* how many f != 0 */
} qsr_afa_token;

/* |ztz - ftf| / ((d_sae - 1) ftf). Infinite at ftf = 0; NaN below two latents. It is no bound on any cosine: it compares f~ with
 * the input, not with what the decoder wrote. */
double qsr_afa_epsilon_lbo(double ztz, double ftf, size_t d_sae);
/* ||f~|| / ||z||, of which epsilon_lbo is a function; NaN at z = 0. */
double qsr_afa_norm_ratio(double ztz, double ftf);
/* ||z - z_hat||^2 / ||z||^2; NaN at z = 0. */
double qsr_afa_token_nmse(double l_recon, double ztz);
/* | ||x_hat||^2 - ||f~||^2 | / (||f~||_1^2 - ||f~||^2): at most the largest |cos| between two of the directions in use. For
 * ||x_hat||^2 - ||f~||^2 is the sum of f~_i f~_j cos_ij over i != j, and the denominator the sum of |f~_i f~_j|.
 * NaN where the denominator is under 2^-16 ||f~||^2 (fewer than two directions, or next to nothing of the second): there the
 * float32 rounding of x_hat would decide the quotient. */
double qsr_afa_coherence_lb(double x_hat_square, qsr_afa_features);

/* Where ||f~|| lies at a given ||z|| when epsilon_lbo * (d_sae - 1) is exactly `e` >= 0: norm_z / sqrt(1 + e) below and
 * norm_z / sqrt(1 - e) above. The upper one exists for e < 1 and is NaN otherwise. These are the lines of a ZF plot. */
double qsr_afa_zf_lower(double norm_z, double e);
double qsr_afa_zf_upper(double norm_z, double e);
#endif

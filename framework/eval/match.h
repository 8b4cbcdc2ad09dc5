/* eval/match: which row of one dictionary is which row of another: a decoder against the true features, or two decoders. */
#ifndef QSR_EVAL_MATCH_H
#define QSR_EVAL_MATCH_H
#include "base/error.h"
#include "math/pool.h"

/* Exact assignment of largest total value: each of the rows gets a column of its own (rows <= cols). value: [rows][cols],
 * finite. ret_col[rows]. *ret_gap, unless NULL, is how far the total is below an upper bound on every assignment: 0 up to
 * rounding. Shortest augmenting paths after R. Jonker and A. Volgenant, Computing 38 (1987), in the rectangular form of
 * D. F. Crouse, IEEE Trans. AES 52 (2016). Time rows^2 cols at worst. */
qsr_status qsr_match_assign(const float *value, size_t rows, size_t cols, uint32_t *ret_col, double *ret_total,
                            double *ret_gap, qsr_error *e);

typedef struct {
    double mmcs; /* mean over features of the largest cosine (signed) with any row of the dictionary */
    double mmcs_back; /* the other way round: mean over rows of the dictionary of the largest cosine with any feature */
    double mcc;  /* sum of |cos| over the best one-to-one assignment / number of features: a feature without a partner,
                    because the dictionary is smaller, counts 0 */
    double gap;  /* of the assignment, as above, divided likewise */
} qsr_match;

/* features [n_features][d] against dictionary [n_rows][d]; a row of zeros has cosine 0 with everything. Holds
 * n_features x n_rows floats. ret_partner, unless NULL, is [n_features]: the dictionary row assigned, UINT32_MAX: none. */
qsr_status qsr_match_of(qsr_pool *, const float *features, size_t n_features, const float *dictionary, size_t n_rows,
                        size_t d, qsr_match *ret, uint32_t *ret_partner, qsr_error *e);
#endif

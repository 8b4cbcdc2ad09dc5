/* report/study: what figures and pages are made from: the runs below a folder, cut into settings (what differs in nothing but the
 * seed) with a short name each, and settings into series (curves along a number of the activation or of a loss). */
#ifndef QSR_REPORT_STUDY_H
#define QSR_REPORT_STUDY_H
#include <stdint.h>

#include "eval/statistics.h"
#include "report/frame.h"
#include "report/table.h"

typedef struct {
    const size_t *rows; /* of the frame */
    size_t n_rows;
    const char *label; /* "topk k=16": where it differs from others */
    size_t series;
    bool published;
} qsr_setting;

typedef struct {
    const char *label; /* "topk" */
    bool published;
    size_t n_settings;
} qsr_study_series;

typedef struct {
    qsr_archive archive;
    qsr_frame frame;
    size_t *keys; /* parameters that tell settings apart */
    size_t n_keys;
    qsr_setting *settings;
    size_t n_settings;
    qsr_study_series *series;
    size_t n_series;
    uint64_t d_in; /* of the own runs; 0: not known, or not the same everywhere */
} qsr_study;

/* overlays, conditions: NULL-ended, or NULL (frame.h). */
qsr_status qsr_study_open(const char *folder, const char *const *overlays, const char *const *conditions, qsr_study *ret,
                          qsr_error *e);
void qsr_study_free(qsr_study *);

/* The run folder of a row of the frame; NULL for a published one. */
const qsr_record *qsr_study_record(const qsr_study *, size_t row);
/* The first completed run of a setting, which stands for it where one run is shown; NULL: there is none. */
const qsr_record *qsr_study_example(const qsr_study *, const qsr_setting *);
/* Over the completed seeds; n 0 and NaN when none has it. */
qsr_summary qsr_study_summary(const qsr_study *, const qsr_setting *, const char *metric);
double qsr_study_half(const qsr_summary *); /* half of the 95 % interval; NaN for n < 2 */
/* A parameter of the setting's first run; NULL: it has none. qsr_study_number: NaN. */
const char *qsr_study_value(const qsr_study *, const qsr_setting *, const char *key);
double qsr_study_number(const qsr_study *, const qsr_setting *, const char *key);
bool qsr_study_measured(const qsr_study *, const char *metric); /* by a completed own run */
#endif

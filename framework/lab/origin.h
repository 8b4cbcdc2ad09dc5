/* lab/origin: how the rows of a cell were made: the spec's own dataset options or, where the rows were stored ("quasar.source/1"), those
 * of the dataset that made them. */
#ifndef QSR_LAB_ORIGIN_H
#define QSR_LAB_ORIGIN_H
#include "data/dataset.h"

typedef struct {
    const qsr_spec *spec;
    const qsr_dataset *data;
    size_t tap;
    const qsr_source_ops *source; /* or NULL */
} qsr_origin;

qsr_origin qsr_origin_of(const qsr_spec *, const qsr_dataset *, size_t tap);
/* The option of that name, whatever the plugin; a list counts where it has one item. NULL: not known. */
const char *qsr_origin_text(const qsr_origin *, const char *name);
int64_t qsr_origin_count(const qsr_origin *, const char *name); /* -1: not known */
#endif

/* model/sieve: the encoder as screens (math/screen) see it, and the memory that sifting with it (model/sift) takes. */
#ifndef QSR_MODEL_SIEVE_H
#define QSR_MODEL_SIEVE_H
#include "math/screen.h"

typedef struct {
    bool on, integers;
    qsr_screen int8; /* with integers */
    qsr_screen bf16; /* in order with integers, to sort out what they leave */
} qsr_sieve;

qsr_status qsr_sieve_create(bool integers, size_t n, size_t d, qsr_sieve *ret, qsr_error *e);
void qsr_sieve_free(qsr_sieve *);
void qsr_sieve_fill(qsr_sieve *, const float *w, qsr_pool *);

/* A row between the stages. */
typedef struct {
    bool dropped;
    float least;
    uint32_t sure, open, at; /* at: how many of the open were bound again */
} qsr_sift_rest;

/* Memory to sift blocks of up to `rows` rows in. */
typedef struct {
    size_t rows;
    float *bounds, *pairs; /* of the screens */
    float *again;          /* [rows][d_in] */
    uint32_t *number;      /* [rows] */
    size_t *begin, *size;  /* [rows] */
    float *floor;          /* [d_sae] */
    unsigned idle[QSR_SCREENS]; /* blocks that go without that screen. Shows in the time alone */
    qsr_sift_rest *rest;   /* [rows] */
} qsr_sift_room;

qsr_status qsr_sift_room_create(const qsr_sieve *, size_t rows, size_t d_in, qsr_sift_room *ret, qsr_error *e);
void qsr_sift_room_free(qsr_sift_room *);
#endif

/* tests/unit/data/counted-stream.h: a cursor over rows of the fixture `counted`, whose column 0 is their index. */
#ifndef QSR_TESTS_DATA_COUNTED_STREAM_H
#define QSR_TESTS_DATA_COUNTED_STREAM_H
#include "../unit.h"

#include "../bench.h"
#include "base/arena.h"
#include "data/cursor.h"

typedef struct {
    qsr_spec *spec;
    qsr_dataset data;
    qsr_cursor *cursor;
} stream;

static inline qsr_spec *spec_with(const char *dataset, int eval)
{
    return bench_spec("name: rows\ndataset: {plugin: counted, d_in: 2, %s}\nactivation: {plugin: topk, k: 1}\n"
                      "sae: {d_sae: 8}\ntrain: {tokens: 100, batch: 10}\neval: {tokens: %d}\n",
                      dataset, eval);
}

static inline stream *open_stream_on(const char *dataset, int eval, unsigned threads)
{
    stream *s = calloc(1, sizeof *s);
    qsr_error e = {0};
    s->spec = spec_with(dataset, eval);
    if (qsr_dataset_open(s->spec, bench_pool(threads), &s->data, &e)) fail_msg("%s: %s", dataset, e.text);
    if (qsr_cursor_create(&s->data, &s->spec->data, &s->cursor, &e)) fail_msg("%s", e.text);
    return s;
}

static inline void close_stream(stream *s)
{
    qsr_cursor_free(s->cursor);
    qsr_dataset_close(&s->data);
    qsr_spec_free(s->spec);
    free(s);
}

static inline stream *open_stream(const char *dataset, int eval) { return open_stream_on(dataset, eval, 2); }
#endif

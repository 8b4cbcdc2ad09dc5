#include "exchange/tensor-file.h"

#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "math/rows.h"

enum { MOST_PROBLEM_BYTES = 700 };

qsr_status qsr_tensor_file_open(const char *path, qsr_tensor_file *ret, qsr_error *e)
{
    *ret = (qsr_tensor_file){.path = path};
    return qsr_zip_has(path, "", NULL) ? qsr_npz_open(path, &ret->npz, e) : qsr_safetensors_open(path, &ret->safetensors, e);
}

void qsr_tensor_file_close(qsr_tensor_file *f)
{
    qsr_safetensors_close(f->safetensors);
    qsr_npz_close(f->npz);
    qsr_text_free(&f->problems);
    *f = (qsr_tensor_file){0};
}

size_t qsr_tensor_file_count(const qsr_tensor_file *f)
{
    return f->npz ? qsr_npz_count(f->npz) : qsr_safetensors_count(f->safetensors);
}

const qsr_tensor *qsr_tensor_file_at(const qsr_tensor_file *f, size_t i)
{
    return f->npz ? qsr_npz_at(f->npz, i) : qsr_safetensors_at(f->safetensors, i);
}

const qsr_tensor *qsr_tensor_file_find(const qsr_tensor_file *f, const char *name)
{
    return f->npz ? qsr_npz_find(f->npz, name) : qsr_safetensors_find(f->safetensors, name);
}

/* ---- problems ---------------------------------------------------------------------------------------------------- */

void qsr_tensor_file_blame(qsr_tensor_file *f, const char *fmt, ...)
{
    qsr_error problem = {0};
    va_list args;
    if (f->problems.length > MOST_PROBLEM_BYTES) return;
    va_start(args, fmt);
    qsr_vfail(&problem, QSR_E_INPUT, NULL, fmt, args);
    va_end(args);
    qsr_text_add(&f->problems, "%s%s", f->problems.length ? "; " : "", problem.text);
}

qsr_status qsr_tensor_file_verdict(const qsr_tensor_file *f, qsr_error *e)
{
    if (f->refused.code) {
        if (e) *e = f->refused;
        return f->refused.code;
    }
    return f->problems.length ? qsr_fail(e, QSR_E_INPUT, "%s: %s", f->path, f->problems.bytes) : QSR_OK;
}

/* ---- taking -------------------------------------------------------------------------------------------------------- */

static void shape_text(const qsr_tensor *t, qsr_text *out)
{
    qsr_text_puts(out, "[");
    for (size_t i = 0; i < t->rank; i++) qsr_text_add(out, "%s%zu", i ? ", " : "", t->shape[i]);
    qsr_text_puts(out, "]");
}

static const qsr_tensor *expect(qsr_tensor_file *f, const char *name, size_t rank, size_t n0, size_t n1)
{
    const qsr_tensor *t = qsr_tensor_file_find(f, name);
    if (!t) {
        qsr_tensor_file_blame(f, "there is no tensor '%s'", name);
        return NULL;
    }
    if (!qsr_dtype_is_real(t->dtype)) {
        qsr_tensor_file_blame(f, "tensor '%s' is %s, expected real numbers", name, qsr_dtype_name(t->dtype));
        return NULL;
    }
    if (t->rank == rank && t->shape[0] == n0 && (rank == 1 || t->shape[1] == n1)) return t;
    bool turned = rank == 2 && t->rank == 2 && t->shape[0] == n1 && t->shape[1] == n0;
    qsr_text has = {0};
    char wants[64];
    shape_text(t, &has);
    snprintf(wants, sizeof wants, rank == 1 ? "[%zu]" : "[%zu, %zu]", n0, n1);
    qsr_tensor_file_blame(f, "tensor '%s' has shape %s, expected %s%s", name, has.bytes, wants, turned ? ": it is transposed" : "");
    qsr_text_free(&has);
    return NULL;
}

static float *block_of(qsr_tensor_file *f, const qsr_tensor *t)
{
    float *block = qsr_block_raw(t->count ? t->count : 1, sizeof(float));
    if (!block) qsr_fail_nomem(&f->refused, t->name, t->count * sizeof(float));
    return block;
}

static void take(qsr_tensor_file *f, const qsr_tensor *t, qsr_taken *ret)
{
    float *data = block_of(f, t);
    if (!data) return;
    *ret = (qsr_taken){.data = data, .count = t->count, .dtype = t->dtype};
    qsr_to_float(t->dtype, t->data, t->count, data);
    for (size_t i = t->count; i--;) {
        if (isfinite(data[i])) continue;
        ret->not_finite++;
        ret->first_bad = i;
        ret->bad = data[i];
    }
}

void qsr_tensor_file_matrix(qsr_tensor_file *f, const char *name, size_t rows, size_t cols, bool transposed, qsr_taken *ret)
{
    *ret = (qsr_taken){0};
    const qsr_tensor *t = expect(f, name, 2, transposed ? cols : rows, transposed ? rows : cols);
    if (!t) return;
    take(f, t, ret);
    if (!transposed || !ret->data) return;
    float *turned = block_of(f, t);
    if (turned) qsr_rows_transpose(ret->data, cols, rows, turned);
    qsr_block_free(ret->data);
    ret->data = turned;
}

void qsr_tensor_file_vector(qsr_tensor_file *f, const char *name, size_t n, qsr_taken *ret)
{
    *ret = (qsr_taken){0};
    const qsr_tensor *t = expect(f, name, 1, n, 0);
    if (t) take(f, t, ret);
}

void qsr_tensor_file_scalar(qsr_tensor_file *f, const char *name, qsr_taken *ret)
{
    *ret = (qsr_taken){0};
    const qsr_tensor *t = qsr_tensor_file_find(f, name);
    if (t && t->count == 1 && t->rank <= 1 && qsr_dtype_is_real(t->dtype))
        take(f, t, ret);
    else
        qsr_tensor_file_blame(f, t ? "tensor '%s' is no single real number" : "there is no tensor '%s'", name);
}

void qsr_taken_free(qsr_taken *taken)
{
    qsr_block_free(taken->data);
    *taken = (qsr_taken){0};
}

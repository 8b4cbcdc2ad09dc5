#include "format/npz.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/npy.h"

enum { MOST_MEMBERS = 4096, DEFLATE_RATIO = 1032 /* deflate makes at most this many bytes of one (zlib, technical details) */ };

struct qsr_npz {
    qsr_arena arena;
    qsr_tensor *tensors; /* [count] */
    void **blocks;       /* [count] what each lies in */
    size_t count;
};

/* out in C order from numbers in Fortran order: those are the transposed array in C order. Walks over `out`. */
static void reorder(const qsr_tensor *t, const char *from, char *out)
{
    size_t size = qsr_dtype_size(t->dtype), stride[8], index[8] = {0}, at = 0;
    for (size_t d = 0, n = 1; d < t->rank; n *= t->shape[d++]) stride[d] = n;
    for (size_t i = 0; i < t->count; i++) {
        memcpy(out + i * size, from + at * size, size);
        for (size_t d = t->rank; d--;) {
            at += stride[d];
            if (++index[d] < t->shape[d]) break;
            at -= stride[d] * t->shape[d];
            index[d] = 0;
        }
    }
}

/* The member's array as a tensor in `block`, which may be replaced. */
static qsr_status take_array(void **block, size_t bytes, const char *name, qsr_tensor *ret, qsr_error *e)
{
    qsr_npy npy;
    bool fortran;
    qsr_status status = qsr_npy_parse(*block, bytes, &npy, &fortran, e);
    if (status) return status;
    *ret = (qsr_tensor){.name = name, .dtype = npy.dtype, .rank = npy.rank, .count = npy.count, .data = npy.data};
    memcpy(ret->shape, npy.shape, sizeof npy.shape);
    if (!fortran) return QSR_OK;
    void *ordered = qsr_block_raw(npy.count, qsr_dtype_size(npy.dtype));
    if (!ordered) return qsr_fail_nomem(e, "an array in Fortran order", npy.count * qsr_dtype_size(npy.dtype));
    reorder(ret, npy.data, ordered);
    qsr_block_free(*block);
    *block = ordered;
    ret->data = ordered;
    return QSR_OK;
}

/* ---- the archive --------------------------------------------------------------------------------------------------- */

/* The whole member; at its end libzip compares the checksum. */
static qsr_status read_whole(zip_t *zip, const zip_stat_t *about, void **ret, qsr_error *e)
{
    unsigned char *bytes = qsr_block_raw((size_t)about->size, 1), beyond;
    if (!bytes) return qsr_fail_nomem(e, "an array of a .npz file", (size_t)about->size);
    zip_file_t *file = zip_fopen_index(zip, about->index, 0);
    zip_int64_t got = 0, n = file ? 1 : -1;
    while (n > 0 && (zip_uint64_t)got < about->size) {
        n = zip_fread(file, bytes + got, about->size - (zip_uint64_t)got);
        if (n > 0) got += n;
    }
    if (file && n >= 0) n = zip_fread(file, &beyond, 1);
    qsr_status status = QSR_OK;
    if (n < 0)
        status = qsr_fail(e, QSR_E_INPUT, "%s", file ? zip_file_strerror(file) : zip_strerror(zip));
    else if ((zip_uint64_t)got != about->size || n > 0)
        status = qsr_fail(e, QSR_E_INPUT, "it has %s than the %zu bytes its entry says", n > 0 ? "more" : "less", (size_t)about->size);
    if (file) zip_fclose(file);
    if (status) qsr_block_free(bytes);
    else *ret = bytes;
    return status;
}

/* Nothing is allocated for an entry before its size is one that the file can hold. */
static qsr_status check_entry(const zip_stat_t *about, size_t file_bytes, qsr_error *e)
{
    static const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    size_t most;
    if ((about->valid & needed) != needed) return qsr_fail(e, QSR_E_INPUT, "its entry says neither size nor method");
    if (about->encryption_method != ZIP_EM_NONE) return qsr_fail(e, QSR_E_INPUT, "it is encrypted");
    if (about->comp_method != ZIP_CM_STORE && about->comp_method != ZIP_CM_DEFLATE)
        return qsr_fail(e, QSR_E_INPUT, "compression method %u; numpy.savez stores (0), numpy.savez_compressed deflates (8)",
                        (unsigned)about->comp_method);
    if (about->comp_size > file_bytes)
        return qsr_fail(e, QSR_E_INPUT, "its entry says %zu bytes, the whole file has %zu", (size_t)about->comp_size, file_bytes);
    if (about->comp_method == ZIP_CM_STORE && about->size != about->comp_size)
        return qsr_fail(e, QSR_E_INPUT, "its entry says %zu bytes stored as %zu", (size_t)about->size, (size_t)about->comp_size);
    if (!qsr_mul_size((size_t)about->comp_size, DEFLATE_RATIO, &most)) most = SIZE_MAX;
    if (about->size > most)
        return qsr_fail(e, QSR_E_INPUT, "its entry says %zu bytes from %zu, more than deflate can", (size_t)about->size,
                        (size_t)about->comp_size);
    return QSR_OK;
}

static qsr_status read_member(qsr_npz *npz, zip_t *zip, zip_uint64_t index, size_t file_bytes, qsr_error *e)
{
    zip_stat_t about;
    zip_stat_init(&about);
    if (zip_stat_index(zip, index, 0, &about) != 0 || !(about.valid & ZIP_STAT_NAME))
        return qsr_fail(e, QSR_E_INPUT, "entry %zu: %s", (size_t)index, zip_strerror(zip));
    const char *member = qsr_arena_strdup(&npz->arena, about.name);
    if (!qsr_ends_with(member, ".npy")) {
        qsr_fail(e, QSR_E_INPUT, "'%s' is no array: every member of a .npz file is NAME.npy", member);
        return QSR_E_INPUT;
    }
    const char *name = qsr_arena_strndup(&npz->arena, member, strlen(member) - 4);
    if (qsr_npz_find(npz, name)) return qsr_fail(e, QSR_E_INPUT, "'%s' twice", member);
    void *block = NULL;
    qsr_tensor tensor;
    qsr_status status = check_entry(&about, file_bytes, e);
    if (!status) status = read_whole(zip, &about, &block, e);
    if (!status) status = take_array(&block, (size_t)about.size, name, &tensor, e);
    if (status) {
        qsr_block_free(block);
        qsr_context(e, "%s", member);
        return status;
    }
    npz->blocks[npz->count] = block;
    npz->tensors[npz->count++] = tensor;
    return QSR_OK;
}

static zip_t *open_zip(const char *path, qsr_error *e)
{
    int code = 0;
    zip_error_t why;
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (zip) return zip;
    zip_error_init_with_code(&why, code);
    qsr_fail(e, QSR_E_INPUT, "not a sound ZIP file: %s", zip_error_strerror(&why));
    zip_error_fini(&why);
    return NULL;
}

static qsr_status read_all(qsr_npz *npz, zip_t *zip, size_t file_bytes, qsr_error *e)
{
    zip_int64_t n = zip_get_num_entries(zip, 0);
    if (n > MOST_MEMBERS) return qsr_fail(e, QSR_E_INPUT, "%lld members, the limit is %d", (long long)n, MOST_MEMBERS);
    npz->tensors = qsr_xcalloc((size_t)n + 1, sizeof *npz->tensors);
    npz->blocks = qsr_xcalloc((size_t)n + 1, sizeof *npz->blocks);
    qsr_status status = QSR_OK;
    for (zip_int64_t i = 0; !status && i < n; i++) status = read_member(npz, zip, (zip_uint64_t)i, file_bytes, e);
    return status;
}

qsr_status qsr_npz_open(const char *path, qsr_npz **ret, qsr_error *e)
{
    qsr_map map;
    *ret = NULL;
    qsr_status status = qsr_map_open(path, &map, e);
    if (status) return status;
    size_t bytes = map.size;
    qsr_map_close(&map);
    zip_t *zip = open_zip(path, e);
    if (!zip) return qsr_context(e, "%s", path), QSR_E_INPUT;
    qsr_npz *npz = qsr_xcalloc(1, sizeof *npz);
    status = read_all(npz, zip, bytes, e);
    zip_discard(zip);
    if (status) {
        qsr_context(e, "%s", path);
        qsr_npz_close(npz);
        return status;
    }
    *ret = npz;
    return QSR_OK;
}

void qsr_npz_close(qsr_npz *npz)
{
    if (!npz) return;
    for (size_t i = 0; i < npz->count; i++) qsr_block_free(npz->blocks[i]);
    free(npz->blocks);
    free(npz->tensors);
    qsr_arena_free(&npz->arena);
    free(npz);
}

size_t qsr_npz_count(const qsr_npz *npz) { return npz->count; }
const qsr_tensor *qsr_npz_at(const qsr_npz *npz, size_t i) { return &npz->tensors[i]; }

const qsr_tensor *qsr_npz_find(const qsr_npz *npz, const char *name)
{
    for (size_t i = 0; i < npz->count; i++)
        if (strcmp(npz->tensors[i].name, name) == 0) return &npz->tensors[i];
    return NULL;
}

bool qsr_zip_has(const char *path, const char *suffix, bool *ret_member)
{
    qsr_map map;
    if (ret_member) *ret_member = false;
    if (qsr_map_open(path, &map, NULL)) return false;
    bool is_zip = map.size >= 4 && (memcmp(map.bytes, "PK\3\4", 4) == 0 || memcmp(map.bytes, "PK\5\6", 4) == 0);
    qsr_map_close(&map);
    zip_t *zip = is_zip ? zip_open(path, ZIP_RDONLY, NULL) : NULL;
    for (zip_int64_t i = 0; zip && ret_member && i < zip_get_num_entries(zip, 0); i++) {
        const char *name = zip_get_name(zip, (zip_uint64_t)i, 0);
        *ret_member = *ret_member || (name && qsr_ends_with(name, suffix));
    }
    if (zip) zip_discard(zip);
    return is_zip;
}

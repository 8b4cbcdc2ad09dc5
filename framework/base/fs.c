#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/sizes.h"

/* Opening problems are the user's to mend, so they count as bad input. O_NONBLOCK: a pipe is refused, not waited for. */
static qsr_status open_for_reading(const char *path, int *ret_fd, size_t *ret_size, qsr_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        qsr_fail(e, QSR_E_INPUT, "cannot read %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return QSR_E_INPUT;
    }
    if (!S_ISREG(about.st_mode)) {
        close(fd);
        return qsr_fail(e, QSR_E_INPUT, "cannot read %s: it is %s, not a file", path,
                        S_ISDIR(about.st_mode) ? "a folder" : "a special file");
    }
    *ret_fd = fd;
    *ret_size = (size_t)about.st_size;
    return QSR_OK;
}

qsr_status qsr_map_open(const char *path, qsr_map *ret, qsr_error *e)
{
    int fd = -1;
    size_t size = 0;
    qsr_status status = open_for_reading(path, &fd, &size, e);
    if (status) return status;
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    int number = errno;
    close(fd);
    if (bytes == MAP_FAILED) return qsr_fail(e, QSR_E_IO, "cannot map %s: %s", path, strerror(number));
    *ret = (qsr_map){bytes, size};
    return QSR_OK;
}

void qsr_map_close(qsr_map *map)
{
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (qsr_map){0};
}

/* Reads exactly n bytes unless the file ends earlier; returns how many, or -1. */
static ssize_t read_all(int fd, char *out, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = read(fd, out + done, n - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

qsr_status qsr_read_file(qsr_arena *arena, const char *path, size_t limit, char **ret_text, size_t *ret_size, qsr_error *e)
{
    int fd = -1;
    size_t size = 0;
    qsr_status status = open_for_reading(path, &fd, &size, e);
    if (status) return status;
    if (size > limit) {
        char has[32], may[32];
        close(fd);
        return qsr_fail(e, QSR_E_INPUT, "%s is too large: %s, the limit is %s", path, qsr_size_text(size, has, sizeof has),
                        qsr_size_text(limit, may, sizeof may));
    }
    char *text = qsr_arena_alloc(arena, size + 1, 1);
    ssize_t got = read_all(fd, text, size);
    int number = errno;
    close(fd);
    if (got < 0) return qsr_fail(e, QSR_E_IO, "cannot read %s: %s", path, strerror(number));
    text[got] = 0;
    *ret_text = text;
    if (ret_size) *ret_size = (size_t)got;
    return QSR_OK;
}

static char *copy_text(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(qsr_xcalloc(n, 1), text, n);
}

qsr_status qsr_reader_open(qsr_reader *r, const char *path, qsr_error *e)
{
    *r = (qsr_reader){.fd = -1};
    qsr_status status = open_for_reading(path, &r->fd, &r->size, e);
    if (!status) r->path = copy_text(path);
    return status;
}

qsr_status qsr_reader_get(qsr_reader *r, void *bytes, size_t n, size_t *ret_n, qsr_error *e)
{
    ssize_t got = read_all(r->fd, bytes, n);
    if (got < 0) return qsr_fail_errno(e, "read", r->path);
    *ret_n = (size_t)got;
    return QSR_OK;
}

void qsr_reader_close(qsr_reader *r)
{
    if (r->fd >= 0) close(r->fd);
    free(r->path);
    *r = (qsr_reader){.fd = -1};
}

qsr_status qsr_writer_open(qsr_writer *w, const char *path, qsr_error *e)
{
    char *aside = qsr_xcalloc(strlen(path) + 32, 1);
    sprintf(aside, "%s.tmp-%ld", path, (long)getpid());
    *w = (qsr_writer){open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), copy_text(path), aside};
    if (w->fd >= 0) return QSR_OK;
    qsr_status status = qsr_fail_errno(e, "write", path);
    qsr_writer_abort(w);
    return status;
}

qsr_status qsr_writer_put(qsr_writer *w, const void *bytes, size_t n, qsr_error *e)
{
    const char *from = bytes;
    while (n) {
        ssize_t put = write(w->fd, from, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return qsr_fail_errno(e, "write", w->path);
        from += put;
        n -= (size_t)put;
    }
    return QSR_OK;
}

qsr_status qsr_writer_drain(qsr_writer *w, qsr_text *text, size_t from, qsr_error *e)
{
    if (text->length < from) return QSR_OK;
    qsr_status status = text->length ? qsr_writer_put(w, text->bytes, text->length, e) : QSR_OK;
    text->length = 0;
    return status;
}

qsr_status qsr_writer_patch(qsr_writer *w, size_t offset, const void *bytes, size_t n, qsr_error *e)
{
    const char *from = bytes;
    while (n) {
        ssize_t put = pwrite(w->fd, from, n, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return qsr_fail_errno(e, "write", w->path);
        from += put;
        offset += (size_t)put;
        n -= (size_t)put;
    }
    return QSR_OK;
}

/* A rename is durable once its folder is. Some file systems refuse fsync on folders; that is not an error of the user's. */
static void sync_folder_of(const char *path)
{
    qsr_arena arena = {0};
    int fd = open(qsr_path_folder(&arena, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    qsr_arena_free(&arena);
}

qsr_status qsr_writer_commit(qsr_writer *w, qsr_error *e)
{
    qsr_status status = QSR_OK;
    if (fsync(w->fd) != 0) status = qsr_fail_errno(e, "write", w->path);
    if (close(w->fd) != 0 && !status) status = qsr_fail_errno(e, "write", w->path);
    w->fd = -1;
    if (!status && rename(w->aside, w->path) != 0) status = qsr_fail_errno(e, "write", w->path);
    if (!status) {
        sync_folder_of(w->path);
        free(w->aside);
        w->aside = NULL;
    }
    qsr_writer_abort(w);
    return status;
}

void qsr_writer_abort(qsr_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    if (w->aside) unlink(w->aside);
    free(w->aside);
    free(w->path);
    *w = (qsr_writer){-1, NULL, NULL};
}

qsr_status qsr_write_file(const char *path, const void *bytes, size_t n, qsr_error *e)
{
    qsr_writer w;
    qsr_status status = qsr_writer_open(&w, path, e);
    if (status) return status;
    status = qsr_writer_put(&w, bytes, n, e);
    if (status) {
        qsr_writer_abort(&w);
        return status;
    }
    return qsr_writer_commit(&w, e);
}

qsr_status qsr_replace_file(const char *aside, const char *path, qsr_error *e)
{
    int fd = open(aside, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return qsr_fail_errno(e, "read", aside);
    qsr_status status = fsync(fd) == 0 ? QSR_OK : qsr_fail_errno(e, "write", aside);
    close(fd);
    if (!status && rename(aside, path) != 0) status = qsr_fail_errno(e, "write", path);
    if (!status) sync_folder_of(path);
    return status;
}

qsr_status qsr_mkdirs(const char *path, qsr_error *e)
{
    char *copy = copy_text(path);
    qsr_status status = QSR_OK;
    for (char *c = copy + (copy[0] == '/'); !status; c++) {
        if (*c && *c != '/') continue;
        char end = *c;
        *c = 0;
        if (*copy && mkdir(copy, 0777) != 0 && !(errno == EEXIST && qsr_is_folder(copy)))
            status = errno == EEXIST ? qsr_fail(e, QSR_E_IO, "cannot create folder %s: there is a file of that name", copy)
                                     : qsr_fail_errno(e, "create folder", copy); /* the part in the way */
        *c = end;
        if (!end) break;
    }
    free(copy);
    return status;
}

static int remove_entry(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about, (void)type, (void)walk;
    return remove(path);
}

qsr_status qsr_remove_tree(const char *path, qsr_error *e)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) return qsr_fail_errno(e, "remove", path);
    return QSR_OK;
}

qsr_status qsr_replace_folder(const char *aside, const char *path, qsr_error *e)
{
    if (rename(aside, path) != 0) {
        if (errno != ENOTEMPTY && errno != EEXIST) return qsr_fail_errno(e, "create", path);
        qsr_status status = qsr_remove_tree(path, e);
        if (status) return status;
        if (rename(aside, path) != 0) return qsr_fail_errno(e, "create", path);
    }
    sync_folder_of(path);
    return QSR_OK;
}

bool qsr_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

bool qsr_is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

const char *qsr_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *qsr_path_folder(qsr_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return qsr_arena_strdup(arena, ".");
    return qsr_arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

char *qsr_path_join(qsr_arena *arena, const char *folder, const char *path)
{
    if (path[0] == '/' || !folder[0] || strcmp(folder, ".") == 0) return qsr_arena_strdup(arena, path);
    return qsr_arena_printf(arena, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", path);
}

char *qsr_path_absolute(qsr_arena *arena, const char *path)
{
    char *real = realpath(path, NULL);
    if (real) {
        char *copy = qsr_arena_strdup(arena, real);
        free(real);
        return copy;
    }
    char here[4096];
    if (path[0] == '/' || !getcwd(here, sizeof here)) return qsr_arena_strdup(arena, path);
    return qsr_arena_printf(arena, "%s/%s", here, path);
}

static void digest_text(XXH128_hash_t hash, qsr_digest *ret)
{
    snprintf(ret->hex, sizeof ret->hex, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

qsr_digest qsr_digest_bytes(const void *bytes, size_t n)
{
    qsr_digest digest;
    digest_text(XXH3_128bits(bytes, n), &digest);
    return digest;
}

qsr_status qsr_digest_file(const char *path, qsr_digest *ret, qsr_error *e)
{
    enum { PIECE = 1 << 20 };
    qsr_reader r;
    qsr_status status = qsr_reader_open(&r, path, e);
    if (status) return status;
    XXH3_state_t *state = XXH3_createState();
    char *piece = qsr_xcalloc(PIECE, 1);
    size_t n = 1;
    XXH3_128bits_reset(state);
    while (!status && n) {
        status = qsr_reader_get(&r, piece, PIECE, &n, e);
        if (!status) XXH3_128bits_update(state, piece, n);
    }
    if (!status) digest_text(XXH3_128bits_digest(state), ret);
    free(piece);
    XXH3_freeState(state);
    qsr_reader_close(&r);
    return status;
}

uint64_t qsr_checksum(const void *bytes, size_t n) { return XXH3_64bits(bytes, n); }

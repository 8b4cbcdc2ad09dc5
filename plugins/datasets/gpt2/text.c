#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/paths.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/documents.h"
#include "format/npy.h"
#include "format/tokenize.h"
#include "format/tokens-out.h"

enum { KEEP_S = 30 * 24 * 3600, KEEP_ASIDE_S = 24 * 3600 };
static const double FIRST_NOTE_S = 2, NOTE_S = 10;

typedef struct {
    const qsr_host *host;
    qsr_tokenizer *tokenizer;
    qsr_strings texts; /* files */
    qsr_tokens_out out;
    double noted; /* when the user was last told */
    bool interrupted;
} work;

/* ---- which file -------------------------------------------------------------------------------------------------- */

/* Digests of files that did not change since this process read them: each cell of a grid asks again. */
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written, changed;
    qsr_digest digest;
} known_file;

static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static known_file *known;
static size_t n_known;

static bool is_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static bool find_known(const struct stat *about, qsr_digest *ret)
{
    bool found = false;
    pthread_mutex_lock(&known_lock);
    for (size_t i = 0; i < n_known && !found; i++) {
        const known_file *k = &known[i];
        found = k->device == about->st_dev && k->inode == about->st_ino && k->size == about->st_size &&
                is_time(k->written, about->st_mtim) && is_time(k->changed, about->st_ctim);
        if (found) *ret = k->digest;
    }
    pthread_mutex_unlock(&known_lock);
    return found;
}

static void remember(const struct stat *about, const qsr_digest *digest)
{
    pthread_mutex_lock(&known_lock);
    known = qsr_xrealloc(known, n_known + 1, sizeof *known);
    known[n_known++] = (known_file){about->st_dev, about->st_ino, about->st_size, about->st_mtim, about->st_ctim, *digest};
    pthread_mutex_unlock(&known_lock);
}

static qsr_status digest_file(const char *path, qsr_digest *ret, qsr_error *e)
{
    struct stat about;
    const bool there = stat(path, &about) == 0;
    if (there && find_known(&about, ret)) return QSR_OK;
    qsr_status status = qsr_digest_file(path, ret, e);
    if (!status && there) remember(&about, ret);
    return status;
}

/* Of what the ids depend on. A file's name counts for whether it is .txt or .jsonl, and for how it is compressed. */
static qsr_status digest(const work *w, qsr_digest *ret, qsr_error *e)
{
    qsr_text all = {0};
    qsr_digest one;
    qsr_status status = qsr_tokenizer_digest(w->tokenizer, &one, e);
    if (!status) qsr_text_add(&all, "%s\n", one.hex);
    for (size_t i = 0; i < w->texts.count && !status; i++) {
        const char *path = w->texts.items[i], *kind = qsr_documents_kind(path), *dot = strrchr(path, '.');
        status = digest_file(path, &one, e);
        if (!status) qsr_text_add(&all, "%s %s %s\n", kind ? kind : "", dot ? dot : "", one.hex);
    }
    if (!status) *ret = qsr_digest_bytes(all.bytes, all.length);
    qsr_text_free(&all);
    return status;
}

/* The first place that can be written; NULL: none. */
static const char *cache_folder(qsr_arena *arena)
{
    static const char *const places[][2] = {
        {"QUASAR_CACHE", "tokens"}, {"XDG_CACHE_HOME", "quasar/tokens"}, {"HOME", ".cache/quasar/tokens"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *root = getenv(places[i][0]);
        if (!root || !*root) continue;
        const char *folder = qsr_path_join(arena, root, places[i][1]);
        if (!qsr_mkdirs(folder, NULL) && access(folder, W_OK | X_OK) == 0) return folder;
    }
    return NULL;
}

/* Tells that it is used, for remove_old. */
static bool is_made(const char *path)
{
    qsr_npy npy;
    if (!qsr_exists(path) || qsr_npy_open(path, &npy, NULL)) return false;
    qsr_npy_close(&npy);
    (void)!utimensat(AT_FDCWD, path, NULL, 0);
    return true;
}

/* Files that nobody used for long, and what a killed process left behind. One that is in use stays whole for its users. */
static void remove_old(const char *folder)
{
    DIR *dir = opendir(folder);
    const time_t now = time(NULL);
    qsr_arena arena = {0};
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *path = qsr_path_join(&arena, folder, entry->d_name);
        const bool made = qsr_ends_with(entry->d_name, ".npy");
        struct stat about;
        if (!made && !strstr(entry->d_name, ".npy.tmp-") && !qsr_ends_with(entry->d_name, ".lock")) continue;
        if (stat(path, &about) == 0 && now - about.st_mtime > (made ? KEEP_S : KEEP_ASIDE_S)) unlink(path);
    }
    if (dir) closedir(dir);
    qsr_arena_free(&arena);
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

static qsr_status take_ids(void *arg, const uint32_t *ids, size_t n, qsr_error *e)
{
    work *w = arg;
    return qsr_tokens_out_put(&w->out, ids, n, e);
}

static qsr_status note(void *arg, const qsr_tokenize_state *s, qsr_error *e)
{
    work *w = arg;
    char done[32], all[32];
    const double now = qsr_clock();
    const qsr_host_stop *stop = w->host->extension(w->host, QSR_HOST_STOP);
    w->interrupted = stop && stop->asked(w->host);
    if (w->interrupted) return qsr_fail(e, QSR_E_IO, "interrupted while encoding text");
    if (now < w->noted) return QSR_OK;
    w->noted = now + NOTE_S;
    w->host->log(w->host, QSR_LOG_NOTICE, "encoding text: %s of %s read, %llu tokens",
                 qsr_size_text(s->read, done, sizeof done), qsr_size_text(s->size, all, sizeof all),
                 (unsigned long long)s->tokens);
    return QSR_OK;
}

static qsr_status encode(work *w, const char *path, qsr_error *e)
{
    const qsr_tokenize_sink sink = {w, take_ids, note};
    qsr_tokenize_state state;
    qsr_status status = qsr_tokens_out_open(&w->out, path, qsr_tokenizer_largest(w->tokenizer), e);
    if (status) return status;
    w->noted = qsr_clock() + FIRST_NOTE_S;
    status = qsr_tokenize(w->tokenizer, &w->texts, &sink, &state, e);
    if (status) {
        qsr_tokens_out_abort(&w->out);
        return status;
    }
    status = qsr_tokens_out_commit(&w->out, e);
    if (!status)
        w->host->log(w->host, QSR_LOG_INFO, "%llu documents, %llu tokens in %s", (unsigned long long)state.documents,
                     (unsigned long long)state.tokens, path);
    return status;
}

/* The lock of a file that is to be made; -1: cannot be had, and then two may do the same work, each in a file aside. */
static int take_lock(const work *w, const char *path)
{
    for (;;) {
        struct stat mine, there;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                w->host->log(w->host, QSR_LOG_NOTICE, "another process encodes the same text: waiting for it");
            if (flock(fd, LOCK_EX) != 0) {
                close(fd);
                return -1;
            }
        }
        if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino) return fd;
        close(fd); /* whoever had it has removed it */
    }
}

static qsr_status encode_into_cache(work *w, const char *folder, const char *path, qsr_arena *arena, qsr_error *e)
{
    const char *lock = qsr_arena_printf(arena, "%s.lock", path);
    const int fd = take_lock(w, lock);
    qsr_status status = QSR_OK;
    if (!is_made(path)) {
        remove_old(folder);
        status = encode(w, path, e);
        if (status == QSR_E_IO && !w->interrupted) qsr_context(e, "encoding text (QUASAR_CACHE names another folder for it)");
    }
    if (fd >= 0) {
        unlink(lock);
        close(fd);
    }
    return status;
}

static qsr_status encode_for_now(work *w, qsr_arena *arena, gpt2_text *ret, qsr_error *e)
{
    const char *root = getenv("TMPDIR");
    char *path = qsr_arena_printf(arena, "%s/quasar-tokens-XXXXXX.npy", root && *root ? root : "/tmp");
    const int fd = mkstemps(path, 4);
    if (fd < 0) return qsr_fail_errno(e, "write", path);
    close(fd);
    w->host->log(w->host, QSR_LOG_WARNING,
                 "no cache folder can be written, so text is encoded anew each time: set QUASAR_CACHE");
    qsr_status status = encode(w, path, e);
    if (status) unlink(path);
    ret->path = path;
    ret->temporary = true;
    return status;
}

static qsr_status find_or_make(work *w, qsr_arena *arena, gpt2_text *ret, qsr_error *e)
{
    qsr_digest key;
    const char *folder = cache_folder(arena);
    if (!folder) return encode_for_now(w, arena, ret, e);
    qsr_status status = digest(w, &key, e);
    if (status) return status;
    ret->path = qsr_arena_printf(arena, "%s/%s.npy", folder, key.hex);
    return is_made(ret->path) ? QSR_OK : encode_into_cache(w, folder, ret->path, arena, e);
}

qsr_status gpt2_text_encode(const qsr_host *host, const qsr_strings *texts, const char *folder, size_t vocabulary,
                            qsr_arena *arena, gpt2_text *ret, qsr_error *e)
{
    work w = {.host = host};
    *ret = (gpt2_text){0};
    qsr_status status = qsr_paths_expand(arena, texts->items, texts->count, &w.texts, e);
    if (!status) status = qsr_tokenizer_open(folder, &w.tokenizer, e);
    if (status) return status;
    ret->end = qsr_tokenizer_end(w.tokenizer);
    if (qsr_tokenizer_largest(w.tokenizer) >= vocabulary)
        status = qsr_fail(
            e, QSR_E_INPUT,
            "%s: ids up to %u, outside the model's vocabulary of %zu: do tokenizer and model belong together?",
            qsr_vocabulary_path(qsr_tokenizer_vocabulary(w.tokenizer)), qsr_tokenizer_largest(w.tokenizer), vocabulary);
    if (!status) status = find_or_make(&w, arena, ret, e);
    qsr_tokenizer_close(w.tokenizer);
    return status;
}

void gpt2_text_opened(const gpt2_text *t)
{
    if (t->temporary) unlink(t->path);
}

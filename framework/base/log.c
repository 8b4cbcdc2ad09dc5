#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t threshold = UINT32_MAX; /* not read yet */
static void (*hook_before)(void), (*hook_after)(void);

static bool no_notices;

void qsr_log_set_level(uint32_t level) { threshold = level; }

void qsr_log_without_notices(bool on) { no_notices = on; }

void qsr_log_set_hooks(void (*before)(void), void (*after)(void))
{
    hook_before = before;
    hook_after = after;
}

static uint32_t level_from_environment(void)
{
    const char *word = getenv("QUASAR_LOG");
    if (!word) return QSR_LOG_WARNING;
    if (strcmp(word, "debug") == 0) return QSR_LOG_DEBUG;
    if (strcmp(word, "info") == 0) return QSR_LOG_INFO;
    if (strcmp(word, "none") == 0) return QSR_LOG_NOTICE + 1;
    return QSR_LOG_WARNING;
}

void qsr_vlog(uint32_t level, const char *who, const char *fmt, va_list args)
{
    static const char *const names[] = {"debug", "info", "warning", "note"};
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    pthread_mutex_lock(&lock);
    if (threshold == UINT32_MAX) threshold = level_from_environment();
    if (level >= threshold && level <= QSR_LOG_NOTICE && !(no_notices && level == QSR_LOG_NOTICE)) {
        if (hook_before) hook_before();
        fprintf(stderr, "%s: %s%s%s\n", names[level], who ? who : "", who ? ": " : "", text);
        if (hook_after) hook_after();
    }
    pthread_mutex_unlock(&lock);
}

void qsr_log(uint32_t level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qsr_vlog(level, NULL, fmt, args);
    va_end(args);
}

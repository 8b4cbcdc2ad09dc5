/* base/log: the one place for lines that are not results. Library code logs; only cli/ decides what is shown.
 * QUASAR_LOG=debug|info|warning|none sets the threshold (default warning). */
#ifndef QSR_BASE_LOG_H
#define QSR_BASE_LOG_H
#include <stdbool.h>

#include "base/error.h"

void qsr_log(uint32_t level, const char *fmt, ...) QSR_PRINTF(2, 3); /* thread-safe; one line to stderr */
void qsr_vlog(uint32_t level, const char *who, const char *fmt, va_list args); /* "who: " before the text, unless NULL */
void qsr_log_set_level(uint32_t level);
void qsr_log_without_notices(bool); /* for --quiet: QSR_LOG_NOTICE is not shown */
/* Called before and after a line is written, so that a progress bar can step aside; NULL: none. */
void qsr_log_set_hooks(void (*before)(void), void (*after)(void));
#endif

/* base/clock: time that only goes forward, for phases and progress; wall time for manifests. */
#ifndef QSR_BASE_CLOCK_H
#define QSR_BASE_CLOCK_H
#include <stddef.h>
double qsr_clock(void); /* seconds since some moment */
const char *qsr_wall_time(char *buf, size_t n); /* "2026-11-22T20:49:00Z" into buf; returns buf */
#endif

#include "base/clock.h"

#include <time.h>

double qsr_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *qsr_wall_time(char *buf, size_t n)
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    if (!strftime(buf, n, "%Y-%m-%dT%H:%M:%SZ", &parts) && n) buf[0] = 0;
    return buf;
}

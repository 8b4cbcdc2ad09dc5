/* What tests that drive the program as a user does need: running it as a child, with its output caught. */
#ifndef QSR_TESTS_CHILD_H
#define QSR_TESTS_CHILD_H
#include <stdbool.h>

#include "base/text.h"

typedef struct {
    const char *folder;      /* where it runs */
    const char *const *argv; /* NULL-ended, argv[0] the program's path */
    const char *aside;       /* folder for its output; not below `folder` */
    bool as_nobody;          /* without root's right to open everything */
    unsigned most_seconds;   /* then it is killed, which counts as a crash */
} child;

typedef struct {
    int code;   /* exit code; -1: a signal ended it */
    int signal; /* 0: none */
    qsr_text out, err;
} ended;

ended run_child(const child *);
void free_ended(ended *);

/* $QUASAR_BUILD and $QUASAR_SOURCE, as set by make check, or the folders of this build. */
const char *build_folder(void);
const char *source_folder(void);
#endif

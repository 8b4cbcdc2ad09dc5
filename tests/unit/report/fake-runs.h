/* fake-runs: run folders as data: what the .runs files of tests/cases/report describe, written below a folder. Lines:
 *
 *     base KEY=VALUE ...        parameters of every run that follows
 *     run FOLDER STATUS         begins one; STATUS completed, failed or unfinished; its cell is FOLDER's last part
 *     set KEY=VALUE ...         its parameters
 *     metric NAME=VALUE ...     its metrics; VALUE null: not measured
 *     reason TEXT               of a failure */
#ifndef QSR_TESTS_FAKE_RUNS_H
#define QSR_TESTS_FAKE_RUNS_H
#include "base/arena.h"

/* The text of tests/cases/report/<name>. */
char *case_text(qsr_arena *, const char *name);
void write_fake_runs(const char *case_name, const char *folder);
/* One file below `folder`, whose folders are made. */
void write_below(const char *folder, const char *path, const char *text);
#endif

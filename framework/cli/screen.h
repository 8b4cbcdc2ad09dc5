/* cli/screen: a full screen of lines on a terminal, which is given back as it was, whatever ends the program but SIGKILL. */
#ifndef QSR_CLI_SCREEN_H
#define QSR_CLI_SCREEN_H
#include <stdbool.h>

#include "base/text.h"

typedef enum {
    QSR_SCREEN_TIME,   /* nothing happened */
    QSR_SCREEN_RESIZE, /* or it came back from being stopped: draw again */
    QSR_SCREEN_KEY,
    QSR_SCREEN_END /* Ctrl-C, or another signal that ends programs */
} qsr_screen_event;

bool qsr_screen_possible(void); /* standard output is a terminal that can do it */
/* One at a time in a process. */
void qsr_screen_open(void);
void qsr_screen_close(void);
void qsr_screen_size(unsigned *ret_columns, unsigned *ret_rows);
/* Shows the lines of `text` that fit, each cut to the width. */
void qsr_screen_show(const qsr_text *);
/* Waits for at most so many seconds. */
qsr_screen_event qsr_screen_wait(double seconds, char *ret_key);

/* Without a screen: the same signals, and nothing else. */
void qsr_signals_catch(void);
bool qsr_signals_ended(void);

/* The first `columns` characters of a line; a character counts as one column. Returns how many they are. */
unsigned qsr_screen_cut(const char *line, size_t n, unsigned columns, qsr_text *out);
#endif

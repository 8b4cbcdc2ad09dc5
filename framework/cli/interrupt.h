/* cli/interrupt: a command that ends in order. The first Ctrl-C (or SIGTERM, as batch systems send) asks it to, the second ends the
 * program at once. */
#ifndef QSR_CLI_INTERRUPT_H
#define QSR_CLI_INTERRUPT_H
#include <signal.h>

extern volatile sig_atomic_t qsr_interrupted; /* not 0: somebody asked */
void qsr_interrupt_listen(void);              /* from here on */
#endif

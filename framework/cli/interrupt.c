#include "cli/interrupt.h"

#include "plugin/host.h"

volatile sig_atomic_t qsr_interrupted;

static void interrupt(int number)
{
    (void)number;
    qsr_interrupted = 1;
}

void qsr_interrupt_listen(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    qsr_host_stop_on(&qsr_interrupted);
}

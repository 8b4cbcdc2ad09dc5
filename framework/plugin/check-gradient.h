/* plugin/check-gradient: an activation's backward and parameters. Private to plugin/check*.c. */
#ifndef QSR_PLUGIN_CHECK_GRADIENT_H
#define QSR_PLUGIN_CHECK_GRADIENT_H
#include "plugin/check-parts.h"

void qsr_check_activation_gradient(const qsr_check *);
#endif

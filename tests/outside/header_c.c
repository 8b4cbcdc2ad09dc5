/* tests/outside/header_c: quasar/plugin.h alone, as C11. */
#include <quasar/plugin.h>

extern int quasar_header_compiles_as_c;
int quasar_header_compiles_as_c = sizeof(qsr_abi) == 40 ? QSR_ABI_MAJOR : -1;

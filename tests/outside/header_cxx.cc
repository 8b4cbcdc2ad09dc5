// tests/outside/header_cxx: quasar/plugin.h alone, as C++17.
#include <quasar/plugin.h>

static_assert(sizeof(qsr_abi) == 40, "the frozen block has no padding");
int quasar_header_compiles_as_cxx = QSR_ABI_MAJOR;

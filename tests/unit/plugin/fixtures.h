/* tests/unit/plugin/fixtures: where the modules of tests/fixtures/ lie. */
#ifndef QSR_TESTS_FIXTURES_H
#define QSR_TESTS_FIXTURES_H
#include "base/arena.h"

/* "<build>/tests/fixtures/.libs/NAME.so" */
static inline const char *fixture(qsr_arena *arena, const char *name)
{
    const char *build = getenv("QUASAR_BUILD");
    return qsr_arena_printf(arena, "%s/tests/fixtures/.libs/%s.so", build ? build : QSR_BUILD_DIR, name);
}

/* "<build>/plugins/FOLDER/.libs/NAME.so": a plugin of this tree. */
static inline const char *built_plugin(qsr_arena *arena, const char *folder, const char *name)
{
    const char *build = getenv("QUASAR_BUILD");
    return qsr_arena_printf(arena, "%s/plugins/%s/.libs/%s.so", build ? build : QSR_BUILD_DIR, folder, name);
}
#endif

/* Names to files: folders in order, files that hold several plugins, near misses, refusals. */
#include "../unit.h"

#include <unistd.h>

#include "base/fs.h"
#include "fixtures.h"
#include "plugin/registry.h"

static qsr_arena arena;

/* <test folder>/<root>/<kind folder>/<file> as a copy of a module. */
static const char *place(const char *root, const char *folder, const char *file, const char *from)
{
    qsr_map map;
    const char *dir = qsr_arena_printf(&arena, "%s/%s/%s", test_folder(), root, folder);
    const char *path = qsr_arena_printf(&arena, "%s/%s", dir, file);
    assert_int_equal(qsr_mkdirs(dir, NULL), QSR_OK);
    assert_int_equal(qsr_map_open(from, &map, NULL), QSR_OK);
    assert_int_equal(qsr_write_file(path, map.bytes, map.size, NULL), QSR_OK);
    qsr_map_close(&map);
    return path;
}

static const char *root(const char *name) { return qsr_arena_printf(&arena, "%s/%s", test_folder(), name); }

static qsr_registry *open_two(const char *first, const char *second)
{
    const char *dirs[] = {first ? root(first) : NULL, second ? root(second) : NULL, NULL};
    unsetenv("QUASAR_PLUGIN_PATH");
    return qsr_registry_create(dirs);
}

static void finds_plugins_of_the_build_tree(void **state)
{
    (void)state;
    qsr_registry *r = open_two(NULL, NULL);
    qsr_error e;
    const qsr_found *found = qsr_registry_find(r, QSR_ACTIVATION, "topk", NULL, &e);
    assert_non_null(found);
    assert_string_equal(found->plugin->name, "topk");
    assert_true(qsr_ends_with(found->path, "/plugins/activations/.libs/topk.so"));
    assert_null(qsr_registry_find(r, QSR_LOSS, "topk", NULL, &e));
    assert_int_equal(e.code, QSR_OK);
    qsr_registry_free(r);
}

static void suggests_near_misses(void **state)
{
    (void)state;
    qsr_registry *r = open_two(NULL, NULL);
    const char *near = NULL;
    qsr_error e;
    assert_null(qsr_registry_find(r, QSR_ACTIVATION, "tpok", &near, &e));
    assert_int_equal(e.code, QSR_OK);
    assert_string_equal(near, "topk");
    assert_null(qsr_registry_find(r, QSR_ACTIVATION, "xyzzyxyzzy", &near, &e));
    assert_null(near);
    qsr_registry_free(r);
}

static void a_name_is_never_a_path(void **state)
{
    (void)state;
    place("paths", "activations", "good.so", fixture(&arena, "good"));
    qsr_registry *r = open_two("paths", NULL);
    qsr_error e;
    assert_null(qsr_registry_find(r, QSR_ACTIVATION, "../activations/good", NULL, &e));
    assert_null(qsr_registry_find(r, QSR_ACTIVATION, fixture(&arena, "good"), NULL, &e));
    assert_int_equal(e.code, QSR_OK);
    qsr_registry_free(r);
}

/* "abi" has no file of its own: it is looked for in the others of the folder. */
static void finds_a_plugin_in_a_file_of_another_name(void **state)
{
    (void)state;
    const char *path = place("several", "losses", "mine.so", fixture(&arena, "losses"));
    qsr_registry *r = open_two("several", NULL);
    qsr_error e;
    const qsr_found *found = qsr_registry_find(r, QSR_LOSS, "divides_by_block", NULL, &e);
    assert_non_null(found);
    assert_string_equal(found->path, path);
    const qsr_found *const *all;
    size_t n = qsr_registry_list(r, QSR_LOSS, &all), ours = 0;
    for (size_t i = 0; i < n; i++) ours += strcmp(all[i]->path, path) == 0;
    assert_int_equal(ours, 11);
    for (size_t i = 0; i + 1 < n; i++) assert_true(strcmp(all[i]->plugin->name, all[i + 1]->plugin->name) < 0);
    qsr_registry_free(r);
}

static void the_first_folder_wins(void **state)
{
    (void)state;
    const char *first = place("one", "activations", "abi.so", fixture(&arena, "good"));
    place("two", "activations", "abi.so", fixture(&arena, "short_ops"));
    qsr_registry *r = open_two("one", "two");
    qsr_error e;
    assert_string_equal(qsr_registry_find(r, QSR_ACTIVATION, "abi", NULL, &e)->path, first);
    assert_string_equal(qsr_registry_folders(r)[0], root("one"));
    qsr_registry_free(r);
    setenv("QUASAR_PLUGIN_PATH", qsr_arena_printf(&arena, ":%s::%s", root("one"), root("two")), 1);
    r = qsr_registry_create((const char *[]){root("two"), NULL});
    assert_string_equal(qsr_registry_folders(r)[0], root("two"));
    assert_string_equal(qsr_registry_folders(r)[1], root("one"));
    assert_non_null(qsr_registry_folders(r)[2]); /* built in; "two" is not there twice */
    assert_null(qsr_registry_folders(r)[3]);
    assert_true(qsr_starts_with(qsr_registry_find(r, QSR_ACTIVATION, "abi", NULL, &e)->path, root("two")));
    qsr_registry_free(r);
    unsetenv("QUASAR_PLUGIN_PATH");
}

static void a_refused_file_of_that_name_is_an_error(void **state)
{
    (void)state;
    place("refused", "activations", "old.so", fixture(&arena, "wrong_major"));
    place("refused", "activations", "lost.so", fixture(&arena, "losses"));
    qsr_registry *r = open_two("refused", NULL);
    qsr_error e;
    assert_null(qsr_registry_find(r, QSR_ACTIVATION, "old", NULL, &e));
    assert_int_equal(e.code, QSR_E_INPUT);
    assert_non_null(strstr(e.text, "plugin has major 2, host has 1"));
    const qsr_found *const *all;
    assert_true(qsr_registry_list(r, QSR_ACTIVATION, &all) >= 1);
    const char *const *texts = qsr_registry_refusals(r);
    assert_non_null(strstr(texts[0], "major 2"));
    assert_non_null(strstr(texts[1], "holds no activation (fine is a loss, which belongs into losses/)"));
    assert_null(texts[2]);
    qsr_registry_free(r);
}

static void resolves_names_with_their_kind(void **state)
{
    (void)state;
    qsr_registry *r = open_two(NULL, NULL);
    qsr_error e;
    assert_string_equal(qsr_registry_resolve(r, "loss/afa", &e)->plugin->name, "afa");
    assert_string_equal(qsr_registry_resolve(r, "topafa", &e)->plugin->name, "topafa");
    assert_null(qsr_registry_resolve(r, "metric/afa", &e));
    assert_string_equal(e.text, "'metric/afa' names no kind of plugin: write activation/NAME, loss/NAME or dataset/NAME");
    assert_null(qsr_registry_resolve(r, "activation/relo", &e));
    assert_true(qsr_starts_with(e.text, "no activation named 'relo'; did you mean 'relu'? (looked in /"));
    assert_null(qsr_registry_resolve(r, "mze", &e));
    assert_true(qsr_starts_with(e.text, "no plugin named 'mze'; did you mean 'mse'?"));
    qsr_registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_plugins_of_the_build_tree),
        cmocka_unit_test(suggests_near_misses),
        cmocka_unit_test(a_name_is_never_a_path),
        cmocka_unit_test(finds_a_plugin_in_a_file_of_another_name),
        cmocka_unit_test(the_first_folder_wins),
        cmocka_unit_test(a_refused_file_of_that_name_is_an_error),
        cmocka_unit_test(resolves_names_with_their_kind),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qsr_remove_tree(test_folder(), NULL);
    qsr_arena_free(&arena);
    return failed;
}

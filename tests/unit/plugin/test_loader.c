/* The loader against real files: what it accepts, what it refuses and with which words. */
#include "../unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "fixtures.h"
#include "plugin/loader.h"

static qsr_arena arena;

static void accepts_a_good_plugin_and_copies_its_tables(void **state)
{
    (void)state;
    const qsr_module *module = NULL;
    qsr_error e = {0};
    assert_int_equal(qsr_module_load(fixture(&arena, "good"), &module, &e), QSR_OK);
    assert_int_equal(module->count, 1);
    const qsr_plugin *p = module->plugins[0];
    assert_string_equal(p->name, "abi");
    assert_int_equal(p->abi.struct_size, sizeof(qsr_plugin));
    assert_int_equal(p->n_options, 1);
    assert_string_equal(p->options[0].name, "k");
    assert_non_null(((const qsr_activation_ops *)p->ops)->forward);
}

static void one_inode_is_one_module(void **state)
{
    (void)state;
    const qsr_module *one = NULL, *two = NULL;
    const char *link_path = qsr_path_join(&arena, test_folder(), "other-name.so");
    unlink(link_path);
    assert_int_equal(symlink(fixture(&arena, "good"), link_path), 0);
    assert_int_equal(qsr_module_load(fixture(&arena, "good"), &one, NULL), QSR_OK);
    assert_int_equal(qsr_module_load(link_path, &two, NULL), QSR_OK);
    assert_ptr_equal(one, two);
    unlink(link_path);
}

/* An older plugin's descriptor ends before `extension`, where this file holds an address that must never be called. */
static void reads_a_short_descriptor_as_zeroes(void **state)
{
    (void)state;
    const qsr_module *module = NULL;
    qsr_error e = {0};
    assert_int_equal(qsr_module_load(fixture(&arena, "short_struct"), &module, &e), QSR_OK);
    assert_null(module->plugins[0]->extension);
    assert_non_null(module->plugins[0]->ops);
}

static void reads_a_short_table_of_methods_as_zeroes(void **state)
{
    (void)state;
    const qsr_module *module = NULL;
    assert_int_equal(qsr_module_load(fixture(&arena, "short_ops"), &module, NULL), QSR_OK);
    const qsr_activation_ops *ops = module->plugins[0]->ops;
    assert_int_equal(ops->struct_size, offsetof(qsr_activation_ops, prune));
    assert_non_null(ops->forward);
    assert_null(ops->backward);
    assert_null(ops->end_batch);
}

static void a_file_may_hold_several(void **state)
{
    (void)state;
    const qsr_module *module = NULL;
    assert_int_equal(qsr_module_load(fixture(&arena, "losses"), &module, NULL), QSR_OK);
    assert_int_equal(module->count, 11);
    assert_string_equal(module->plugins[1]->name, "overwrites");
}

static void refuses_what_it_must_and_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"wrong_magic", "not a Quasar plugin: its descriptor starts with 0x12345678 instead of 0x52535175"},
        {"wrong_major", "plugin has major 2, host has 1; plugin has real size 8, host has 4; rebuild it"},
        {"newer_minor", "plugin has minor 99, host has 1"},
        {"no_symbol", "exports no qsr_plugin_entry"},
        {"long_struct", "plugin has descriptor size 4096, host has "},
        {"tiny_struct", "plugin has descriptor size 48, host has "},
        {"wrong_stride", "plugin has option size 100, host has "},
        {"wrong_layout", "plugin has layout \"f64-rowmajor\", host has \"f32-rowmajor\""},
        {"unknown_kind", "plugin has kind 7, host has 3"},
        {"unknown_need", "abi needs bit 39 (0x8000000000) of the host"},
        {"no_forward", "abi has no forward, which its kind requires"},
        {"bad_name", "the name '../Evil': names are [a-z][a-z0-9_]*"},
        {"none", "returns NULL for index 0"},
        {"endless", "holds two plugins named abi (entries 0 and 1)"},
        {"duplicate", "holds two plugins named abi"},
        {"wild_option", "option k of abi lies at 4096 of an options struct of 8 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const qsr_module *module = NULL;
        qsr_error e = {0};
        const char *path = fixture(&arena, cases[i].name);
        assert_int_equal(qsr_module_load(path, &module, &e), QSR_E_INPUT);
        assert_null(module);
        if (!strstr(e.text, cases[i].text)) fail_msg("%s: '%s' is not in '%s'", cases[i].name, cases[i].text, e.text);
        if (!strstr(e.text, qsr_path_base(path))) fail_msg("%s: the file is not named in '%s'", cases[i].name, e.text);
    }
}

static void refuses_files_that_are_none(void **state)
{
    (void)state;
    const qsr_module *module = NULL;
    qsr_error e = {0};
    assert_int_equal(qsr_module_load("/nowhere/x.so", &module, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "cannot load /nowhere/x.so: No such file or directory");
    assert_int_equal(qsr_module_load("/", &module, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "cannot load /: it is a folder, not a file");
    const char *path = qsr_path_join(&arena, test_folder(), "text.so");
    assert_int_equal(qsr_write_file(path, "hello", 5, NULL), QSR_OK);
    assert_int_equal(qsr_module_load(path, &module, &e), QSR_E_INPUT);
    assert_non_null(strstr(e.text, "it is no shared object"));
    path = qsr_path_join(&arena, test_folder(), "half.so"); /* dlopen alone would end in SIGBUS */
    char *bytes;
    size_t n;
    assert_int_equal(qsr_read_file(&arena, built_plugin(&arena, "activations", "topk"), 64 << 20, &bytes, &n, &e), QSR_OK);
    assert_int_equal(qsr_write_file(path, bytes, n / 4, NULL), QSR_OK);
    assert_int_equal(qsr_module_load(path, &module, &e), QSR_E_INPUT);
    assert_non_null(strstr(e.text, "it is truncated: segment"));
    unlink(path);
}

static void names_are_words_not_paths(void **state)
{
    (void)state;
    assert_true(qsr_plugin_name_ok("topk"));
    assert_true(qsr_plugin_name_ok("top_k2"));
    static const char *const bad[] = {"", "Topk", "2k", "top-k", "a/b", "..", "a b", "_a",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(qsr_plugin_name_ok(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_a_good_plugin_and_copies_its_tables),
        cmocka_unit_test(one_inode_is_one_module),
        cmocka_unit_test(reads_a_short_descriptor_as_zeroes),
        cmocka_unit_test(reads_a_short_table_of_methods_as_zeroes),
        cmocka_unit_test(a_file_may_hold_several),
        cmocka_unit_test(refuses_what_it_must_and_says_why),
        cmocka_unit_test(refuses_files_that_are_none),
        cmocka_unit_test(names_are_words_not_paths),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qsr_remove_tree(test_folder(), NULL);
    qsr_arena_free(&arena);
    return failed;
}

/* The conformance suite: every plugin of this tree passes it, and each broken fixture fails the check that is meant for it. */
#include "../unit.h"

#include <unistd.h>

#include "base/fs.h"
#include "fixtures.h"
#include "format/npy.h"
#include "plugin/check.h"
#include "plugin/elf.h"
#include "plugin/loader.h"

static qsr_arena arena;

static void show_failures(const qsr_check_report *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->lines[i].verdict == QSR_CHECK_FAIL || r->lines[i].verdict == QSR_CHECK_NOT_TESTED)
            print_error("%s: %s: %s: %s\n", r->lines[i].plugin, r->lines[i].name, qsr_check_verdict_name(r->lines[i].verdict),
                        r->lines[i].detail);
}

static qsr_check_report check_file(const char *path, const char *const *settings, size_t n)
{
    qsr_check_report report = {0};
    qsr_error e = {0};
    if (qsr_check_file(path, settings, n, &report, &e)) fail_msg("%s: %s", path, e.text);
    return report;
}

static const char *verdict_of(const qsr_check_report *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->lines[i].name, name) == 0) return qsr_check_verdict_name(r->lines[i].verdict);
    return "absent";
}

static void plugins_of_this_tree_keep_their_promises(void **state)
{
    (void)state;
    static const char *const all[][2] = {{"activations", "relu"}, {"activations", "topk"}, {"activations", "batchtopk"}, {"activations", "topafa"},
                                         {"activations", "jumprelu"}, {"losses", "mse"}, {"losses", "l1"}, {"losses", "l0"},
                                         {"losses", "afa"}, {"losses", "auxk"}, {"datasets", "synthetic"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qsr_check_report r = check_file(built_plugin(&arena, all[i][0], all[i][1]), NULL, 0);
        show_failures(&r);
        assert_int_equal(r.failures, 0);
        assert_true(r.count >= 15);
        qsr_check_report_free(&r);
    }
}

/* A dataset of files is checked with its path as a setting; without it the reason says what is missing. */
static void settings_reach_the_plugin(void **state)
{
    (void)state;
    float rows[7 * 3];
    for (size_t i = 0; i < 21; i++) rows[i] = (float)i;
    const char *path = qsr_path_join(&arena, test_folder(), "rows.npy");
    assert_int_equal(qsr_write_file(path, "", 0, NULL), QSR_OK);
    assert_int_equal(qsr_npy_write(path, QSR_F32, 2, (size_t[]){7, 3}, rows, NULL), QSR_OK);
    const char *file = built_plugin(&arena, "datasets", "activations");
    const char *setting = qsr_arena_printf(&arena, "path=%s", path);
    qsr_check_report r = check_file(file, &setting, 1);
    show_failures(&r);
    assert_int_equal(r.failures, 0);
    qsr_check_report_free(&r);
    qsr_error e = {0};
    file = built_plugin(&arena, "datasets", "gpt2");
    assert_int_equal(qsr_check_file(file, NULL, 0, &r, &e), QSR_E_OPTION);
    assert_string_equal(e.text, "dataset/gpt2 needs model, for which there is no value to try: give model=VALUE");
    qsr_check_report_free(&r);
}

static void the_model_dataset_keeps_its_promises(void **state)
{
    (void)state;
    const char *source = getenv("QUASAR_SOURCE");
    const char *model = qsr_arena_printf(&arena, "%s/experiments/data/tiny-gpt2", source ? source : QSR_SOURCE_DIR);
    const char *settings[] = {qsr_arena_printf(&arena, "model=%s", model), qsr_arena_printf(&arena, "tokens=%s/tokens.npy", model),
                              "hook.layer=1", "context=16", "forward_contexts=2"};
    qsr_check_report r = check_file(built_plugin(&arena, "datasets", "gpt2"), settings, 5);
    show_failures(&r);
    assert_int_equal(r.failures, 0);
    assert_string_equal(verdict_of(&r, "taps"), "ok");
    qsr_check_report_free(&r);
}

static void settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *text;
    } cases[] = {{"k", "'k' is no setting: write option=value"},
                 {"bandwith=3", "no option 'bandwith'; did you mean 'bandwidth'?"},
                 {"bandwidth=0", "bandwidth: "}};
    for (size_t i = 0; i < 3; i++) {
        qsr_check_report r = {0};
        qsr_error e = {0};
        assert_int_equal(qsr_check_file(built_plugin(&arena, "activations", "jumprelu"), &cases[i].setting, 1, &r, &e), QSR_E_OPTION);
        if (!qsr_starts_with(e.text, cases[i].text)) fail_msg("'%s' instead of '%s'", e.text, cases[i].text);
        qsr_check_report_free(&r);
    }
}

static void broken_plugins_fail_the_check_meant_for_them(void **state)
{
    (void)state;
    static const struct {
        const char *file, *plugin, *check;
    } cases[] = {
        {"activations", "fine", NULL},
        {"activations", "keeps_scratch", "same bytes twice"},
        {"activations", "wrong_gradient", "gradient"},
        {"activations", "skips_entries", "gradient"},
        {"activations", "not_exact", "gradient"},
        {"activations", "no_kind", "kind of gradient"},
        {"activations", "writes_past_end", "manners"},
        {"activations", "changes_input", "manners"},
        {"activations", "changes_options", "manners"},
        {"activations", "nondeterministic", "same bytes twice"},
        {"activations", "coupled", "rows"},
        {"activations", "descending", "manners"},
        {"activations", "reads_padding", "manners"},
        {"activations", "silent_create", "reasons"},
        {"activations", "wrong_nomem", "refused memory"},
        {"activations", "careless_load", "state records"},
        {"activations", "deaf_load", "state"},
        {"activations", "half_state", "create"},
        {"activations", "forgets_gain", "gradient"},
        {"activations", "lying_selector", "selector"},
        {"activations", "param_outside", "parameters"},
        {"activations", "hasty_prune", "early prune"},
        {"activations", "out_of_range", "options"},
        {"activations", "overlapping", "options"},
        {"losses", "fine", NULL},
        {"losses", "overwrites", "adds"},
        {"losses", "wrong_gradient", "gradient to values"},
        {"losses", "divides_by_block", "rows"},
        {"losses", "detached", "gradient to values"},
        {"losses", "changes_code", "manners"},
        {"losses", "foresees", NULL},
        {"losses", "forgets_latents", "outlook"},
        {"losses", "asks_for_more", "outlook"},
        {"losses", "foresees_nothing", "outlook"},
        {"losses", "writes_beyond", "outlook"},
        {"datasets", "fine", NULL},
        {"datasets", "company", "alone and in company"},
        {"datasets", "not_finite", "manners"},
        {"datasets", "past_end", "manners"},
        {"datasets", "no_width", "describe"},
        {"datasets", "ends_early", "manners"},
        {"datasets", "crossed", "taps"},
        {"datasets", "mixed", "taps"},
        {"datasets", "moody", "tokens"},
        {"datasets", "unsure", "tokens"},
        {"datasets", "loud", "tokens"},
        {"datasets", "insistent", "tokens"},
        {"datasets", "spliced", NULL},
        {"datasets", "drifting", "splice"},
        {"datasets", "gregarious", "splice"},
        {"datasets", "deaf", "splice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const qsr_module *module = NULL;
        qsr_error e = {0};
        qsr_check_report r = {0};
        assert_int_equal(qsr_module_load(fixture(&arena, cases[i].file), &module, &e), QSR_OK);
        const qsr_plugin *plugin = NULL;
        for (size_t p = 0; p < module->count; p++)
            if (strcmp(module->plugins[p]->name, cases[i].plugin) == 0) plugin = module->plugins[p];
        assert_non_null(plugin);
        if (qsr_check_plugin(&(qsr_found){plugin, module->path}, NULL, 0, &r, &e)) fail_msg("%s: %s", cases[i].plugin, e.text);
        if (!cases[i].check) show_failures(&r);
        if (!cases[i].check) assert_int_equal(r.failures, 0);
        else if (strcmp(verdict_of(&r, cases[i].check), "FAIL") != 0)
            fail_msg("%s/%s: %s is '%s'", cases[i].file, cases[i].plugin, cases[i].check, verdict_of(&r, cases[i].check));
        qsr_check_report_free(&r);
    }
}

static void hears_what_a_plugin_prints_at_load(void **state)
{
    (void)state;
    qsr_check_report r = check_file(fixture(&arena, "shouts"), NULL, 0);
    assert_string_equal(verdict_of(&r, "silent at load"), "FAIL");
    assert_string_equal(verdict_of(&r, "one exported symbol"), "ok");
    assert_int_equal(r.failures, 1);
    qsr_check_report_free(&r);
}

static void counts_exported_symbols(void **state)
{
    (void)state;
    qsr_check_report r = check_file(fixture(&arena, "exports_more"), NULL, 0);
    assert_string_equal(verdict_of(&r, "one exported symbol"), "FAIL");
    qsr_check_report_free(&r);
    qsr_text names = {0};
    size_t n;
    assert_int_equal(qsr_elf_exports(fixture(&arena, "good"), &names, &n, NULL), QSR_OK);
    assert_string_equal(names.bytes, "qsr_plugin_entry");
    qsr_text_free(&names);
}

/* A damaged file may not lead the reader outside of it: every prefix, and every byte of the header set to 255. */
static void reads_damaged_elf_files_safely(void **state)
{
    (void)state;
    qsr_map map;
    assert_int_equal(qsr_map_open(fixture(&arena, "good"), &map, NULL), QSR_OK);
    const char *path = qsr_path_join(&arena, test_folder(), "damaged.so");
    unsigned char *bytes = qsr_xcalloc(map.size, 1);
    for (size_t i = 0; i < 64 + 40; i++) {
        size_t size = i < 64 ? map.size : map.size * (i - 64) / 40, n;
        memcpy(bytes, map.bytes, map.size);
        if (i < 64) bytes[i] = 255;
        qsr_text names = {0};
        assert_int_equal(qsr_write_file(path, bytes, size, NULL), QSR_OK);
        qsr_status status = qsr_elf_exports(path, &names, &n, NULL);
        assert_true(status == QSR_OK || status == QSR_E_INPUT);
        qsr_text_free(&names);
    }
    free(bytes);
    unlink(path);
    qsr_map_close(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugins_of_this_tree_keep_their_promises),
        cmocka_unit_test(settings_reach_the_plugin),
        cmocka_unit_test(the_model_dataset_keeps_its_promises),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(broken_plugins_fail_the_check_meant_for_them),
        cmocka_unit_test(hears_what_a_plugin_prints_at_load),
        cmocka_unit_test(counts_exported_symbols),
        cmocka_unit_test(reads_damaged_elf_files_safely),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qsr_remove_tree(test_folder(), NULL);
    qsr_arena_free(&arena);
    return failed;
}

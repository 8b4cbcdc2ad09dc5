/* Published runs: the paper's own exports, and files that are none. */
#include "../unit.h"
#include "base/fs.h"
#include "report/overlay.h"

static qsr_arena arena;

static const char *value_of(const qsr_published *run, const char *key)
{
    for (size_t i = 0; i < run->n_parameters; i++)
        if (strcmp(run->parameters[i].key, key) == 0) return run->parameters[i].text;
    return "nothing";
}

static void check_run(const qsr_published *run, const char *layer, const char *plugin, const char *k, const char *loss,
                      const char *coeff, double l0, double mse_norm)
{
    assert_string_equal(value_of(run, "dataset.hook.layer"), layer);
    assert_string_equal(value_of(run, "dataset.hook.site"), "resid_pre");
    assert_string_equal(value_of(run, "sae.d_sae"), "12288");
    assert_string_equal(value_of(run, "activation.plugin"), plugin);
    assert_string_equal(value_of(run, "activation.k"), k);
    assert_string_equal(value_of(run, "losses.afa"), loss);
    assert_string_equal(value_of(run, "losses.afa.coeff"), coeff);
    assert_int_equal(run->n_measures, 3);
    assert_string_equal(run->measures[0].name, "l0");
    assert_string_equal(run->measures[1].name, "mse_norm");
    assert_true(run->measures[0].value == l0 && run->measures[1].value == mse_norm);
    assert_string_equal(run->measures[2].name, "mdl_bits_naive");
    assert_close(run->measures[2].value, l0 * (7 + log2(12288)), 1e-15);
}

/* The run of an activation with the smallest l2_loss. */
static const qsr_published *best_of(const qsr_overlay *all, const char *plugin)
{
    const qsr_published *best = NULL;
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(value_of(&all->runs[i], "activation.plugin"), plugin) == 0 &&
            (!best || all->runs[i].measures[1].value < best->measures[1].value))
            best = &all->runs[i];
    return best;
}

/* The best cells by l2_loss, and their bits to the digits that the paper's figures have. */
static void best_cells_have_the_papers_bits(void **state)
{
    (void)state;
    static const struct {
        const char *file, *plugin;
        double l0, bits;
    } known[] = {{"gpt2_layer6_runs.csv", "batchtopk", 1024, 21079.0},
                 {"gpt2_layer6_runs.csv", "topafa", 2037.28759765625, 41937.5},
                 {"gpt2_layer6_runs.csv", "topk", 1023.493408203125, 21068.6},
                 {"gpt2_layer7_runs.csv", "batchtopk", 2957.234619140625, 60874.6},
                 {"gpt2_layer7_runs.csv", "topafa", 1930.104248046875, 39731.1},
                 {"gpt2_layer7_runs.csv", "topk", 2957.234619140625, 60874.6}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        qsr_overlay all;
        const char *path = qsr_arena_printf(&arena, "%s/tests/golden/paper/%s", getenv("QUASAR_SOURCE"), known[i].file);
        assert_int_equal(qsr_overlay_read(path, &arena, &all, NULL), QSR_OK);
        const qsr_published *best = best_of(&all, known[i].plugin);
        assert_true(best->measures[0].value == known[i].l0);
        assert_true(fabs(best->measures[2].value - known[i].bits) <= 0.05); /* they were rounded to a tenth */
    }
}

static void reads_the_papers_runs(void **state)
{
    (void)state;
    qsr_overlay six, seven;
    const char *folder = qsr_arena_printf(&arena, "%s/tests/golden/paper", getenv("QUASAR_SOURCE"));
    assert_int_equal(qsr_overlay_read(qsr_path_join(&arena, folder, "gpt2_layer6_runs.csv"), &arena, &six, NULL), QSR_OK);
    assert_int_equal(qsr_overlay_read(qsr_path_join(&arena, folder, "gpt2_layer7_runs.csv"), &arena, &seven, NULL), QSR_OK);
    /* Of the paper's 69 runs: 9 k for each of two activations and 5 coefficients, for each layer. */
    assert_int_equal(six.count, 23);
    assert_int_equal(seven.count, 23);
    check_run(&six.runs[0], "6", "topk", "64", "off", "nothing", 63.918701171875, 0.05126868188381195);
    check_run(&six.runs[6], "6", "topafa", "nothing", "on", "0.0078125", 315.17236328125, 0.13210296630859375);
    check_run(&six.runs[21], "6", "topafa", "nothing", "on", "0.041666666666666664", 2132.43505859375,
              0.0002136224356945604);
    check_run(&seven.runs[3], "7", "batchtopk", "64", "off", "nothing", seven.runs[3].measures[0].value,
              seven.runs[3].measures[1].value);
}

static void refuses_other_files(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"a,b\n1,2\n", ":1: there is no column 'Name'; a W&B export has Name, l0_norm, l2_loss, afa_coeff"},
        {"Name,l0_norm,l2_loss\nmy run,1,2\n", ":2: the name 'my run' is not <hook>_<d_sae>_<activation>_<k>_<afa_coeff>"},
        {"Name,l0_norm,l2_loss\nh_12_topk_x_0.0,1,2\n",
         ":2: the name 'h_12_topk_x_0.0' is not <hook>_<d_sae>_<activation>_<k>_<afa_coeff>"},
        {"Name,l0_norm,l2_loss\nh_12_topk_4_0.0,1,2\nh_12_topk_4_0.0,one,2\n",
         ":3: l0_norm is 'one', but must be a number"},
        {"Name,l0_norm,l2_loss\nh_12_topk_4_0.0,,2\nmy run,1,2\n", ":2: 'h_12_topk_4_0.0' has no l0_norm"},
        {"", ": the file is empty"},
    };
    const char *path = qsr_arena_printf(&arena, "%s/bad.csv", test_folder());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_overlay overlay;
        qsr_error e = {0};
        assert_int_equal(qsr_write_file(path, bad[i][0], strlen(bad[i][0]), NULL), QSR_OK);
        assert_int_equal(qsr_overlay_read(path, &arena, &overlay, &e), QSR_E_INPUT);
        assert_string_equal(e.text, qsr_arena_printf(&arena, "%s%s", path, bad[i][1]));
    }
}

/* The coefficient is the column's where there is one, the name's otherwise; an empty measure is none. Rows of
 * other runs, or without l0, are left out. */
static void takes_what_is_there(void **state)
{
    (void)state;
    static const char text[] = "l2_loss,Name,l0_norm\n,some_hook_64_topafa_0_0.25,12\nNaN,some_hook_64_relu_0_0.0,7\n1,my other run,7\n1,h_64_relu_0_0.0,NaN\n";
    const char *path = qsr_arena_printf(&arena, "%s/some.csv", test_folder());
    qsr_overlay overlay;
    assert_int_equal(qsr_write_file(path, text, strlen(text), NULL), QSR_OK);
    assert_int_equal(qsr_overlay_read(path, &arena, &overlay, NULL), QSR_OK);
    assert_int_equal(overlay.count, 2);
    assert_string_equal(value_of(&overlay.runs[0], "losses.afa.coeff"), "0.25");
    assert_string_equal(value_of(&overlay.runs[0], "dataset.hook.layer"), "nothing");
    assert_int_equal(overlay.runs[0].n_measures, 2);
    assert_close(overlay.runs[0].measures[1].value, 12 * (7 + 6), 1e-15); /* log2 64 = 6 */
    assert_string_equal(value_of(&overlay.runs[1], "losses.afa"), "off");
    assert_int_equal(overlay.runs[1].n_measures, 2); /* l0 and its bits */
}

static int clean(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_papers_runs),
        cmocka_unit_test(best_cells_have_the_papers_bits),
        cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(takes_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

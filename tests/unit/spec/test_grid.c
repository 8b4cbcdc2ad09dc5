#include "../unit.h"
#include "base/log.h"
#include "fake.h"
#include "spec/grid.h"

#define BASE "dataset: {plugin: synthetic}\nsae: {d_sae: 64}\nactivation: {plugin: topk, k: 4}\ntrain: {tokens: 8192}\n"

static qsr_grid *try_load(const char *text, const char *const *overrides, size_t n, qsr_text *ret_problems)
{
    qsr_problems problems = {0};
    qsr_grid *grid = NULL;
    qsr_status status = qsr_grid_load_text("dir/test.yaml", text, strlen(text), overrides, n, &fake_env, &grid, &problems);
    assert_int_equal(status == QSR_OK, grid != NULL);
    assert_int_equal(status == QSR_OK, problems.count == 0);
    qsr_problems_write(&problems, ret_problems);
    qsr_problems_free(&problems);
    return grid;
}

static qsr_grid *load(const char *text)
{
    qsr_text problems = {0};
    qsr_grid *grid = try_load(text, NULL, 0, &problems);
    if (!grid) fail_msg("%s", problems.bytes);
    qsr_text_free(&problems);
    return grid;
}

static void assert_refused(const char *text, const char *message)
{
    qsr_text problems = {0};
    assert_null(try_load(text, NULL, 0, &problems));
    assert_string_equal(problems.bytes, message);
    qsr_text_free(&problems);
}

static void put_numbers(qsr_text *out, int from, int to)
{
    for (int i = from; i <= to; i++) qsr_text_add(out, "%s%d", i == from ? "[" : ", ", i);
    qsr_text_puts(out, "]");
}

static int64_t k_of(const qsr_spec *cell) { return ((const struct fake_topk *)cell->activation.values)->k; }

static void assert_written_out(const qsr_spec *cell, const char *text)
{
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    assert_int_equal(qsr_spec_load_text("dir/test.yaml", text, strlen(text), NULL, 0, &fake_env, &spec, &problems), QSR_OK);
    assert_string_equal(cell->id, spec->id);
    qsr_spec_free(spec);
}

/* ---- cells ----------------------------------------------------------------------------------------------------------- */

static void a_cell_is_the_spec_written_out(void **state)
{
    (void)state;
    qsr_grid *grid = load("seed: 49\n" BASE "losses: {mse: {}, auxk: {coeff: 1/32}}\ngrid:\n"
                          "  - { activation.plugin: [topk, batchtopk], activation.k: [4, 8] }\n"
                          "  - { activation.plugin: topafa, losses.afa.coeff: 1/128, losses.auxk: off }\nseeds: [1, 2]\n");
    assert_int_equal(grid->n, 10);
    assert_string_equal(grid->name, "test");
    assert_string_equal(grid->path, "dir/test.yaml");
    assert_written_out(grid->cells[7], "seed: 2\ndataset: {plugin: synthetic}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                                       "activation: {plugin: batchtopk, k: 8}\nlosses: {mse: {}, auxk: {coeff: 1/32}}\n");
    assert_written_out(grid->cells[8], "seed: 1\ndataset: {plugin: synthetic}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                                       "activation: {plugin: topafa}\nlosses: {mse: {}, afa: {coeff: 1/128}}\n");
    qsr_grid_free(grid);
}

static void a_spec_alone_is_its_only_cell(void **state)
{
    (void)state;
    qsr_grid *grid = load(BASE);
    assert_false(grid->swept);
    assert_int_equal(grid->n, 1);
    assert_int_equal(grid->n_keys, 0);
    assert_string_equal(grid->cells[0]->id, "topk-k4-64-synthetic-337218fece34"); /* as test_spec has it */
    assert_string_equal(grid->base->id, grid->cells[0]->id);
    qsr_grid_free(grid);
    grid = load(BASE "seeds: 0\n");
    assert_true(grid->swept);
    assert_string_equal(grid->cells[0]->id, "topk-k4-64-synthetic-337218fece34"); /* 0 is the default */
    qsr_grid_free(grid);
}

static void later_keys_vary_faster(void **state)
{
    (void)state;
    qsr_grid *grid =
        load(BASE "grid: [{activation.k: [1, 2], dataset.seed: [3, 4, 5]}, {activation.k: [9]}]\nseeds: [6, 7]\n");
    assert_int_equal(grid->n, 14);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(k_of(grid->cells[i]), 1 + i / 6);
        assert_int_equal(grid->cells[i]->data.seed, 3 + i / 2 % 3);
        assert_int_equal(grid->cells[i]->seed, 6 + i % 2);
        assert_int_equal(grid->block_of[i], 0);
    }
    assert_int_equal(grid->block_of[12], 1);
    assert_int_equal(grid->blocks[0].cells, 12);
    assert_int_equal(grid->blocks[1].cells, 2);
    assert_string_equal(grid->keys[0], "activation.k");
    assert_string_equal(grid->keys[1], "dataset.seed");
    assert_string_equal(grid->keys[2], "seed");
    assert_string_equal(grid->values[13 * 3], "9");
    assert_string_equal(grid->values[13 * 3 + 1], "0"); /* not an axis of that block, but a value of the cell */
    assert_string_equal(grid->values[13 * 3 + 2], "7");
    qsr_grid_free(grid);
}

static void the_first_of_equal_cells_stays(void **state)
{
    (void)state;
    qsr_grid *grid = load(BASE "grid: [{activation.k: [8, 4, 8]}, {train.log_every: [1, 2], activation.k: [4, 16]}]\n");
    assert_int_equal(grid->n, 3);
    assert_int_equal(grid->n_merged, 4);
    assert_int_equal(k_of(grid->cells[0]), 8);
    assert_int_equal(k_of(grid->cells[1]), 4);
    assert_int_equal(k_of(grid->cells[2]), 16);
    assert_int_equal(grid->merged[0], 1);
    assert_int_equal(grid->merged[1], 2);
    assert_int_equal(grid->merged[2], 1);
    assert_int_equal(grid->block_of[1], 0);
    assert_int_equal(grid->block_of[2], 1);
    assert_int_equal(grid->cells[1]->train.log_every, 10);
    assert_int_equal(grid->cells[2]->train.log_every, 1);
    qsr_grid_free(grid);
}

static void cells_are_found_by_id_and_by_hash(void **state)
{
    (void)state;
    qsr_text text = {0};
    qsr_text_puts(&text, BASE "seeds: ");
    put_numbers(&text, 1, 40);
    qsr_grid *grid = load(text.bytes);
    qsr_text_free(&text);
    for (size_t i = 0; i < grid->n; i++) {
        const char *id = grid->cells[i]->id;
        assert_int_equal(qsr_grid_find(grid, id), i);
        assert_int_equal(qsr_grid_find(grid, strrchr(id, '-') + 1), i);
    }
    assert_int_equal(qsr_grid_find(grid, ""), grid->n);
    assert_int_equal(qsr_grid_find(grid, "topk"), grid->n);
    size_t ambiguous = 0; /* 40 cells and 16 digits */
    for (const char *digit = "0123456789abcdef"; *digit; digit++)
        ambiguous += qsr_grid_find(grid, (char[]){*digit, 0}) == grid->n;
    assert_true(ambiguous > 0);
    qsr_grid_free(grid);
}

static void knows_where_cells_differ(void **state)
{
    (void)state;
    qsr_grid *grid =
        load(BASE "grid: [{activation.k: 4, train.lr: [1e-3, 1/1000]}, {activation.plugin: relu, train.lr: 1e-3}]\n");
    assert_int_equal(grid->n_keys, 3);
    assert_string_equal(grid->keys[0], "activation.k");
    assert_true(qsr_grid_differs(grid, 0)); /* relu has none */
    assert_null(grid->values[3]);
    assert_false(qsr_grid_differs(grid, 1));
    assert_true(qsr_grid_differs(grid, 2));
    qsr_grid_free(grid);
}

/* ---- places ---------------------------------------------------------------------------------------------------------- */

static void values_remember_their_place_in_the_grid(void **state)
{
    (void)state;
    qsr_problems problems = {0};
    qsr_text out = {0};
    qsr_error e = {0};
    qsr_grid *grid = load(BASE "grid:\n  - activation.k: [4,\n      8]\n    losses.afa: {coeff: [1]}\nseeds: [1, 2]\n");
    const qsr_spec *cell = grid->cells[3];
    assert_int_equal(cell->activation.marks[0].line, 7);
    assert_int_equal(cell->activation.marks[0].col, 7);
    assert_int_equal(qsr_spec_place(cell, "seed").line, 9);
    assert_int_equal(qsr_spec_place(cell, "seed").col, 12);
    assert_int_equal(qsr_spec_place(cell, "train.tokens").line, 4);
    assert_int_equal(grid->blocks[0].mark.line, 6);
    qsr_fail_option(&e, QSR_E_OPTION, "k", "k=8 exceeds d_sae=2");
    qsr_spec_blame(cell, &cell->activation, &e, &problems);
    qsr_fail_option(&e, QSR_E_OPTION, "norm", "unheard of");
    qsr_spec_blame(cell, &cell->losses[1], &e, &problems);
    qsr_grid_free(grid); /* problems outlive it */
    qsr_problems_write(&problems, &out);
    assert_string_equal(out.bytes, "dir/test.yaml:7:7: activation.k: k=8 exceeds d_sae=2\n    8]\n    ^\n"
                                   "dir/test.yaml:8:18: losses.afa.norm: unheard of\n"
                                   "    losses.afa: {coeff: [1]}\n                 ^~~~~\n");
    qsr_text_free(&out);
    qsr_problems_free(&problems);
}

static void paths_are_resolved_where_they_were_written(void **state)
{
    static const char *const overrides[] = {"dataset.tokens=[a, [b, c]]"};
    qsr_text problems = {0};
    (void)state;
    qsr_grid *grid = try_load("dataset: {plugin: gpt2, model: m, hook.layer: 1}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                              "activation: {plugin: relu}\ngrid: {dataset.model: [x, /y]}\n",
                              overrides, 1, &problems);
    assert_non_null(grid);
    assert_int_equal(grid->n, 4);
    const struct fake_gpt2 *first = grid->cells[0]->dataset.values, *last = grid->cells[3]->dataset.values;
    assert_string_equal(first->model, "dir/x");
    assert_string_equal(first->tokens.items[0], "a");
    assert_string_equal(last->model, "/y");
    assert_int_equal(last->tokens.count, 2);
    assert_string_equal(last->tokens.items[1], "c");
    qsr_grid_free(grid);
}

static void dropped_options_are_noted_with_their_place(void **state)
{
    (void)state;
    qsr_grid *grid = load("dataset: {plugin: synthetic}\nsae: {d_sae: 64}\nactivation: {plugin: topk, k: 4, temp: 1/2}\n"
                          "train: {tokens: 8192}\ngrid: [{activation.plugin: [batchtopk, relu]}]\nseeds: [1, 2]\n");
    assert_int_equal(grid->n, 4);
    assert_int_equal(grid->n_drops, 3);
    assert_string_equal(grid->drops[0].path, "activation.temp");
    assert_string_equal(grid->drops[0].text, "1/2");
    assert_string_equal(grid->drops[0].from, "topk");
    assert_string_equal(grid->drops[0].to, "batchtopk");
    assert_int_equal(grid->drops[0].cells, 2);
    assert_int_equal(grid->drops[0].mark.line, 3);
    assert_int_equal(grid->drops[0].mark.col, 40);
    assert_string_equal(grid->drops[1].path, "activation.k");
    assert_string_equal(grid->drops[1].to, "relu");
    qsr_grid_free(grid);
}

static void the_base_may_be_no_experiment(void **state)
{
    (void)state;
    qsr_grid *grid = load("dataset: {plugin: synthetic}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                          "grid: {activation: [{plugin: relu}, {plugin: topafa}]}\n");
    assert_null(grid->base);
    assert_non_null(grid->tree);
    assert_int_equal(grid->n, 2);
    assert_string_equal(grid->values[0], "{plugin: relu}");
    qsr_grid_free(grid);
    grid = load(BASE "grid: {activation.k: [1, 2]}\n");
    assert_string_equal(grid->base->id, "topk-k4-64-synthetic-337218fece34");
    qsr_grid_free(grid);
}

static void deprecated_options_are_noticed_in_their_cells(void **state)
{
    (void)state;
    qsr_log_set_level(QSR_LOG_WARNING + 1); /* it warns, once */
    qsr_grid *grid = load(
        BASE "grid: [{activation: {plugin: [topk, batchtopk]}}, {activation: {plugin: batchtopk, start: [0.5, 1]}}]\n");
    qsr_log_set_level(QSR_LOG_WARNING);
    assert_int_equal(grid->cells[1]->n_notices, 0);
    assert_int_equal(grid->cells[2]->n_notices, 1);
    assert_string_equal(grid->cells[3]->notices[0], "activation.start is deprecated: use decay instead");
    qsr_grid_free(grid);
}

/* ---- limits ---------------------------------------------------------------------------------------------------------- */

static void assert_cells(int k, int seeds, const char *message)
{
    qsr_text text = {0};
    qsr_text_puts(&text, BASE "grid: {activation.k: ");
    put_numbers(&text, 1, k);
    qsr_text_puts(&text, "}\nseeds: ");
    put_numbers(&text, 1, seeds);
    if (message) {
        assert_refused(text.bytes, message);
    } else {
        qsr_grid *grid = load(text.bytes);
        assert_int_equal(grid->n, k * seeds);
        assert_int_equal(k_of(grid->cells[grid->n - 1]), k);
        qsr_grid_free(grid);
    }
    qsr_text_free(&text);
}

static void makes_ten_thousand_cells_and_no_more(void **state)
{
    (void)state;
    assert_cells(100, 100, NULL);
    qsr_text line = {0}, message = {0};
    qsr_text_puts(&message, "dir/test.yaml:5:1: grid: 10201 cells, the limit is 10000\n    grid: {activation.k: ");
    put_numbers(&line, 1, 101);
    qsr_text_add(&message, "%.*s...\n    ^~~~\n", 100 - (int)strlen("grid: {activation.k: "), line.bytes);
    assert_cells(101, 101, message.bytes);
    qsr_text_free(&line);
    qsr_text_free(&message);
}

static void products_do_not_overflow(void **state)
{
    qsr_text text = {0};
    (void)state;
    qsr_text_puts(&text, BASE "grid:\n  - {activation.k: 1}\n  -");
    for (int i = 0; i < 66; i++) qsr_text_add(&text, "%s x%d: [1, 2]", i ? "," : " {", i);
    qsr_text_puts(&text, "}\n");
    assert_refused(text.bytes,
                   "dir/test.yaml:5:1: grid: more cells than can be counted, the limit is 10000\n    grid:\n    ^~~~\n");
    qsr_text_free(&text);
}

static void refuses_more_than_a_hundred_keys(void **state)
{
    qsr_text text = {0}, problems = {0};
    (void)state;
    qsr_text_puts(&text, BASE "losses:\n  mse: {}\ngrid:\n");
    for (int i = 0; i <= QSR_GRID_KEYS; i++) qsr_text_add(&text, "  losses.a%d: {plugin: mse}\n", i);
    assert_null(try_load(text.bytes, NULL, 0, &problems));
    assert_string_equal(problems.bytes, "dir/test.yaml:108:17: losses.a100.plugin: more than 100 keys in one block\n"
                                        "    losses.a100: {plugin: mse}\n                  ^~~~~~\n");
    qsr_text_free(&problems);
    *strstr(text.bytes, "  losses.a100") = 0;
    qsr_grid *grid = load(text.bytes);
    assert_int_equal(grid->n, 1);
    assert_int_equal(grid->cells[0]->n_losses, 101);
    qsr_grid_free(grid);
    qsr_text_free(&text);
}

/* What every cell would repeat is not made ten thousand times. */
static void bounds_what_all_cells_hold_together(void **state)
{
    qsr_text text = {0}, problems = {0};
    (void)state;
    qsr_text_puts(&text, BASE "losses:\n");
    for (int i = 0; i < 1000; i++) qsr_text_add(&text, "  a%d: {plugin: mse}\n", i);
    qsr_text_puts(&text, "grid:\n  activation.k: ");
    put_numbers(&text, 1, 40);
    qsr_text_puts(&text, "\n  seed: ");
    put_numbers(&text, 1, 50);
    assert_null(try_load(text.bytes, NULL, 0, &problems));
    assert_non_null(strstr(problems.bytes, "grid: 2000 cells of 2011 values each, the limit is 4000000 values in all"));
    qsr_text_free(&problems);
    qsr_text_free(&text);
}

static void hostile_grids_end_soon(void **state)
{
    qsr_text text = {0}, problems = {0};
    (void)state;
    qsr_text_puts(&text, BASE);
    for (int i = 0; i < 3000; i++) qsr_text_add(&text, "unknown%d: 1\n", i);
    qsr_text_puts(&text, "seeds: ");
    put_numbers(&text, 1, 1000);
    assert_null(try_load(text.bytes, NULL, 0, &problems));
    qsr_text_free(&problems);
    qsr_text_free(&text);
}

/* Several specs are read before anything is said, and two of them may share a mistake. */
static void a_mistake_that_another_spec_has_too_still_counts(void **state)
{
    static const char text[] = BASE "grid: {activation.k: [1, x]}\n";
    qsr_problems problems = {0};
    qsr_grid *grid = NULL;
    (void)state;
    for (size_t i = 1; i <= 2; i++) {
        assert_int_equal(qsr_grid_load_text("t.yaml", text, strlen(text), NULL, 0, &fake_env, &grid, &problems),
                         QSR_E_OPTION);
        assert_null(grid);
        assert_int_equal(problems.count, i);
    }
    qsr_problems_free(&problems);
}

static void reports_a_file_that_is_not_there(void **state)
{
    qsr_problems problems = {0};
    qsr_grid *grid = NULL;
    (void)state;
    assert_int_equal(qsr_grid_load("/nowhere/at/all.yaml", NULL, 0, &fake_env, &grid, &problems), QSR_E_OPTION);
    assert_null(grid);
    assert_string_equal(problems.items[0].text, "cannot read /nowhere/at/all.yaml: No such file or directory");
    qsr_problems_free(&problems);
    qsr_grid_free(NULL);
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static void assert_value(const qsr_spec *spec, const char *key, const char *expected)
{
    qsr_arena arena = {0};
    const char *value = qsr_spec_value(spec, key, &arena);
    if (!expected)
        assert_null(value);
    else if (!value)
        fail_msg("%s has no value", key);
    else
        assert_string_equal(value, expected);
    qsr_arena_free(&arena);
}

static void every_key_of_a_spec_has_a_value(void **state)
{
    (void)state;
    qsr_grid *grid = load("dataset: {plugin: gpt2, model: './m n', tokens: [a, 'b, c'], hook: {layer: 3}, seed: 5}\n"
                          "sae: {d_sae: 64}\nactivation: {plugin: topk, k: {from: 8, to: 4}, temp: 1/2}\n"
                          "losses: {b: {plugin: afa, coeff: 1/3}, mse: {}, auxk: off}\ntrain: {tokens: 8_192, lr: 1e-3}\n");
    const qsr_spec *spec = grid->cells[0];
    assert_value(spec, "name", "test");
    assert_value(spec, "seed", "0");
    assert_value(spec, "dataset.plugin", "gpt2");
    assert_value(spec, "dataset.seed", "5");
    assert_value(spec, "dataset.model", "\"./m n\"");
    assert_value(spec, "dataset.tokens", "[a, \"b, c\"]");
    assert_value(spec, "dataset.hook.layer", "3");
    assert_value(spec, "dataset.hook", NULL);
    assert_value(spec, "sae.d_sae", "64");
    assert_value(spec, "sae.init_from", NULL);
    assert_value(spec, "train.lr", "0.001");
    assert_value(spec, "eval.tokens", "65536");
    assert_value(spec, "activation", "{plugin: topk, k: {from: 8, to: 4, over: 1, shape: linear}, temperature: 0.5}");
    assert_value(spec, "activation.k", "{from: 8, to: 4, over: 1, shape: linear}");
    assert_value(spec, "activation.k.to", "4");
    assert_value(spec, "activation.k.shape", "linear");
    assert_value(spec, "activation.k.from.to", NULL);
    assert_value(spec, "activation.temp", "0.5");
    assert_value(spec, "activation.temperature.to", NULL);
    assert_value(spec, "losses", "{b: {plugin: afa, coeff: 0.3333333333333333}, mse: {}}");
    assert_value(spec, "losses.b.plugin", "afa");
    assert_value(spec, "losses.mse", "{}");
    assert_value(spec, "losses.auxk", "off");
    assert_value(spec, "losses.auxk.coeff", NULL);
    assert_value(spec, "nothing", NULL);
    assert_value(spec, "nothing.at.all", NULL);
    assert_value(spec, "", NULL);
    qsr_grid_free(grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cell_is_the_spec_written_out),
        cmocka_unit_test(a_spec_alone_is_its_only_cell),
        cmocka_unit_test(later_keys_vary_faster),
        cmocka_unit_test(the_first_of_equal_cells_stays),
        cmocka_unit_test(cells_are_found_by_id_and_by_hash),
        cmocka_unit_test(knows_where_cells_differ),
        cmocka_unit_test(values_remember_their_place_in_the_grid),
        cmocka_unit_test(paths_are_resolved_where_they_were_written),
        cmocka_unit_test(dropped_options_are_noted_with_their_place),
        cmocka_unit_test(the_base_may_be_no_experiment),
        cmocka_unit_test(deprecated_options_are_noticed_in_their_cells),
        cmocka_unit_test(makes_ten_thousand_cells_and_no_more),
        cmocka_unit_test(products_do_not_overflow),
        cmocka_unit_test(refuses_more_than_a_hundred_keys),
        cmocka_unit_test(bounds_what_all_cells_hold_together),
        cmocka_unit_test(hostile_grids_end_soon),
        cmocka_unit_test(a_mistake_that_another_spec_has_too_still_counts),
        cmocka_unit_test(reports_a_file_that_is_not_there),
        cmocka_unit_test(every_key_of_a_spec_has_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

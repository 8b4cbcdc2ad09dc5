/* Figures against files: the script and the table of each, word for word; bounds and bins by their formulas; names that are mischief;
 * gnuplot missing, failing, hanging. QUASAR_WRITE_FIGURES=folder writes what would be expected there. */
#include <sys/stat.h>

#include "../unit.h"
#include "base/clock.h"
#include "base/fs.h"
#include "fake-runs.h"
#include "report/gnuplot.h"
#include "report/plots.h"

static qsr_arena arena;

static const char *grid(void)
{
    static char folder[300];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/grid", test_folder());
        write_fake_runs("figures.runs", folder);
        for (int seed = 1; seed <= 2; seed++) {
            char name[64], text[512] = "";
            for (int i = 0; i < 4; i++)
                sprintf(text + strlen(text), "{\"step\":%d,\"tokens\":%d,\"loss\":%g,\"dead\":%d}\n", i, 128 * (i + 1),
                        1.0 / (i + seed), seed * i);
            snprintf(name, sizeof name, "grid/topk-8-%d/metrics.jsonl", seed);
            write_below(folder, name, text);
        }
        write_below(folder, "grid/topk-8-1/result.json",
                    "{\"status\":\"completed\",\"metrics\":{\"l0\":8,\"nmse\":0.4,\"epsilon_lbo_median\":1e-4,\"norm_ratio_"
                    "median\":0.9},"
                    "\"firing_log10\":{\"log10_low\":-8.0,\"bin_width\":0.25,\"latents\":[0,0,6,0,2,0],\"silent\":2},"
                    "\"l0_histogram\":{\"low\":0,\"bin_width\":1,\"tokens\":[0,1,3]}}");
        write_below(folder, "grid/topk-8-1/tokens.csv", case_text(&arena, "tokens.csv"));
        write_below(folder, "grid/topk-8-1/sae/cfg.json", "{\"d_in\":64,\"d_sae\":256}");
    }
    return folder;
}

/* ---- word for word ------------------------------------------------------------------------------------------------------- */

static void check_text(const char *name, const qsr_text *text)
{
    const char *folder = getenv("QUASAR_WRITE_FIGURES");
    if (folder)
        assert_int_equal(qsr_write_file(qsr_path_join(&arena, folder, name), text->bytes, text->length, NULL), QSR_OK);
    else
        assert_string_equal(text->bytes, case_text(&arena, name));
}

static qsr_figure figure_of(const qsr_plot_request *request)
{
    qsr_figure f;
    qsr_error e = {0};
    if (qsr_plot_make(request, &f, &e)) fail_msg("%s", e.text);
    return f;
}

static void figures_are_as_they_were(void **state)
{
    (void)state;
    const char *tokens = qsr_arena_printf(&arena, "%s/tests/cases/report/tokens.csv", getenv("QUASAR_SOURCE"));
    const char *overlays[] = {qsr_arena_printf(&arena, "%s/tests/cases/report/published.csv", getenv("QUASAR_SOURCE")),
                              NULL};
    const qsr_plot_request requests[] = {{.kind = "pareto", .folder = grid(), .metric = "mse_norm", .overlays = overlays},
                                         {.kind = "curves", .folder = grid()},
                                         {.kind = "density", .folder = grid()},
                                         {.kind = "l0", .folder = grid()},
                                         {.kind = "afa", .folder = grid()},
                                         {.kind = "norms", .folder = grid()},
                                         {.kind = "zf", .tokens = tokens, .d_sae = 256},
                                         {.kind = "violin", .tokens = tokens, .d_sae = 256}};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        qsr_figure f = figure_of(&requests[i]);
        qsr_text script = {0};
        qsr_figure_script(&f, QSR_PICTURE_SVG, &script);
        check_text(qsr_arena_printf(&arena, "figure-%s.gp", f.name), &script);
        check_text(qsr_arena_printf(&arena, "figure-%s.tsv", f.name), &f.table);
        qsr_text_free(&script);
        qsr_figure_free(&f);
    }
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

/* The rows of the table's block whose comment contains `what`, as numbers. */
static size_t read_block(const qsr_figure *f, const char *what, size_t columns, double *ret, size_t most)
{
    const char *at = strstr(f->table.bytes, what);
    size_t n = 0;
    if (!at) fail_msg("no block '%s'", what);
    for (at = strchr(at, '\n') + 1; *at && *at != '\n' && n < most; at = strchr(at, '\n') + 1, n++)
        for (size_t c = 0; c < columns; c++) ret[n * columns + c] = strtod(at, (char **)&at);
    return n;
}

static void bounds_are_the_formula(void **state)
{
    (void)state;
    static const double pairs[] = {0.25, -0.25, 0.5, -0.5, 1};
    const char *path = qsr_arena_printf(&arena, "%s/tests/golden/paper/gpt2_tokens.csv", getenv("QUASAR_SOURCE"));
    qsr_figure f = figure_of(&(qsr_plot_request){.kind = "zf", .tokens = path, .d_sae = 24576});
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double ends[4];
        assert_int_equal(read_block(&f, qsr_arena_printf(&arena, "(h - 1) = %g", pairs[i]), 2, ends, 2), 2);
        for (size_t k = 0; k < 2; k++)
            assert_close(ends[2 * k + 1] / (ends[2 * k] * sqrt(1 / (1 + pairs[i]))), 1, 1e-6); /* 7 digits */
    }
    assert_null(strstr(f.table.bytes, "(h - 1) = -1"));
    assert_non_null(strstr(f.elements.bytes, "ε = 1.02e-05")); /* 1 / (4 * 24575) */
    qsr_figure_free(&f);
}

/* The half of the own runs' d_in says nothing of published runs. */
static void dense_codes_are_shaded_where_all_widths_are_known(void **state)
{
    (void)state;
    const char *overlays[] = {qsr_arena_printf(&arena, "%s/tests/cases/report/published.csv", getenv("QUASAR_SOURCE")),
                              NULL};
    for (int with = 0; with < 2; with++) {
        qsr_figure f = figure_of(&(qsr_plot_request){
            .kind = "pareto", .folder = grid(), .metric = "mse_norm", .overlays = with ? overlays : NULL});
        qsr_text script = {0};
        qsr_figure_script(&f, QSR_PICTURE_SVG, &script);
        assert_true((strstr(script.bytes, "set object 1 rectangle") == NULL) == (with == 1));
        assert_non_null(strstr(f.caption.bytes, with ? "(32 for the own runs) is not sparse; it is not shaded"
                                                     : "Shaded: L0 above d_in/2 = 32"));
        qsr_text_free(&script);
        qsr_figure_free(&f);
    }
}

/* 12,000 tokens: at most 3,000 points, and none is lost. */
static void many_points_are_counted(void **state)
{
    (void)state;
    const char *path = qsr_arena_printf(&arena, "%s/tests/golden/paper/gpt2_tokens.csv", getenv("QUASAR_SOURCE"));
    qsr_figure f = figure_of(&(qsr_plot_request){.kind = "zf", .tokens = path});
    double *rows = calloc(QSR_FIGURE_POINTS + 1, 4 * sizeof *rows), tokens = 0;
    size_t points = 0;
    for (int layer = 1; layer <= 12; layer++) {
        size_t n = read_block(&f, qsr_arena_printf(&arena, "# layer %d:", layer), 4, rows, QSR_FIGURE_POINTS + 1);
        for (size_t i = 0; i < n; i++) tokens += rows[4 * i + 3];
        points += n;
    }
    assert_true(tokens == 12000 && points <= QSR_FIGURE_POINTS && points > QSR_FIGURE_POINTS / 4);
    free(rows);
    qsr_figure_free(&f);
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    const char *tokens = qsr_arena_printf(&arena, "%s/tests/cases/report/tokens.csv", getenv("QUASAR_SOURCE"));
    static const char *const bad_layer = "9";
    const struct {
        qsr_plot_request request;
        const char *said;
    } bad[] = {{{.kind = "violin", .tokens = tokens}, "say --d-sae N"},
               {{.kind = "zf", .tokens = tokens, .layer = bad_layer}, "has no layer '9'; its layers are '1' to '2'"},
               {{.kind = "zf", .folder = "/nowhere"}, "there is no folder /nowhere"},
               {{.kind = "pareto", .folder = grid(), .metric = "nsme"}, "did you mean 'nmse'?"},
               {{.kind = "curves", .folder = grid(), .metric = "lozz"},
                "there is nothing to draw: No run's metrics.jsonl has 'lozz'."},
               {{.kind = "coherence", .folder = grid()}, "there is nothing to draw: No completed run has these metrics."}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_figure f;
        qsr_error e = {0};
        assert_true(qsr_plot_make(&bad[i].request, &f, &e) < 0);
        if (!strstr(e.text, bad[i].said)) fail_msg("'%s' does not say '%s'", e.text, bad[i].said);
    }
}

/* ---- gnuplot ----------------------------------------------------------------------------------------------------------------- */

static qsr_status run_fake(const char *text, double seconds, qsr_error *e)
{
    char *path = strdup(getenv("PATH")), *with;
    const char *folder = qsr_path_join(&arena, test_folder(), "bin"), *program = qsr_path_join(&arena, folder, "gnuplot");
    assert_int_equal(qsr_mkdirs(folder, NULL), QSR_OK);
    assert_int_equal(qsr_write_file(program, text, strlen(text), NULL), QSR_OK);
    assert_int_equal(chmod(program, 0755), 0);
    with = qsr_arena_printf(&arena, "%s:%s", folder, path);
    setenv("PATH", with, 1);
    *e = (qsr_error){0};
    qsr_status status = qsr_gnuplot_run(test_folder(), "x.gp", seconds, e);
    setenv("PATH", path, 1);
    free(path);
    return status;
}

static void gnuplots_troubles_are_told(void **state)
{
    (void)state;
    qsr_error e;
    assert_int_equal(
        run_fake("#!/bin/sh\nprintf '\\nplot x\\n     ^\\n\"x.gp\" line 3: undefined\\n\\n' >&2\nexit 1\n", 10, &e),
        QSR_E_IO);
    assert_non_null(strstr(e.text, "/x.gp: plot x \"x.gp\" line 3: undefined"));
    assert_int_equal(run_fake("#!/bin/sh\nexit 3\n", 10, &e), QSR_E_IO);
    assert_non_null(strstr(e.text, "it did not say why"));
    assert_int_equal(run_fake("#!/bin/sh\nkill -9 $$\n", 10, &e), QSR_E_IO);
    assert_non_null(strstr(e.text, "by signal 9"));
    assert_int_equal(run_fake("#!/bin/sh\nyes >&2 &\nexec sleep 20\n", 0.2, &e), QSR_E_IO);
    assert_int_equal(run_fake("#!/bin/sh\nhead -c 200000 /dev/zero >&2; exit 0\n", 10, &e), QSR_OK);
    /* the script's words, its folder, no terminal, numbers with points */
    assert_int_equal(run_fake("#!/bin/sh\n[ \"$1 $2 $#\" = '-d x.gp 2' ] && [ -d bin ] && [ -z \"$GNUTERM$LANG\" ] && [ "
                              "$LC_ALL = C.UTF-8 ]\n",
                              10, &e),
                     QSR_OK);
    double began = qsr_clock();
    assert_int_equal(run_fake("#!/bin/sh\nexec 2>&-\nexec sleep 20\n", 0.3, &e), QSR_E_IO);
    assert_non_null(strstr(e.text, "took longer than 0.3 s"));
    assert_true(qsr_clock() - began < 10);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere::", 1);
    assert_int_equal(qsr_gnuplot_run(test_folder(), "x.gp", 1, &e), QSR_E_UNSUPPORTED);
    setenv("PATH", path, 1);
    free(path);
}

/* Names come from folders and specs that others wrote: nothing in them is a command. */
static void names_are_only_names(void **state)
{
    (void)state;
    if (!qsr_gnuplot_present()) skip();
    const char *mischief =
        qsr_arena_printf(&arena, "'`touch %s/caught`' \\ \"@x\" {/*9 _^} \n$x %%s é \xff", test_folder());
    const char *title = qsr_arena_printf(&arena, "t\nsystem 'touch %s/caught'\n#\r!touch %s/caught\\", test_folder(), test_folder());
    qsr_figure f;
    qsr_text picture = {0};
    qsr_error e = {0};
    const double row[] = {1, 2};
    qsr_figure_begin(&f, "names", 300, 200, title);
    qsr_figure_set_text(&f, "xlabel", mischief);
    qsr_figure_range(&f, "x", 0, 3, false);
    qsr_figure_range(&f, "y", 1, 3, true);
    size_t block = qsr_figure_block(&f, "%s", mischief);
    qsr_figure_row(&f, row, 2);
    qsr_figure_draw(&f, block, mischief, "using 1:2 with points");
    if (qsr_figure_picture(&f, QSR_PICTURE_SVG, &picture, &e)) fail_msg("%s", e.text);
    assert_false(qsr_exists(qsr_arena_printf(&arena, "%s/caught", test_folder())));
    assert_non_null(strstr(picture.bytes, "`touch "));
    qsr_text_free(&picture);
    qsr_figure_free(&f);
}

/* gnuplot takes labels of tics for formats, which "50 % noise" is not. */
static void percent_signs_stay_in_names_of_violins(void **state)
{
    (void)state;
    if (!qsr_gnuplot_present()) skip();
    qsr_token kept[64];
    qsr_token_layer layer = {.layer = "", .n = 64, .kept = kept};
    qsr_text picture = {0};
    qsr_error e = {0};
    qsr_figure f;
    for (int i = 0; i < 64; i++) kept[i] = (qsr_token){.ztz = 10, .ftf = 9 - 0.01f * (float)i, .l_recon = 1 + 0.01f * (float)i};
    const qsr_violin items[] = {qsr_violin_of("50 % noise %n", &layer, 64), qsr_violin_of("5 %% of k", &layer, 64)};
    qsr_figure_violin(items, 2, false, "violin", &f);
    if (qsr_figure_picture(&f, QSR_PICTURE_SVG, &picture, &e)) fail_msg("%s", e.text);
    assert_non_null(strstr(picture.bytes, "50 % noise %n"));
    assert_non_null(strstr(picture.bytes, "5 %% of k"));
    qsr_text_free(&picture);
    qsr_figure_free(&f);
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
        cmocka_unit_test(figures_are_as_they_were),   cmocka_unit_test(bounds_are_the_formula),
        cmocka_unit_test(dense_codes_are_shaded_where_all_widths_are_known),
        cmocka_unit_test(many_points_are_counted),    cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(gnuplots_troubles_are_told), cmocka_unit_test(names_are_only_names),
        cmocka_unit_test(percent_signs_stay_in_names_of_violins),
    };
    setenv("GNUTERM", "dumb", 1);
    setenv("LANG", "de_DE.UTF-8", 1);
    return cmocka_run_group_tests(tests, NULL, clean);
}

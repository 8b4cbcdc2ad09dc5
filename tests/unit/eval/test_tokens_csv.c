/* tokens.csv: columns of the published table, whole or not at all. */
#include "eval/tokens-csv.h"

#include "../unit.h"
#include <unistd.h>

static const qsr_afa_token token = {
    .ztz = 19.033733f, .ftf = 17.208841f, .norm_z_hat = 4.3298745f, .l_recon = 0.013940393f, .l0 = 32};

static char *read_text(qsr_arena *arena, const char *path)
{
    char *text;
    qsr_error e = {0};
    assert_int_equal(qsr_read_file(arena, path, 1 << 24, &text, NULL, &e), QSR_OK);
    return text;
}

static void writes_the_published_line(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_error e = {0};
    qsr_tokens_csv csv;
    const char *path = qsr_path_join(&arena, test_folder(), "tokens.csv");
    assert_int_equal(qsr_tokens_csv_open(&csv, path, 1, &e), QSR_OK);
    assert_int_equal(qsr_tokens_csv_add(&csv, &token, 1, &e), QSR_OK);
    assert_false(qsr_exists(path));
    assert_int_equal(qsr_tokens_csv_commit(&csv, &e), QSR_OK);
    /* The first line of the published table; its norms were rounded one by one, so they are compared as numbers below. */
    const char *head = "layer,ztz,ftf,norm_z,norm_f,norm_z_hat,l_recon,l0\n1,19.033733,17.208841,";
    char *text = read_text(&arena, path);
    assert_memory_equal(text, head, strlen(head));
    double norm_z, norm_f, norm_z_hat, l_recon;
    unsigned l0;
    assert_int_equal(sscanf(text + strlen(head), "%lf,%lf,%lf,%lf,%u\n", &norm_z, &norm_f, &norm_z_hat, &l_recon, &l0), 5);
    assert_int_equal(l0, 32);
    assert_close(norm_z, 4.3627667, 1.2e-7); /* float32 */
    assert_close(norm_f, 4.148354, 1.2e-7);
    assert_true((float)norm_z_hat == token.norm_z_hat && (float)l_recon == token.l_recon);
    unlink(path);
    qsr_arena_free(&arena);
}

static void leaves_an_unknown_layer_empty_and_streams(void **state)
{
    (void)state;
    enum { ROWS = 5000 };
    qsr_arena arena = {0};
    qsr_error e = {0};
    qsr_tokens_csv csv;
    const char *path = qsr_path_join(&arena, test_folder(), "many.csv");
    assert_int_equal(qsr_tokens_csv_open(&csv, path, -1, &e), QSR_OK);
    for (int i = 0; i < ROWS; i++) {
        qsr_afa_token t = {.ztz = (double)i * i, .ftf = 4, .norm_z_hat = 0, .l_recon = 1e-20};
        assert_int_equal(qsr_tokens_csv_add(&csv, &t, 1, &e), QSR_OK);
        assert_true(csv.lines.length < 1 << 17);
    }
    assert_int_equal(qsr_tokens_csv_commit(&csv, &e), QSR_OK);
    char *at = read_text(&arena, path);
    for (int i = 0; i < ROWS; i++) {
        float ztz, norm_z;
        at = strchr(at, '\n') + 1;
        assert_int_equal(sscanf(at, ",%f,4,%f,2,0,1e-20,0\n", &ztz, &norm_z), 2);
        assert_true(ztz == (float)i * (float)i && norm_z == (float)i);
    }
    assert_string_equal(strchr(at, '\n'), "\n");
    unlink(path);
    qsr_arena_free(&arena);
}

static void leaves_nothing_when_given_up(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_error e = {0};
    qsr_tokens_csv csv = {.writer.fd = -1};
    qsr_tokens_csv_abort(&csv); /* not open */
    const char *path = qsr_path_join(&arena, test_folder(), "none.csv");
    assert_int_equal(qsr_tokens_csv_open(&csv, path, 3, &e), QSR_OK);
    assert_int_equal(qsr_tokens_csv_add(&csv, &token, 1, &e), QSR_OK);
    qsr_tokens_csv_abort(&csv);
    assert_false(qsr_exists(path));
    assert_int_equal(rmdir(test_folder()), 0); /* nothing else was left beside it either */
    assert_int_equal(qsr_tokens_csv_open(&csv, path, 3, &e), QSR_E_IO);
    qsr_tokens_csv_abort(&csv);
    qsr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_published_line),
        cmocka_unit_test(leaves_an_unknown_layer_empty_and_streams),
        cmocka_unit_test(leaves_nothing_when_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The dataset of stored activations: every way to name files, every type and shape, and everything it refuses. */
#include "../fake_host.h"
#include "../unit.h"
#include "base/arena.h"
#include "base/fs.h"
#include "format/npy.h"
#include "format/safetensors.h"

typedef struct {
    fake_host *fake;
    const qsr_plugin *plugin;
    const qsr_dataset_ops *ops;
    void *options;
    qsr_instance *instance;
    qsr_dataset_info info;
} subject;

static qsr_arena names; /* paths of this program */

static const char *in_folder(const char *name) { return qsr_path_join(&names, test_folder(), name); }

/* `tensor` may be NULL; paths are relative to the test's folder. */
static qsr_status make(subject *s, const char *tensor, const char *const *paths, size_t n)
{
    const char **full = qsr_arena_alloc(&names, n, sizeof *full);
    for (size_t i = 0; i < n; i++) full[i] = in_folder(paths[i]);
    *s = (subject){.plugin = fake_plugin("datasets", "activations")};
    s->ops = s->plugin->ops;
    s->options = tensor ? fake_options(s->plugin, "tensor", tensor, NULL) : fake_options(s->plugin, NULL);
    fake_set_strings(s->plugin, s->options, "path", full, n);
    s->fake = fake_host_create();
    qsr_status status =
        s->plugin->create(&s->fake->host, &(qsr_shape){.struct_size = sizeof(qsr_shape)}, s->options, &s->instance);
    return status ? status : s->ops->describe(s->instance, &s->info);
}

static void drop(subject *s)
{
    s->plugin->destroy(s->instance);
    fake_host_free(s->fake);
    free(s->options);
}

#define PATHS(...) (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

/* Values start, start + 1, ... of any real type: small whole numbers, exact in all of them. */
static void *values_of(qsr_dtype dtype, double start, size_t n)
{
    float *values = qsr_arena_alloc(&names, n, sizeof *values);
    void *bytes = qsr_arena_alloc(&names, n, qsr_dtype_size(dtype));
    for (size_t i = 0; i < n; i++) values[i] = (float)(start + (double)i);
    qsr_from_float(dtype, values, n, bytes);
    return bytes;
}

static void write_npy(const char *name, qsr_dtype dtype, size_t rank, size_t a, size_t b, size_t c, double start)
{
    size_t shape[3] = {a, b, c}, n = 1;
    for (size_t i = 0; i < rank; i++) n *= shape[i];
    assert_int_equal(qsr_npy_write(in_folder(name), dtype, rank, shape, values_of(dtype, start, n), NULL), QSR_OK);
}

static qsr_tensor tensor_of(const char *name, qsr_dtype dtype, size_t rows, size_t width, double start)
{
    return (qsr_tensor){name, dtype, 2, {rows, width}, rows * width, values_of(dtype, start, rows * width)};
}

static void write_tensors(const char *name, const qsr_tensor *tensors, size_t n)
{
    assert_int_equal(qsr_safetensors_write(in_folder(name), tensors, n, NULL, NULL), QSR_OK);
}

/* All rows hold consecutive numbers from 0 on, whatever shards they came from; read in one go, one by one and backwards. */
static void assert_counts_up(const subject *s, size_t rows, size_t d_in)
{
    uint64_t *units = qsr_arena_alloc(&names, rows, sizeof *units);
    float *out = qsr_arena_alloc(&names, rows * d_in, sizeof *out);
    assert_int_equal(s->info.units, rows);
    assert_int_equal(s->info.d_in, d_in);
    assert_int_equal(s->info.rows_per_unit, 1);
    assert_true(s->info.units_per_read >= rows);
    for (int backwards = 0; backwards < 2; backwards++) {
        for (size_t i = 0; i < rows; i++) units[i] = backwards ? rows - 1 - i : i;
        memset(out, 0xff, rows * d_in * sizeof *out);
        assert_int_equal(s->ops->read(s->instance, units, rows, out), QSR_OK);
        for (size_t i = 0; i < rows * d_in; i++) assert_true(out[i] == (float)(units[i / d_in] * d_in + i % d_in));
    }
    for (uint64_t unit = 0; unit < rows; unit++) {
        assert_int_equal(s->ops->read(s->instance, &unit, 1, out), QSR_OK);
        for (size_t d = 0; d < d_in; d++) assert_true(out[d] == (float)(unit * d_in + d));
    }
}

static void reads_every_real_type(void **state)
{
    (void)state;
    const qsr_dtype types[] = {QSR_F64, QSR_F32, QSR_F16, QSR_BF16};
    for (size_t i = 0; i < 4; i++) {
        subject s;
        qsr_tensor t = tensor_of("activation", types[i], 5, 3, 0);
        write_tensors("types.safetensors", &t, 1);
        assert_int_equal(make(&s, NULL, PATHS("types.safetensors")), QSR_OK);
        assert_counts_up(&s, 5, 3);
        drop(&s);
        if (types[i] == QSR_BF16) continue;
        write_npy("types.npy", types[i], 2, 5, 3, 0, 0);
        assert_int_equal(make(&s, NULL, PATHS("types.npy")), QSR_OK);
        assert_counts_up(&s, 5, 3);
        drop(&s);
    }
}

static void flattens_contexts_to_rows(void **state)
{
    (void)state;
    subject s;
    write_npy("contexts.npy", QSR_F32, 3, 2, 5, 4, 0);
    assert_int_equal(make(&s, NULL, PATHS("contexts.npy")), QSR_OK);
    assert_counts_up(&s, 10, 4);
    drop(&s);
}

static void reads_a_list_in_its_order_with_mixed_formats_and_an_empty_shard(void **state)
{
    (void)state;
    subject s;
    qsr_tensor last = tensor_of("x", QSR_BF16, 4, 2, 6), empty = tensor_of("x", QSR_F32, 0, 2, 0);
    write_npy("z.npy", QSR_F32, 2, 2, 2, 0, 0);
    write_npy("y.npy", QSR_F16, 2, 1, 2, 0, 4);
    write_tensors("empty.safetensors", &empty, 1);
    write_tensors("a.safetensors", &last, 1);
    assert_int_equal(make(&s, NULL, PATHS("z.npy", "empty.safetensors", "y.npy", "a.safetensors")), QSR_OK);
    assert_counts_up(&s, 7, 2);
    drop(&s);
}

static void expands_patterns_in_byte_order(void **state)
{
    (void)state;
    subject s;
    write_npy("shard-B.npy", QSR_F32, 2, 3, 3, 0, 0); /* a locale would put a before B */
    write_npy("shard-a.npy", QSR_F32, 2, 2, 3, 0, 9);
    write_npy("shard-b.npy", QSR_F32, 2, 1, 3, 0, 15);
    assert_int_equal(make(&s, NULL, PATHS("shard-*.npy")), QSR_OK);
    assert_counts_up(&s, 6, 3);
    drop(&s);
    write_npy("odd[1].npy", QSR_F32, 2, 2, 2, 0, 0); /* a name, not a pattern, since there is such a file */
    assert_int_equal(make(&s, NULL, PATHS("odd[1].npy")), QSR_OK);
    assert_counts_up(&s, 2, 2);
    drop(&s);
}

static void chooses_the_tensor(void **state)
{
    (void)state;
    subject s;
    qsr_tensor tokens = {"tokens", QSR_I32, 2, {2, 2}, 4, (const int32_t[]){1, 2, 3, 4}};
    qsr_tensor mean = {"mean", QSR_F32, 1, {2}, 2, (const float[]){9, 9}};
    qsr_tensor first[] = {tokens, mean, tensor_of("hidden", QSR_F32, 2, 2, 0)};
    write_tensors("only.safetensors", first, 3);
    assert_int_equal(make(&s, NULL, PATHS("only.safetensors")), QSR_OK); /* the only real one of rank 2 or 3 */
    assert_counts_up(&s, 2, 2);
    drop(&s);
    qsr_tensor second[] = {tensor_of("activations", QSR_F32, 3, 2, 0), tensor_of("other", QSR_F32, 3, 2, 50)};
    write_tensors("named.safetensors", second, 2);
    assert_int_equal(make(&s, NULL, PATHS("named.safetensors")), QSR_OK); /* the usual name */
    assert_counts_up(&s, 3, 2);
    drop(&s);
    qsr_tensor third[] = {tensor_of("activation", QSR_F32, 1, 2, 70), tensor_of("layer.7", QSR_F16, 3, 2, 0)};
    write_tensors("asked.safetensors", third, 2);
    assert_int_equal(make(&s, "layer.7", PATHS("asked.safetensors")), QSR_OK); /* the one asked for */
    assert_counts_up(&s, 3, 2);
    drop(&s);
}

static void reads_data_that_is_not_aligned(void **state)
{
    (void)state;
    static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}} ";
    unsigned char bytes[8 + sizeof header - 1 + 8] = {sizeof header - 1};
    memcpy(bytes + 8, header, sizeof header - 1);
    memcpy(bytes + 8 + sizeof header - 1, (const float[]){0, 1}, 8);
    assert_true((8 + sizeof header - 1) % 4 != 0);
    assert_int_equal(qsr_write_file(in_folder("odd.safetensors"), bytes, sizeof bytes, NULL), QSR_OK);
    subject s;
    assert_int_equal(make(&s, NULL, PATHS("odd.safetensors")), QSR_OK);
    assert_counts_up(&s, 2, 1);
    drop(&s);
}

/* '@' in `text` stands for the test's folder and a slash. */
static void refused(const char *option, const char *text, qsr_status code, const char *tensor, const char *const *paths,
                    size_t n)
{
    subject s;
    char expected[2048] = "";
    for (const char *c = text; *c; c++) {
        bool folder = *c == '@';
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), folder ? "%s/" : "%.1s",
                 folder ? test_folder() : c);
    }
    qsr_status status = make(&s, tensor, paths, n);
    assert_string_equal(s.fake->error, expected);
    assert_string_equal(s.fake->option, option);
    assert_int_equal(status, code);
    drop(&s);
}

static void refuses_files_that_hold_no_rows(void **state)
{
    (void)state;
    write_npy("good.npy", QSR_F32, 2, 2, 3, 0, 0);
    write_npy("wide.npy", QSR_F32, 2, 2, 4, 0, 0);
    write_npy("flat.npy", QSR_F32, 1, 6, 0, 0, 0);
    write_npy("none.npy", QSR_F32, 2, 0, 3, 0, 0);
    write_npy("thin.npy", QSR_F32, 2, 3, 0, 0, 0);
    size_t shape[2] = {2, 2};
    assert_int_equal(qsr_npy_write(in_folder("int.npy"), QSR_I32, 2, shape, (const int32_t[4]){0}, NULL), QSR_OK);
    assert_int_equal(qsr_write_file(in_folder("text.npy"), "hello", 5, NULL), QSR_OK);
    assert_int_equal(qsr_write_file(in_folder("text.csv"), "hello", 5, NULL), QSR_OK);
    assert_int_equal(qsr_write_file(in_folder("text.safetensors"), "hello", 5, NULL), QSR_OK);
    assert_int_equal(qsr_mkdirs(in_folder("folder.npy"), NULL), QSR_OK);

    refused("path", "no file matches @nothing-*.npy", QSR_E_INPUT, NULL, PATHS("nothing-*.npy"));
    refused("path", "cannot read @missing.npy: No such file or directory", QSR_E_INPUT, NULL,
            PATHS("good.npy", "missing.npy"));
    refused("path", "cannot read @folder.npy: it is a folder, not a file", QSR_E_INPUT, NULL, PATHS("folder.npy"));
    refused("path", "@text.csv: neither .npy nor .safetensors", QSR_E_INPUT, NULL, PATHS("text.csv"));
    refused("path", "@text.npy: not a .npy file: it does not begin with \\x93NUMPY", QSR_E_INPUT, NULL, PATHS("text.npy"));
    refused("path", "@text.safetensors: too short for a safetensors file: 5 bytes, its header length alone has 8",
            QSR_E_INPUT, NULL, PATHS("text.safetensors"));
    refused("path", "@int.npy: dtype I32; rows are F64, F32, F16 or BF16", QSR_E_INPUT, NULL, PATHS("int.npy"));
    refused("path", "@flat.npy: rank 1; rows are [rows][d_in] or [a][b][d_in]", QSR_E_INPUT, NULL, PATHS("flat.npy"));
    refused("path", "@thin.npy: rows of width 0", QSR_E_INPUT, NULL, PATHS("thin.npy"));
    refused("path", "@none.npy: no rows at all", QSR_E_INPUT, NULL, PATHS("none.npy"));
    refused("path", "@wide.npy: rows of width 4, those of @good.npy have 3", QSR_E_INPUT, NULL,
            PATHS("good.npy", "wide.npy"));
    refused("path", "@good.npy is listed twice (also as @good.npy)", QSR_E_INPUT, NULL,
            PATHS("good.npy", "none.npy", "go*.npy"));
    refused("path", "needs `path`, files with rows, or `cache`, a folder that `quasar cache` wrote", QSR_E_OPTION, NULL, NULL, 0);
}

static void refuses_an_unclear_choice_of_tensor(void **state)
{
    (void)state;
    qsr_tensor two[] = {tensor_of("a", QSR_F32, 2, 2, 0), tensor_of("b", QSR_F16, 3, 2, 0)};
    qsr_tensor both[] = {tensor_of("activation", QSR_F32, 2, 2, 0), tensor_of("activations", QSR_F32, 2, 2, 0)};
    qsr_tensor tokens = {"tokens", QSR_U16, 3, {1, 2, 2}, 4, (const uint16_t[4]){0}};
    write_npy("plain.npy", QSR_F32, 2, 2, 3, 0, 0);
    write_tensors("two.safetensors", two, 2);
    write_tensors("both.safetensors", both, 2);
    write_tensors("tokens.safetensors", &tokens, 1);
    write_tensors("nothing.safetensors", NULL, 0);

    refused("tensor", "@two.safetensors: several tensors could be meant, choose one; the file has a F32[2,2], b F16[3,2]",
            QSR_E_INPUT, NULL, PATHS("two.safetensors"));
    refused("tensor",
            "@both.safetensors: several tensors could be meant, choose one; the file has activation F32[2,2], activations "
            "F32[2,2]",
            QSR_E_INPUT, NULL, PATHS("both.safetensors"));
    refused("tensor", "@tokens.safetensors: no tensor could hold rows; the file has tokens U16[1,2,2]", QSR_E_INPUT, NULL,
            PATHS("tokens.safetensors"));
    refused("path", "@tokens.safetensors: dtype U16; rows are F64, F32, F16 or BF16", QSR_E_INPUT, "tokens",
            PATHS("tokens.safetensors"));
    refused("tensor", "@nothing.safetensors: no tensor could hold rows; the file has none", QSR_E_INPUT, NULL,
            PATHS("nothing.safetensors"));
    refused("tensor", "@two.safetensors: no tensor of that name; the file has a F32[2,2], b F16[3,2]", QSR_E_INPUT, "c",
            PATHS("two.safetensors"));
    refused("tensor", "@plain.npy: a .npy file holds one array without a name", QSR_E_OPTION, "a", PATHS("plain.npy"));
}

static void refuses_a_unit_past_the_end(void **state)
{
    (void)state;
    subject s;
    float out[3];
    write_npy("good.npy", QSR_F32, 2, 2, 3, 0, 0);
    assert_int_equal(make(&s, NULL, PATHS("good.npy")), QSR_OK);
    assert_int_equal(s.ops->read(s.instance, &(uint64_t){2}, 1, out), QSR_E_INTERNAL);
    assert_string_equal(s.fake->error, "unit 2 of 2");
    drop(&s);
}

static int clean(void **state)
{
    (void)state;
    qsr_arena_free(&names);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_real_type),
        cmocka_unit_test(flattens_contexts_to_rows),
        cmocka_unit_test(reads_a_list_in_its_order_with_mixed_formats_and_an_empty_shard),
        cmocka_unit_test(expands_patterns_in_byte_order),
        cmocka_unit_test(chooses_the_tensor),
        cmocka_unit_test(reads_data_that_is_not_aligned),
        cmocka_unit_test(refuses_files_that_hold_no_rows),
        cmocka_unit_test(refuses_an_unclear_choice_of_tensor),
        cmocka_unit_test(refuses_a_unit_past_the_end),
    };
    return cmocka_run_group_tests_name("activations", tests, NULL, clean);
}

#include "../unit.h"
#include "spec/node.h"
#include "spec/yaml.h"

static qsr_arena arena;

static qsr_node *parse(const char *text)
{
    qsr_problems problems = {0};
    qsr_source *source = qsr_arena_alloc(&arena, 1, sizeof *source);
    *source = (qsr_source){"test", text, strlen(text), ".", false, 0};
    qsr_node *root = qsr_yaml_parse(&arena, source, 0, false, &problems);
    if (root) qsr_node_unfold(&arena, root, &problems);
    if (problems.count) fail_msg("%s", problems.items[0].text);
    qsr_problems_free(&problems);
    return root;
}

static void print(const qsr_node *node, qsr_text *out)
{
    if (node->toggle) qsr_text_add(out, "%s", node->toggle->text);
    if (node->kind == QSR_SCALAR) qsr_text_puts(out, node->text);
    if (node->kind != QSR_SCALAR) qsr_text_puts(out, node->kind == QSR_MAP ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        if (i) qsr_text_puts(out, " ");
        if (node->kind == QSR_MAP) qsr_text_add(out, "%s:", node->entries[i].key);
        print(node->kind == QSR_MAP ? node->entries[i].value : node->items[i], out);
    }
    if (node->kind != QSR_SCALAR) qsr_text_puts(out, node->kind == QSR_MAP ? "}" : "]");
}

static void assert_tree(const qsr_node *node, const char *expected)
{
    qsr_text out = {0};
    print(node, &out);
    assert_string_equal(out.bytes, expected);
    qsr_text_free(&out);
}

static void assert_mark(qsr_mark mark, unsigned line, unsigned col, unsigned end_col)
{
    assert_int_equal(mark.line, line);
    assert_int_equal(mark.col, col);
    assert_int_equal(mark.end_col, end_col);
}

static void every_node_knows_its_place(void **state)
{
    (void)state;
    qsr_node *root = parse("a:\n  ü: [x, 'y z']\nb: {c: 1}\n");
    const qsr_entry *a = qsr_node_find(root, "a"), *u = qsr_node_at(root, "a.ü"), *c = qsr_node_at(root, "b.c");
    assert_mark(a->mark, 1, 1, 2);
    assert_mark(u->mark, 2, 3, 4);
    assert_mark(u->value->mark, 2, 6, 16);
    assert_mark(u->value->items[1]->mark, 2, 10, 15);
    assert_mark(qsr_node_find(root, "b")->value->mark, 3, 4, 10);
    assert_mark(c->value->mark, 3, 8, 9);
    assert_true(u->value->items[1]->quoted);
    assert_false(c->value->quoted);
}

static void dotted_keys_unfold_but_not_in_grids(void **state)
{
    (void)state;
    assert_tree(parse("a.b.c: 1\na: {d: 2, b.e: 3}\nf: {g.h: 4}\ngrid: {a.b: [1]}\n"),
                "{a:{b:{c:1 e:3} d:2} f:{g:{h:4}} grid:{a.b:[1]}}");
}

static void maps_merge_and_the_rest_replaces(void **state)
{
    (void)state;
    qsr_node *base = parse("a: 1\nb: {c: 2, d: [3, 4]}\ne: {f: 5}\nlosses: {mse: {}, auxk: {k: 6}}\n");
    qsr_node *over = parse("a: 7\nb: {d: [8], g: 9}\ne: 10\nlosses: {auxk: off, afa: {}}\n");
    qsr_node_merge(&arena, base, over);
    assert_tree(base, "{a:7 b:{c:2 d:[8] g:9} e:10 losses:{mse:{} auxk:off{k:6} afa:{}}}");
    assert_string_equal(qsr_node_find(base, "a")->value->before->text, "1");
    qsr_node_merge(&arena, base, parse("losses: {auxk: {coeff: 1}}\n"));
    assert_tree(qsr_node_at(base, "losses.auxk")->value, "{k:6 coeff:1}");
}

static void sets_at_dotted_paths(void **state)
{
    qsr_mark mark = {0};
    (void)state;
    qsr_node *root = parse("a: {b: 1}\nc: 2\nd: off\n"), *value = parse("9");
    assert_null(qsr_node_set(&arena, root, "a.b", mark, qsr_node_clone(&arena, value)));
    assert_null(qsr_node_set(&arena, root, "x.y.z", mark, qsr_node_clone(&arena, value)));
    assert_null(qsr_node_set(&arena, root, "d.e", mark, qsr_node_clone(&arena, value)));
    assert_string_equal(qsr_node_set(&arena, root, "c.f", mark, value)->text, "2");
    assert_tree(root, "{a:{b:9} c:2 d:{e:9} x:{y:{z:9}}}");
    assert_null(qsr_node_at(root, "a.b.c"));
    assert_null(qsr_node_at(root, "a.q"));
    qsr_node_remove(root, "c");
    qsr_node_remove(root, "c");
    assert_tree(root, "{a:{b:9} d:{e:9} x:{y:{z:9}}}");
}

static void clones_and_aliases_are_independent(void **state)
{
    qsr_mark mark = {0};
    (void)state;
    qsr_node *root = parse("a: &a {b: {c: 1}}\nd: *a\n"), *copy = qsr_node_clone(&arena, root);
    qsr_node_set(&arena, root, "d.b.c", mark, parse("2"));
    qsr_node_set(&arena, copy, "a.b.e", mark, parse("3"));
    assert_tree(root, "{a:{b:{c:1}} d:{b:{c:2}}}");
    assert_tree(copy, "{a:{b:{c:1 e:3}} d:{b:{c:1}}}");
}

static void only_plain_words_are_null_or_switches(void **state)
{
    (void)state;
    assert_true(qsr_node_is_null(parse("~")));
    assert_true(qsr_node_is_null(parse("[null]")->items[0]));
    assert_false(qsr_node_is_null(parse("'null'")));
    assert_false(qsr_node_is_null(parse("''")));
    assert_false(qsr_node_is_null(parse("{}")));
    assert_true(qsr_node_is_word(parse("off"), "off"));
    assert_false(qsr_node_is_word(parse("\"off\""), "off"));
}

static int tear_down(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_knows_its_place),         cmocka_unit_test(dotted_keys_unfold_but_not_in_grids),
        cmocka_unit_test(maps_merge_and_the_rest_replaces),   cmocka_unit_test(sets_at_dotted_paths),
        cmocka_unit_test(clones_and_aliases_are_independent), cmocka_unit_test(only_plain_words_are_null_or_switches),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

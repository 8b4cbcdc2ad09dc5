/* `quasar status`: how each cell below a folder, or of a spec, stands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "cli/cells.h"
#include "cli/command.h"
#include "lab/survey.h"

static const char *state_text(const qsr_survey_cell *c)
{
    if (c->orphan && c->state == QSR_CELL_DONE) return "orphan";
    return qsr_cell_state_names[c->state];
}

/* "250 of 1875", for what is under way. */
static void step_text(const qsr_survey_cell *c, char *out, size_t n)
{
    bool under_way = c->state == QSR_CELL_RUNNING || c->state == QSR_CELL_INTERRUPTED || (c->state == QSR_CELL_FAILED && c->step);
    if (!under_way) snprintf(out, n, "%s", "");
    else if (c->steps) snprintf(out, n, "%" PRIu64 " of %" PRIu64, c->step, c->steps);
    else snprintf(out, n, "%" PRIu64, c->step);
}

static void print_text(const qsr_survey *s)
{
    size_t counts[QSR_CELL_STATES] = {0}, orphans = 0;
    qsr_table table = {.columns = 5, .right = 1u << 3};
    qsr_table_row(&table, (const char *[]){"NAME", "CELL", "STATE", "STEP", "WHY"});
    for (size_t i = 0; i < s->n; i++) {
        const qsr_survey_cell *c = &s->cells[i];
        char step[64];
        step_text(c, step, sizeof step);
        const char *why = c->reason ? c->reason : c->note;
        if (c->orphan) why = "the spec no longer produces it";
        qsr_table_row(&table, (const char *[]){c->name, c->id, state_text(c), step, why});
        if (c->orphan) orphans++;
        else counts[c->state]++;
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
    printf("%zu cell%s:", s->n - orphans, s->n - orphans == 1 ? "" : "s");
    const char *comma = "";
    for (int state = QSR_CELL_STATES - 1; state >= 0; state--)
        if (counts[state]) printf("%s %zu %s", comma, counts[state], qsr_cell_state_names[state]), comma = ",";
    if (orphans) printf("; %zu orphan%s", orphans, orphans > 1 ? "s" : "");
    puts("");
}

static void put_text(json_t *o, const char *key, const char *text) { json_object_set_new(o, key, text ? json_string(text) : json_null()); }

static void print_json(const qsr_survey *s)
{
    json_t *root = json_object(), *cells = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const qsr_survey_cell *c = &s->cells[i];
        json_t *cell = json_object();
        put_text(cell, "name", c->name);
        put_text(cell, "cell", c->id);
        put_text(cell, "folder", c->folder);
        put_text(cell, "state", qsr_cell_state_names[c->state]);
        json_object_set_new(cell, "orphan", json_boolean(c->orphan));
        put_text(cell, "reason", c->reason);
        put_text(cell, "note", c->note);
        json_object_set_new(cell, "step", json_integer((json_int_t)c->step));
        json_object_set_new(cell, "steps", c->steps ? json_integer((json_int_t)c->steps) : json_null());
        json_array_append_new(cells, cell);
    }
    json_object_set_new(root, "cells", cells);
    qsr_text text = {0};
    qsr_json_line(root, &text);
    puts(text.bytes);
    qsr_text_free(&text);
    json_decref(root);
}

static int tell(const qsr_survey *s, bool json)
{
    int code = QSR_EXIT_OK;
    if (json) print_json(s);
    else print_text(s);
    for (size_t i = 0; i < s->n; i++)
        if (!s->cells[i].orphan && s->cells[i].state != QSR_CELL_DONE) code = QSR_EXIT_FAILED;
    return code;
}

static int survey_spec(const qsr_args *args, const qsr_spec_env *env, qsr_registry *registry, qsr_survey *ret)
{
    const char *out = qsr_args_value(args, "out");
    qsr_problems problems = {0};
    qsr_cli_cells cells;
    int code = QSR_EXIT_OK;
    if (qsr_cli_cells_load(args->words[0], args, env, &cells, &problems)) code = qsr_cli_problems(&problems);
    else qsr_survey_spec((const qsr_spec *const *)cells.cells, cells.n, out ? out : "runs", registry, ret);
    qsr_cli_cells_free(&cells);
    qsr_problems_free(&problems);
    return code;
}

static int survey(const qsr_args *args, const qsr_spec_env *env, qsr_registry *registry, qsr_survey *ret)
{
    qsr_error e = {0};
    if (!qsr_exists(args->words[0])) {
        qsr_fail(&e, QSR_E_INPUT, "there is neither a folder nor a spec %s", args->words[0]);
        return qsr_cli_report(&e);
    }
    if (!qsr_is_folder(args->words[0])) return survey_spec(args, env, registry, ret);
    if (qsr_args_has(args, "out") || args->n_overrides)
        return qsr_command_misused(&qsr_cmd_status, "%s is a folder; --out and key=value go with a spec", args->words[0]);
    return qsr_survey_folder(args->words[0], env, registry, ret, &e) ? qsr_cli_report(&e) : QSR_EXIT_OK;
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_status, "needs one folder of runs, or one spec");
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_survey s = {0};
    int code = survey(args, &env, registry, &s);
    if (!code) code = tell(&s, qsr_args_has(args, "json"));
    qsr_survey_free(&s);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_status = {
    .name = "status",
    .synopsis = "DIR | SPEC [key=value...] [--out DIR] [--json]",
    .summary = "say of each cell whether it is done, running, interrupted, failed or stale",
    .help = "Looks at the run folders below DIR, or at those of a spec's cells, and says of each whether it is\n"
            "done, running (a living process has it), interrupted (after which step), failed (why), stale\n"
            "(an input, a plugin's version or Quasar's changed since, or a file is gone), or pending. With a spec, folders of\n"
            "cells that it no longer produces are orphans. Nothing is changed. Exit code 0: all done.",
    .options = (const qsr_arg_option[]){{"out", "DIR", "where the spec's run folders are (default: runs)"},
                                        {"json", NULL, "print one JSON object instead"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

#include "cli/forecast.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/sizes.h"
#include "base/table.h"

void qsr_forecast_print_plan(const qsr_plan *plan, const qsr_spec *const *cells, size_t n, FILE *file)
{
    char size[32];
    fprintf(file, "%s: %zu cell%s in %zu group%s; up to %s may be held at once\n", n ? cells[0]->name : "", n, n == 1 ? "" : "s",
            plan->n, plan->n == 1 ? "" : "s", qsr_size_text(plan->memory, size, sizeof size));
    for (size_t g = 0; g < plan->n; g++) {
        const qsr_plan_group *group = &plan->groups[g];
        fprintf(file, "  group %zu: %zu cell%s on one stream of %s, about %s\n", g + 1, group->n, group->n == 1 ? "" : "s",
                cells[group->cells[0]]->dataset.plugin->name, qsr_size_text(group->bytes, size, sizeof size));
    }
}

static void state_text(const qsr_survey_cell *s, char *out, size_t n)
{
    if (s->state == QSR_CELL_PENDING) snprintf(out, n, "new");
    else if (s->state == QSR_CELL_DONE) snprintf(out, n, "complete");
    else if (s->state == QSR_CELL_RUNNING) snprintf(out, n, "busy");
    else if (s->state == QSR_CELL_INTERRUPTED) snprintf(out, n, "interrupted at step %" PRIu64 " of %" PRIu64, s->step, s->steps);
    else snprintf(out, n, "%s: %s", qsr_cell_state_names[s->state], s->reason ? s->reason : "?");
}

static void print_cells(const qsr_forecast *f, const qsr_spec *const *cells)
{
    static const char *const words[QSR_WOULD] = {"train", "go on", "skip", "another shard's"};
    qsr_table table = {.columns = 7, .right = 1u << 3 | 1u << 4 | 1u << 5};
    qsr_table_row(&table, (const char *[]){"CELL", "GROUP", "WOULD", "MEMORY", "DISK", "TIME", "STATE"});
    for (size_t i = 0; i < f->n; i++) {
        const qsr_forecast_cell *c = &f->cells[i];
        char group[32] = "", memory[32] = "", disk[32] = "", time[32] = "", state[1200];
        bool works = c->would == QSR_WOULD_TRAIN || c->would == QSR_WOULD_RESUME;
        if (c->group) snprintf(group, sizeof group, "%zu", c->group);
        if (works) qsr_size_text(c->memory, memory, sizeof memory);
        if (works) qsr_size_text(c->disk, disk, sizeof disk);
        if (works) qsr_duration_text(c->seconds, time, sizeof time);
        state_text(&f->survey.cells[i], state, sizeof state);
        qsr_table_row(&table, (const char *[]){cells[i]->id, group, words[c->would], memory, disk, time, state});
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
}

void qsr_forecast_print(const qsr_forecast *f, const qsr_spec *const *cells, const qsr_run_options *o)
{
    char disk[32], left[32], time[32];
    qsr_forecast_print_plan(&f->plan, cells, f->n, stdout);
    print_cells(f, cells);
    if (f->trained == 0) {
        puts("nothing to do; nothing was created");
        return;
    }
    printf("%zu of %zu would be trained in %s/%s: at most about %s of disk, %s in the end\n", f->trained, f->n, o->out,
           cells[0]->name, qsr_size_text(f->disk, disk, sizeof disk), qsr_size_text(f->left, left, sizeof left));
    printf("about %s in steps, roughly: %.1f products of batch x d_in x d_sae each, at %.0f GFLOP/s now; what the dataset takes (a\n"
           "language model's pass) is not known before it runs. Nothing was created.\n",
           qsr_duration_text(f->seconds, time, sizeof time), f->products, f->flops / 1e9);
}

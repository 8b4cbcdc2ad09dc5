#include "cli/runs.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

const char *const *qsr_cli_list(qsr_args *args, const char *name)
{
    const char *const *given = qsr_args_values(args, name);
    const char **list = NULL;
    size_t n = 0;
    if (!given[0]) return NULL;
    for (; *given; given++) {
        char *copy = qsr_arena_strdup(&args->arena, *given);
        for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
            const char **longer = qsr_arena_alloc(&args->arena, n + 2, sizeof *longer);
            if (n) memcpy(longer, list, n * sizeof *longer);
            longer[n++] = word;
            list = longer;
        }
    }
    return list ? list : qsr_arena_alloc(&args->arena, 1, sizeof *list);
}

qsr_status qsr_cli_frame(qsr_args *args, qsr_frame *ret, qsr_error *e)
{
    qsr_archive archive;
    qsr_frame frame;
    qsr_status status = qsr_archive_read(args->words[0], &archive, e);
    if (status) return status;
    status = qsr_frame_make(&archive, qsr_args_values(args, "overlay"), &frame, e);
    qsr_archive_free(&archive);
    if (status) return status;
    for (const char *const *where = qsr_args_values(args, "where"); !status && *where; where++)
        status = qsr_frame_where(&frame, *where, e);
    if (status)
        qsr_frame_free(&frame);
    else
        *ret = frame;
    return status;
}

qsr_status qsr_cli_format(const qsr_args *args, qsr_sheet_format *ret, qsr_error *e)
{
    const char *name = qsr_args_value(args, "format");
    *ret = QSR_FORMAT_TEXT;
    if (!name || qsr_sheet_format_parse(name, ret)) return QSR_OK;
    return qsr_fail(e, QSR_E_OPTION, "--format is '%s', but must be text, csv, md, latex or json", name);
}

void qsr_cli_notes(const qsr_frame *frame)
{
    for (size_t i = 0; i < frame->n_notes; i++) fprintf(stderr, "note: %s\n", frame->notes[i]);
}

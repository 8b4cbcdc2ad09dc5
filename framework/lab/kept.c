#include "lab/kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sizes.h"
#include "format/safetensors.h"

enum { LAST_LINE = 1 << 16, REQUIRED = 3 };

/* The first REQUIRED are in every completed cell, the others where its spec asks for them. */
static const char weights[] = "sae/sae_weights.safetensors", metrics[] = "metrics.jsonl";
static const char *const results[] = {weights, "sae/cfg.json", metrics, "tokens.csv", "latents.csv", "top_contexts.jsonl"};

/* -1: there is no such file. */
static int64_t length_of(qsr_arena *arena, const char *folder, const char *file)
{
    struct stat about;
    return stat(qsr_path_join(arena, folder, file), &about) == 0 && S_ISREG(about.st_mode) ? (int64_t)about.st_size : -1;
}

json_t *qsr_kept_note(const char *folder)
{
    qsr_arena arena = {0};
    json_t *files = json_object();
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int64_t bytes = length_of(&arena, folder, results[i]);
        if (bytes >= 0) json_object_set_new(files, results[i], json_integer(bytes));
    }
    qsr_arena_free(&arena);
    return files;
}

uint64_t qsr_kept_logged_step(const char *folder)
{
    uint64_t step = 0;
    qsr_arena arena = {0};
    FILE *file = fopen(qsr_path_join(&arena, folder, metrics), "re");
    char *text = qsr_xcalloc(LAST_LINE + 2, 1);
    if (file && fseek(file, -LAST_LINE, SEEK_END) != 0) rewind(file);
    text[0] = '\n';
    size_t n = file ? fread(text + 1, 1, LAST_LINE, file) + 1 : 0;
    if (file) fclose(file);
    while (n && text[n - 1] != '\n') n--;
    text[n] = 0;
    for (char *at = text; (at = strstr(at, "\n{\"step\":"));) step = strtoull(at += 9, NULL, 10) + 1;
    free(text);
    qsr_arena_free(&arena);
    return step;
}

/* Opening maps the file and reads its header alone. */
static bool is_whole_safetensors(qsr_arena *arena, const char *folder)
{
    qsr_safetensors *file = NULL;
    qsr_status status = qsr_safetensors_open(qsr_path_join(arena, folder, weights), &file, NULL);
    qsr_safetensors_close(file);
    return !status;
}

static const char *metrics_lost(qsr_arena *arena, const char *folder, const json_t *result)
{
    const json_t *steps = json_object_get(json_object_get(result, "train"), "steps");
    uint64_t wanted = json_is_integer(steps) ? (uint64_t)json_integer_value(steps) : 0, logged = qsr_kept_logged_step(folder);
    if (logged >= wanted) return NULL;
    return qsr_arena_printf(arena, "%s is shorter than result.json says: its last step is %" PRIu64 " of %" PRIu64, metrics, logged,
                            wanted);
}

/* noted: its length then; NULL: not known. */
static const char *file_lost(qsr_arena *arena, const char *folder, const char *file, const json_t *noted)
{
    int64_t bytes = length_of(arena, folder, file);
    if (bytes < 0) return qsr_arena_printf(arena, "%s is missing", file);
    if (file == weights && !is_whole_safetensors(arena, folder))
        return qsr_arena_printf(arena, "%s is shorter than its header says, or damaged", file);
    if (!json_is_integer(noted) || bytes >= json_integer_value(noted)) return NULL;
    return qsr_arena_printf(arena, "%s is shorter than it was: %" PRId64 " of %" PRId64 " bytes", file, bytes,
                            (int64_t)json_integer_value(noted));
}

const char *qsr_kept_lost(qsr_arena *arena, const char *folder, const json_t *manifest, const json_t *result)
{
    const json_t *files = json_object_get(manifest, "files");
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        const json_t *noted = json_object_get(files, results[i]);
        const char *lost = i < REQUIRED || noted ? file_lost(arena, folder, results[i], noted) : NULL;
        if (lost) return lost;
    }
    return json_object_get(files, metrics) ? NULL : metrics_lost(arena, folder, result);
}

/* `quasar tokenize`: texts into a file of token ids. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/paths.h"
#include "base/sizes.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "format/tokenize.h"
#include "format/tokens-out.h"

static const double REDRAW_S = 0.2; /* on a terminal */
static const double REPEAT_S = 5;   /* elsewhere */

typedef struct {
    qsr_tokens_out out;
    bool quiet, terminal, drawn;
    double began, shown;
} job;

static qsr_status take_ids(void *arg, const uint32_t *ids, size_t n, qsr_error *e)
{
    job *j = arg;
    return qsr_tokens_out_put(&j->out, ids, n, e);
}

static void show(job *j, const qsr_tokenize_state *s, double now)
{
    char done[32], all[32];
    const double left = s->read ? (now - j->began) * (double)(s->size - s->read) / (double)s->read : NAN;
    fprintf(stderr, "%s%s of %s read  %.1f MB/s of text  %" PRIu64 " documents  %" PRIu64 " tokens  %.0f s left%s",
            j->terminal ? "\r" : "", qsr_size_text(s->read, done, sizeof done), qsr_size_text(s->size, all, sizeof all),
            (double)s->bytes / 1e6 / fmax(now - j->began, 1e-9), s->documents, s->tokens, left,
            j->terminal ? "\033[K" : "\n");
    fflush(stderr);
    j->shown = now;
    j->drawn = j->terminal;
}

static qsr_status show_state(void *arg, const qsr_tokenize_state *s, qsr_error *e)
{
    job *j = arg;
    const double now = qsr_clock();
    if (qsr_interrupted) return qsr_fail(e, QSR_E_IO, "interrupted");
    if (!j->quiet && now - j->shown >= (j->terminal ? REDRAW_S : REPEAT_S)) show(j, s, now);
    return QSR_OK;
}

static qsr_status tokenize(job *j, qsr_tokenizer *t, const qsr_strings *texts, const char *out, qsr_tokenize_state *state,
                           qsr_error *e)
{
    const qsr_tokenize_sink sink = {j, take_ids, show_state};
    qsr_status status = qsr_tokens_out_open(&j->out, out, qsr_tokenizer_largest(t), e);
    if (status) return status;
    status = qsr_tokenize(t, texts, &sink, state, e);
    if (j->drawn) fputs("\r\033[K", stderr);
    if (!status && !state->documents)
        status = qsr_fail(e, QSR_E_INPUT, "%s%s: there is no document: a .jsonl has an object with a \"text\" in each line",
                          texts->items[0], texts->count > 1 ? " and the other texts" : "");
    if (!status) return qsr_tokens_out_commit(&j->out, e);
    qsr_tokens_out_abort(&j->out);
    return status;
}

static void print(const job *j, const char *out, const qsr_tokenize_state *s)
{
    const double seconds = fmax(qsr_clock() - j->began, 1e-9);
    printf("%s: %" PRIu64 " document%s, %" PRIu64 " token%s as %s, from %.1f MB of text in %.1f s (%.1f MB/s)\n", out,
           s->documents, s->documents == 1 ? "" : "s", s->tokens, s->tokens == 1 ? "" : "s",
           j->out.dtype == QSR_U16 ? "uint16" : "uint32", (double)s->bytes / 1e6, seconds,
           (double)s->bytes / 1e6 / seconds);
}

static qsr_status work(qsr_args *args, const char *model, const char *out, qsr_error *e)
{
    qsr_strings texts = {0};
    qsr_tokenizer *tokenizer = NULL;
    qsr_tokenize_state state;
    job j = {.quiet = qsr_args_has(args, "quiet"), .terminal = isatty(STDERR_FILENO), .began = qsr_clock()};
    j.shown = j.began;
    qsr_status status = qsr_tokens_out_check(out, 0, e); /* its name, before anything is read */
    if (!status) status = qsr_paths_expand(&args->arena, args->words, args->n_words, &texts, e);
    if (!status) status = qsr_tokenizer_open(model, &tokenizer, e);
    if (!status) status = tokenize(&j, tokenizer, &texts, out, &state, e);
    qsr_tokenizer_close(tokenizer);
    if (!status) print(&j, out, &state);
    return status;
}

static int run(qsr_args *args)
{
    const char *model = qsr_args_value(args, "model"), *out = qsr_args_value(args, "out");
    qsr_error e = {0};
    if (!args->n_words) return qsr_command_misused(&qsr_cmd_tokenize, "needs texts: .txt or .jsonl, also .gz or .zst");
    if (!model) return qsr_command_misused(&qsr_cmd_tokenize, "needs --model DIR: the folder with the tokenizer");
    if (!out) return qsr_command_misused(&qsr_cmd_tokenize, "needs --out FILE: .npy or .bin");
    qsr_interrupt_listen();
    if (!work(args, model, out, &e)) return QSR_EXIT_OK;
    const int code = qsr_cli_report(&e);
    return qsr_interrupted ? QSR_EXIT_INTERRUPTED : code;
}

const qsr_command qsr_cmd_tokenize = {
    .name = "tokenize",
    .synopsis = "TEXT... --model DIR --out FILE",
    .summary = "encode texts as the token ids of a GPT-2 model",
    .help = "Encodes texts with the byte-level BPE in a HuggingFace folder (vocab.json and merges.txt, or\n"
            "tokenizer.json). TEXT is a file or a pattern: x.txt is one document, x.jsonl has a document in\n"
            "the \"text\" of each line; both also as .gz or .zst. Each document is preceded by the id of\n"
            "<|endoftext|>; these characters inside of a text are ordinary text. Any bytes can be encoded,\n"
            "also such as are no UTF-8. FILE is .npy (uint16, or uint32 for ids that need it) or .bin (uint16\n"
            "as nanoGPT has it); it appears when all is done. Memory does not grow with the texts.",
    .options = (const qsr_arg_option[]){{"model", "DIR", "the HuggingFace folder; required"},
                                        {"out", "FILE", "where to write, .npy or .bin; also as -o FILE; required"},
                                        {"quiet", NULL, "show no progress"},
                                        {0}},
    .run = run,
};

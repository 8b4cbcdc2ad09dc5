/* `quasar show`: a spec as the program understands it, with nothing created and nothing trained. */
#include <stdio.h>

#include "cli/command.h"
#include "spec/spec.h"

static void print_spec(const qsr_spec *spec, const qsr_args *args)
{
    if (qsr_args_has(args, "id")) {
        puts(spec->id);
        return;
    }
    qsr_text text = {0};
    qsr_spec_dump(spec, qsr_args_has(args, "canonical"), &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_show, "needs one spec, got %zu", args->n_words);
    if (qsr_args_has(args, "canonical") && qsr_args_has(args, "id"))
        return qsr_command_misused(&qsr_cmd_show, "--canonical and --id exclude each other");
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_spec *spec;
    qsr_problems problems = {0};
    int code = QSR_EXIT_OK;
    if (qsr_spec_load(args->words[0], args->overrides, args->n_overrides, &env, &spec, &problems))
        code = qsr_cli_problems(&problems);
    else
        print_spec(spec, args);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_show = {
    .name = "show",
    .synopsis = "SPEC [key=value...] [--canonical | --id] [--plugin-dir DIR]",
    .summary = "print a spec with every default filled in, without running it",
    .help = "Prints the resolved spec as YAML: `extends` merged, overrides applied, every option\n"
            "with the value it has. The output is a spec itself. All problems of a spec are\n"
            "reported at once, each with its line.",
    .options = (const qsr_arg_option[]){{"canonical", NULL, "leave out what is at its default: the text that identifies a run"},
                                        {"id", NULL, "print the run's identity alone, the name of its folder"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

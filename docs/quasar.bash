# bash completion for quasar: commands, options, plugins, spec files. Installed as bash-completion/completions/quasar; to try
# it without installing: . docs/quasar.bash

_quasar_commands() { quasar --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p'; }

# The long options in a command's own help, so that this file need not repeat them.
_quasar_options() { quasar "$1" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p'; }

_quasar_files() {
    local pattern=$1 word=$2 file
    compopt -o filenames 2>/dev/null
    while IFS= read -r file; do
        if [[ -d $file || $pattern == '*' || $file == *.yaml || $file == *.yml ]]; then COMPREPLY+=("$file"); fi
    done < <(compgen -f -- "$word")
}

_quasar_words() { mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$1" -- "$2"); }

_quasar() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        _quasar_words "$(_quasar_commands) --help --version" "$word"
        return
    fi
    case $previous in
    --out | --plugin-dir | --tensorboard | --keep-plots)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --model)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    -o)
        _quasar_files '*' "$word"
        return
        ;;
    --spec)
        _quasar_files yaml "$word"
        return
        ;;
    --overlay | --tokens)
        _quasar_files '*' "$word"
        return
        ;;
    --cell)
        local other
        for other in "${COMP_WORDS[@]}"; do
            if [[ $other == *.yaml || $other == *.yml ]]; then _quasar_words "$(quasar show "$other" --id 2>/dev/null)" "$word"; fi
        done
        return
        ;;
    --format)
        _quasar_words "text csv md latex json" "$word"
        return
        ;;
    --threads | --memory | --repeats | --rows | --cols | --where | --sort | --metric | --between | --at | --along | --d-sae | --layer | --sparkline | --interval | --title) return ;;
    esac
    if [[ $word == -* ]]; then
        _quasar_words "$(_quasar_options "$command")" "$word"
        return
    fi
    case $command in
    run | show | bench | submit | status | gc) _quasar_files yaml "$word" ;;
    plot)
        if [ "$COMP_CWORD" -eq 2 ]; then
            _quasar_words "$(quasar plot --help 2>/dev/null | sed -n 's/^  \([a-z][a-z0-9]*\)  .*/\1/p')" "$word"
            return
        fi
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        ;;
    diff | eval | table | compare | stability | latents | index | export | report | watch)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        ;;
    tokenize) _quasar_files '*' "$word" ;;
    check)
        _quasar_words "$(quasar plugins --names 2>/dev/null)" "$word"
        _quasar_files '*' "$word"
        ;;
    help) _quasar_words "$(_quasar_commands) spec $(quasar plugins --names 2>/dev/null)" "$word" ;;
    esac
}

complete -F _quasar quasar

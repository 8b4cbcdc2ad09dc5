# The house (HACKING.md): a room imports only rooms below it and itself, plugins import only the ABI, base/ and format/, and
# each library is included in one place. The check is then shown planted violations, each of which it must find.
. "${0%/*}/lib.sh"

level_of() {
    case $1 in
    quasar) echo 0 ;;
    base) echo 1 ;;
    math | spec | format) echo 2 ;;
    plugin) echo 3 ;;
    data | model) echo 4 ;;
    exchange) echo 5 ;;
    train | eval) echo 6 ;;
    lab) echo 7 ;;
    report) echo 8 ;;
    cli) echo 9 ;;
    *) echo unknown ;;
    esac
}

# Lines "FILE INCLUDED", for "room/file.h" and <quasar/plugin.h> alike.
includes() {
    (cd "$1" && grep -rnoE --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<][^">]+[">]' framework plugins) |
        sed -E 's/^([^:]*):[0-9]*:.*["<]([^">]+)[">]/\1 \2/'
}

# Prints each violation under the folder $1; nothing when the house is in order.
violations() {
    includes "$1" | while read -r file included; do
        case $file in
        framework/include/*) room=quasar ;;
        framework/*) room=${file#framework/} room=${room%%/*} ;;
        *) room=plugins ;;
        esac
        case $included in
        cblas.h) [ "$file" = framework/math/blas.c ] || echo "$file: $included belongs to math/blas.c" ;;
        yaml.h) [ "$file" = framework/spec/yaml.c ] || echo "$file: $included belongs to spec/yaml.c" ;;
        jansson.h) [ "$room" = format ] || echo "$file: $included belongs to format/" ;;
        sqlite3.h) [ "$file" = framework/lab/index.c ] || echo "$file: $included belongs to lab/index.c" ;;
        pcre2.h) [ "$file" = framework/format/split.c ] || echo "$file: $included belongs to format/split.c" ;;
        zlib.h) [ "$file" = framework/format/gzip.c ] || echo "$file: $included belongs to format/gzip.c" ;;
        zstd.h) [ "$file" = framework/format/zstd.c ] || echo "$file: $included belongs to format/zstd.c" ;;
        zip.h) [ "$file" = framework/format/npz.c ] || echo "$file: $included belongs to format/npz.c" ;;
        xxhash.h) [ "$room" = base ] || echo "$file: $included belongs to base/" ;;
        dlfcn.h) [ "$room" = plugin ] || [ "$file" = framework/math/blas.c ] || echo "$file: $included belongs to plugin/" ;;
        esac
        case $included in */*) target=${included%%/*} ;; *) continue ;; esac
        [ "$(level_of "$target")" != unknown ] || continue # a system header such as sys/stat.h
        [ "$room" != "$target" ] || continue
        if [ "$room" = plugins ]; then
            case $target in quasar | base | format) ;; *) echo "$file: plugins may not import $included" ;; esac
        elif [ "$(level_of "$room")" = unknown ]; then
            echo "$file: the room $room has no level in this test"
        elif [ "$(level_of "$target")" -ge "$(level_of "$room")" ]; then
            echo "$file: $room may not import $included"
        fi
    done
}

violations "$source_folder" >"$work/found"
[ ! -s "$work/found" ] || {
    cat "$work/found" >&2
    fail "imports must go downward"
}
[ "$(includes "$source_folder" | wc -l)" -gt 100 ] || fail "found no includes to look at"

mkdir "$work/house"
cp -R "$source_folder/framework" "$source_folder/plugins" "$work/house"
chmod -R u+w "$work/house"
# plant FILE LINE: the check must name that file, and that alone.
plant() {
    mkdir -p "$(dirname "$work/house/$1")"
    touch "$work/house/$1"
    cp "$work/house/$1" "$work/saved"
    printf '%s\n' "$2" >>"$work/house/$1"
    violations "$work/house" >"$work/found"
    [ "$(wc -l <"$work/found")" -eq 1 ] && grep -q "^$1: " "$work/found" || fail "planted in $1, not found: $2"
    cp "$work/saved" "$work/house/$1"
}
plant framework/base/text.c '#include "lab/run.h"'
plant framework/math/pool.c '#include "spec/spec.h"'
plant framework/model/sae.c '  #  include "train/step.h"'
plant framework/model/params.h '#include "data/cursor.h"'
plant framework/spec/spec.h '#include <yaml.h>'
plant framework/format/documents.c '#include <zlib.h>'
plant framework/format/tokenizer.c '#include <pcre2.h>'
plant framework/cli/cmd-tokenize.c '#include <zstd.h>'
plant framework/train/step.c '#include <cblas.h>'
plant framework/include/quasar/plugin.h '#include "base/error.h"'
plant framework/report/table.c '#include <sqlite3.h>'
plant framework/lab/index.c '#include "report/table.h"'
plant plugins/losses/mse.c '#include "math/rows.h"'
plant framework/attic/old.c '#include "base/error.h"'

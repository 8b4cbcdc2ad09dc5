# What the README says works: the commands of its ```sh blocks run, in order, from a folder that looks like the checkout. Its runs
# are shortened; commands that install or build are not repeated here (we would not be here without them).
. "${0%/*}/lib.sh"
readme=$source_folder/README.md

sed -n '/^```sh$/,/^```$/p' "$readme" | grep -v '^```' | sed 's/  *#.*$//' | grep -v '^$' >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 8 ] || fail "the README has too few commands"

mkdir -p "$work/checkout/build"
cd "$work/checkout"
ln -s "$source_folder/experiments" "$source_folder/docs" .
cat >build/quasar <<END
#!/bin/sh
case \$1 in run) set -- "\$@" train.tokens=4096 eval.tokens=512 dataset.buffer=2048 ;; esac
exec "$quasar" "\$@"
END
chmod +x build/quasar
PATH=$work/checkout/build:$PATH

# The spec that the README spells out is a spec.
sed -n '/^```yaml$/,/^```$/p' "$readme" | grep -v '^```' >my-experiment.yaml
[ -s my-experiment.yaml ] || fail "the README shows no spec"

ran=0
while IFS= read -r line; do
    case $line in
    ./bootstrap.sh* | "git clone "* | "cd "* | sudo* | make* | man*) continue ;;
    esac
    echo "+ $line"
    sh -ec "$line" >"$work/said" 2>&1 </dev/null || {
        cat "$work/said" >&2
        fail "this command of the README does not work: $line"
    }
    ran=$((ran + 1))
done <"$work/commands"
[ "$ran" -ge 5 ] || fail "only $ran commands of the README were run"

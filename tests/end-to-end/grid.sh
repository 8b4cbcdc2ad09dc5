# Grids: what docs/SPEC.md says of them is so, `quasar show` lists and explains cells, and a cell is the spec that it prints.
. "${0%/*}/lib.sh"
document=$source_folder/docs/SPEC.md
cd "$work"

# Each YAML block after the first, laid under the first one, has as many cells as its remark says.
awk '/^```yaml$/ { n++; file = sprintf("block%d.yaml", n); next } /^```/ { file = ""; next } file { print > file }' "$document"
[ -f block5.yaml ] || fail "docs/SPEC.md has too few YAML blocks"
cp block1.yaml example.yaml
for block in block[2-9].yaml; do
    said_count=$(sed -n 's/.*# \([0-9]*\) cells.*/\1/p' "$block")
    [ -n "$said_count" ] || fail "$block of docs/SPEC.md does not say how many cells it has"
    cat block1.yaml "$block" >whole.yaml
    expect 0 show whole.yaml --cells
    said out "example: $said_count cells"
    [ "$(wc -l <out)" -eq $((said_count + 3)) ] || fail "$block: --cells lists another number of cells"
    expect 0 show whole.yaml --id
    [ "$(sort -u out | wc -l)" -eq "$said_count" ] || fail "$block: not as many ids as cells"
done

# Its commands work, with runs shortened.
cat >quasar <<END2
#!/bin/sh
case \$1 in run) set -- "\$@" train.tokens=1024 eval.tokens=256 dataset.buffer=512 --quiet ;; esac
exec "$quasar" "\$@"
END2
chmod +x quasar
ran=0
sed -n '/^```sh$/,/^```$/p' "$document" | grep '^quasar' >commands
while IFS= read -r line; do
    echo "+ $line"
    PATH=$work:$PATH sh -ec "$line" >told 2>&1 </dev/null || {
        cat told >&2
        fail "this command of docs/SPEC.md does not work: $line"
    }
    ran=$((ran + 1))
done <commands
[ "$ran" -ge 6 ] || fail "only $ran commands of docs/SPEC.md were run"

# A grid as show tells it.
cat >grid.yaml <<'END2'
dataset: { plugin: synthetic, d_in: 16, features: 32, l0: 3 }
sae: { d_sae: 32 }
activation: { plugin: topk, k: 4 }
train: { tokens: 1024, batch: 128 }
eval: { tokens: 256 }
grid:
  - { activation.k: [2, 4, 2], train.log_every: 5 }
  - { activation.plugin: relu, losses.l1.coeff: [1/64] }
END2
expect 0 show grid.yaml --cells --explain seeds=1,2
grep -qE '^1 group, of up to [0-9.]+ [KMG]iB each; about [0-9.]+ s in steps, roughly, at [0-9]+ GFLOP/s now, and what the dataset takes$' out ||
    fail "no estimate of the whole"
sed -E -e '/^1 group, of up to/d' -e 's/-[0-9a-f]{12}/-............/' -e 's/ +[0-9.]+ [KMG]iB +[0-9.]+ s$/ MEMORY TIME/' \
    -e 's/ +MEMORY +TIME$/ MEMORY TIME/' out >shown && mv shown out
exactly out <<'END2'
grid: 6 cells, 2 more are equal to one of them
  block 1, grid.yaml:7:5: 6 cells
    activation.k     3  2, 4, 2  grid.yaml:7:7
    train.log_every  1  5        grid.yaml:7:32
    seed             2  1, 2     command line
  block 2, grid.yaml:8:5: 2 cells
    activation.plugin  1  relu  grid.yaml:8:7
    losses.l1.coeff    1  1/64  grid.yaml:8:32
    seed               2  1, 2  command line
    without activation.k: 4 (grid.yaml:3:32), an option of topk that relu lacks, in 2 cells

grid: 6 cells, 2 more are equal to one of them
ID                                 activation.k  train.log_every  activation.plugin  losses.l1.coeff  seed  EQUAL MEMORY TIME
topk-k2-32-synthetic-............  2             5                topk               -                1     +1 MEMORY TIME
topk-k2-32-synthetic-............  2             5                topk               -                2     +1 MEMORY TIME
topk-k4-32-synthetic-............  4             5                topk               -                1 MEMORY TIME
topk-k4-32-synthetic-............  4             5                topk               -                2 MEMORY TIME
relu-32-synthetic-............     -             10               relu               0.015625         1 MEMORY TIME
relu-32-synthetic-............     -             10               relu               0.015625         2 MEMORY TIME
END2
expect 0 show grid.yaml
said out "  k: 4"
said out "# grid: 3 cells, 1 more is equal to one of them"
expect 0 show grid.yaml grid=off --id
[ "$(wc -l <out)" -eq 1 ] || fail "grid=off should leave one cell"

# A cell is found by its id or the beginning of its hash, and what is printed is that cell.
for id in $("$quasar" show grid.yaml --id); do
    expect 0 show grid.yaml --cell "$id"
    cp out cell.yaml
    hash=${id##*-}
    expect 0 show grid.yaml --cell "${hash%????}"
    cmp out cell.yaml || fail "--cell with a part of the hash shows another cell"
    expect 0 show cell.yaml --id
    [ "$(cat out)" = "$id" ] || fail "the text of $id has another id: $(cat out)"
done
# What a cell takes grows with its size, and is not made up where the data is not there.
expect 0 show grid.yaml --cells sae.d_sae=32,4096
grep '4096-synthetic.* [0-9.]* MiB ' out >/dev/null || fail "a larger autoencoder should need MiB"
expect 0 show "$source_folder/experiments/paper/gpt2-small.yaml" --cells
said out "no estimate of memory and time: the data cannot be opened here"
expect 2 show grid.yaml --cell relu
said err "grid.yaml has no single cell 'relu'; --cells lists them"

# A base that is no experiment is shown as it was written; a grid is not evaluated.
sed 's/^activation:.*/activation: {}/' grid.yaml | sed 's/{ activation.k/{ activation.plugin: topk, activation.k/' >base.yaml
expect 0 show base.yaml
said out "activation: {}"
said out "# This is the base as it was written"
expect 2 show grid.yaml activation.k=3
said err "command line: activation.k: relu has no such option"
[ "$(grep -c 'no such option' err)" -eq 1 ] || fail "one mistake is told more than once"

# It runs, every cell in its folder.
expect 0 run grid.yaml --out runs --quiet
"$quasar" show grid.yaml --id | sort >ids
ls runs/grid | grep -- '-' | sort >folders
cmp ids folders || fail "the folders of the run are not the cells that show lists"

# Interrupted, it says of each cell where it stands and how it goes on.
"$quasar" run grid.yaml train.tokens=640_000_000 --out stopped --quiet >out 2>err &
pid=$!
tries=0
until [ -n "$(find stopped -name metrics.jsonl -size +0 2>/dev/null)" ]; do
    [ $((tries += 1)) -le 300 ] || fail "no step in 30 seconds"
    sleep 0.1
done
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -eq 130 ] || fail "interrupted, the exit code is $code"
[ "$(grep -c ' interrupted: stopped after step [0-9]* of 5000000; the same command goes on$' out)" -eq 3 ] || fail "it does not say how it goes on: $(cat out)"

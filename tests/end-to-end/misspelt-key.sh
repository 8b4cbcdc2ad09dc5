# A spec with mistakes: each with its place, a caret and a suggestion, exit code 2, and nothing created on disk.
. "${0%/*}/lib.sh"
mkdir "$work/here"
cd "$work/here"
cat >bad.yaml <<'END'
name: bad
dataset: { plugin: synthetic, d_in: 8, fetures: 16 }
sae: { d_sea: 32 }
activation:
  plugin: topk
  k: 9.5
train: { tokens: 1024, batch: 256 }
losses:
  mse: {}
  aukx: {}
END
cat >"$work/problems" <<'END'
bad.yaml:2:40: dataset.fetures: synthetic has no such option
    dataset: { plugin: synthetic, d_in: 8, fetures: 16 }
                                           ^~~~~~~
    (did you mean 'features'?)
bad.yaml:3:1: sae.d_sae: required, but not written
    sae: { d_sea: 32 }
    ^~~
bad.yaml:3:8: sae.d_sea: unknown key
    sae: { d_sea: 32 }
           ^~~~~
    (did you mean 'd_sae'?)
bad.yaml:6:6: activation.k: '9.5' is not an integer
    k: 9.5
       ^~~
bad.yaml:10:3: losses.aukx: there is no loss plugin 'aukx'
    aukx: {}
    ^~~~
    (did you mean 'auxk'?)
quasar: nothing was created
END
expect 2 run bad.yaml --out made
exactly err <"$work/problems"
expect 2 show bad.yaml
exactly err <"$work/problems"
[ ! -s "$work/out" ] || fail "something on standard output"

# A good spec does not run when another one, or an override, is bad.
cat >good.yaml <<'END'
name: good
dataset: { plugin: synthetic }
sae: { d_sae: 32 }
activation: { plugin: topk, k: 2 }
train: { tokens: 1024, batch: 256 }
END
expect 2 run good.yaml bad.yaml --out made
exactly err <"$work/problems"
expect 2 run good.yaml train.tokns=2048 --out made
said err "command line: train.tokns: unknown key"
said err "(did you mean 'tokens'?)"
expect 2 run no-such-file.yaml --out made
said err "no-such-file.yaml"
[ "$(echo *)" = "bad.yaml good.yaml" ] || fail "something was created: $(ls)"

# What YAML takes for one word.
expect 2 run good.yaml 'activation={plugin:topk, k: 2}' --out made
said err "command line: activation.plugin:topk: unknown key"
said err "(a blank belongs after the colon: 'plugin: topk')"

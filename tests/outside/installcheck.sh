#!/bin/sh
# tests/outside/installcheck.sh: what somebody outside of this tree does, with nothing but what was installed: one line of cc,
# `quasar check`, and a run. `make installcheck` calls it with DESTDIR, bindir, pkgconfigdir, pluginsdir, SOURCE, CC and CXX set.
set -eu
work=$(mktemp -d "${TMPDIR:-/tmp}/quasar-outside-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work"

PKG_CONFIG_PATH=$DESTDIR$pkgconfigdir
export PKG_CONFIG_PATH
if [ -n "$DESTDIR" ]; then # a staged install: its files know their final place, not the stage
    PKG_CONFIG_SYSROOT_DIR=$DESTDIR
    QUASAR_PLUGIN_PATH=$DESTDIR$pluginsdir
    export PKG_CONFIG_SYSROOT_DIR QUASAR_PLUGIN_PATH
else
    unset QUASAR_PLUGIN_PATH
fi
quasar=$DESTDIR$bindir/quasar
flags=$(pkg-config --cflags quasar)

echo "header alone, as C11 and as C++17"
$CC -std=c11 -Wall -Wextra -Wpedantic -Werror $flags -c -o header_c.o "$SOURCE/header_c.c"
if command -v "${CXX%% *}" >/dev/null 2>&1; then
    $CXX -std=c++17 -Wall -Wextra -Wpedantic -Werror $flags -c -o header_cxx.o "$SOURCE/header_cxx.cc"
else
    echo "  no C++ compiler here: that half is left out"
fi

mkdir -p plugins/activations
echo "$CC -std=c11 -O2 -fPIC -shared -fvisibility=hidden $flags -o plugins/activations/topr.so topr.c"
$CC -std=c11 -O2 -fPIC -shared -fvisibility=hidden $flags -o plugins/activations/topr.so "$SOURCE/topr.c"

"$quasar" check plugins/activations/topr.so
"$quasar" help activation/topr --plugin-dir plugins >help.txt
grep -q ratio help.txt
"$quasar" run "$SOURCE/topr.yaml" --plugin-dir plugins --out runs
grep -q '"status": "completed"' runs/topr/*/result.json
echo "installcheck: an outside plugin builds, passes its checks and trains"

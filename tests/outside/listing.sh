#!/bin/sh
# tests/outside/listing.sh: docs/PLUGINS.md shows tests/outside/topr.c, which `make installcheck` builds and runs, to the byte.
set -eu
shown=$(mktemp "${TMPDIR:-/tmp}/quasar-listing-XXXXXX")
trap 'rm -f "$shown"' EXIT INT TERM
sed -n '/^```c$/,/^```$/{/^```/!p;}' "$QUASAR_SOURCE/docs/PLUGINS.md" >"$shown"
diff -u "$QUASAR_SOURCE/tests/outside/topr.c" "$shown"

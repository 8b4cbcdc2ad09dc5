# tests: `make check`. Unit tests mirror framework/; each room keeps its list in tests/unit/<room>.mk.
EXTRA_DIST += tests/unit/unit.h
TEST_LDADD = libquasar.la $(CMOCKA_LIBS)
LDADD = $(TEST_LDADD)
AM_TESTS_ENVIRONMENT = QUASAR_PLUGIN_PATH='$(abs_builddir)/plugins'; export QUASAR_PLUGIN_PATH; \
	QUASAR_BUILD='$(abs_builddir)'; export QUASAR_BUILD; QUASAR_SOURCE='$(abs_srcdir)'; export QUASAR_SOURCE; \
	QUASAR_CACHE='$(abs_builddir)/tests/cache'; export QUASAR_CACHE;
if TESTS_ENABLED
include tests/unit/base.mk
include tests/unit/math.mk
include tests/unit/spec.mk
include tests/unit/format.mk
include tests/unit/plugin.mk
include tests/unit/data.mk
include tests/unit/model.mk
include tests/unit/exchange.mk
include tests/unit/eval.mk
include tests/unit/train.mk
include tests/unit/lab.mk
include tests/unit/report.mk
include tests/unit/plugins.mk
include tests/unit/cli.mk
include tests/fuzz/fuzz.mk
endif
include tests/golden/golden.mk
include tests/tools/tools.mk
TESTS += $(check_PROGRAMS)

# End-to-end tests drive the built program as a user does. They run from anywhere, write only under their own folder in
# $TMPDIR, and are listed in tests/end-to-end/end-to-end.mk.
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = $(SHELL)
include tests/end-to-end/end-to-end.mk
include tests/soak.mk
include tests/slurm/slurm.mk
include tests/chromium/chromium.mk

# What plugin authors do: `make installcheck`.
include tests/outside/outside.mk

# The unit tests alone, for the sanitized build of bootstrap.sh --check.
check-unit:
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(check_PROGRAMS)'
.PHONY: check-unit

# `make soak`: what `make check` does for a minute, for as long as it takes: 1,000 kills, every single operation on the disk.
soak: all
	@$(MAKE) $(AM_MAKEFLAGS) check TESTS=
	@for seed in 1 2 3 4 5; do $(AM_TESTS_ENVIRONMENT) QUASAR_KILLS=200 QUASAR_SEED=$$seed $(SHELL) $(srcdir)/tests/end-to-end/kill.sh || exit 1; done
	@$(AM_TESTS_ENVIRONMENT) QUASAR_IO_STRIDE=1 $(SHELL) $(srcdir)/tests/end-to-end/io.sh
.PHONY: soak

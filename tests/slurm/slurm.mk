# `make check-slurm`: submit and shards through a Slurm of its own, where it is installed; not part of check.
EXTRA_DIST += tests/slurm/check.sh
check-slurm: all
	@$(AM_TESTS_ENVIRONMENT) $(SHELL) $(srcdir)/tests/slurm/check.sh
.PHONY: check-slurm

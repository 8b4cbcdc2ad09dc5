# `make check-report`: reports of a real grid as Chromium renders them, where it is installed; not part of check.
EXTRA_DIST += tests/chromium/check.sh tests/chromium/look.html
check-report: all
	@$(AM_TESTS_ENVIRONMENT) $(SHELL) $(srcdir)/tests/chromium/check.sh
.PHONY: check-report

# unit tests of plugin: check_PROGRAMS += tests/unit/plugin/test_x, one file each
check_PROGRAMS += tests/unit/plugin/test_loader tests/unit/plugin/test_registry tests/unit/plugin/test_host tests/unit/plugin/test_check
EXTRA_DIST += tests/unit/plugin/fixtures.h
include tests/fixtures/fixtures.mk

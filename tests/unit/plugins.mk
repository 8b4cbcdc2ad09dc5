# unit tests of plugins: check_PROGRAMS += tests/unit/plugins/test_x, one file each
FAKE_HOST = tests/unit/fake_host.c tests/unit/fake_host.h

check_PROGRAMS += tests/unit/plugins/test_activations_select
tests_unit_plugins_test_activations_select_SOURCES = tests/unit/plugins/test_activations_select.c $(FAKE_HOST)
tests_unit_plugins_test_activations_select_LDADD = $(CMOCKA_LIBS)

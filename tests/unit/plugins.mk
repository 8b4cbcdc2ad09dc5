# unit tests of plugins: check_PROGRAMS += tests/unit/plugins/test_x, one file each
FAKE_HOST = tests/unit/fake_host.c tests/unit/fake_host.h

check_PROGRAMS += tests/unit/plugins/test_activations_select
tests_unit_plugins_test_activations_select_SOURCES = tests/unit/plugins/test_activations_select.c $(FAKE_HOST)
tests_unit_plugins_test_activations_select_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/plugins/test_gpt2_text
tests_unit_plugins_test_gpt2_text_SOURCES = tests/unit/plugins/test_gpt2_text.c tests/unit/plugins/gpt2-fixture.c \
	tests/unit/plugins/gpt2-fixture.h
check_PROGRAMS += tests/unit/plugins/test_gpt2 tests/unit/plugins/test_gpt2_rows tests/unit/plugins/test_gpt2_splice
tests_unit_plugins_test_gpt2_SOURCES = tests/unit/plugins/test_gpt2.c tests/unit/plugins/gpt2-fixture.c \
	tests/unit/plugins/gpt2-fixture.h
tests_unit_plugins_test_gpt2_splice_SOURCES = tests/unit/plugins/test_gpt2_splice.c tests/unit/plugins/gpt2-fixture.c \
	tests/unit/plugins/gpt2-fixture.h
tests_unit_plugins_test_gpt2_rows_LDADD = libgpt2-rows.la $(TEST_LDADD)
EXTRA_DIST += tests/golden/gpt2/losses.json tests/golden/gpt2/resid_pre.safetensors tests/golden/gpt2/tokens.npy

check_PROGRAMS += tests/unit/plugins/test_synthetic tests/unit/plugins/test_activations
tests_unit_plugins_test_synthetic_SOURCES = tests/unit/plugins/test_synthetic.c $(FAKE_HOST)
tests_unit_plugins_test_activations_SOURCES = tests/unit/plugins/test_activations.c $(FAKE_HOST)

check_PROGRAMS += tests/unit/plugins/test_activations_topafa
tests_unit_plugins_test_activations_topafa_SOURCES = tests/unit/plugins/test_activations_topafa.c $(FAKE_HOST)

check_PROGRAMS += tests/unit/plugins/test_activations_passes
tests_unit_plugins_test_activations_passes_SOURCES = tests/unit/plugins/test_activations_passes.c $(FAKE_HOST)

check_PROGRAMS += tests/unit/plugins/test_activations_jumprelu
tests_unit_plugins_test_activations_jumprelu_SOURCES = tests/unit/plugins/test_activations_jumprelu.c $(FAKE_HOST)
tests_unit_plugins_test_activations_jumprelu_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/plugins/test_losses
tests_unit_plugins_test_losses_SOURCES = tests/unit/plugins/test_losses.c $(FAKE_HOST)
tests_unit_plugins_test_losses_LDADD = $(CMOCKA_LIBS)

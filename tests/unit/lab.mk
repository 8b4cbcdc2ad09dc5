# unit tests of lab: check_PROGRAMS += tests/unit/lab/test_x, one file each
BAD_FILES = tests/unit/lab/bad-files.c tests/unit/lab/bad-files.h tests/unit/lab/child.c tests/unit/lab/child.h \
	tests/unit/zip-fixture.c tests/unit/zip-fixture.h
check_PROGRAMS += tests/unit/lab/test_archive tests/unit/lab/test_bad_input tests/unit/lab/test_index tests/unit/lab/test_mutations
tests_unit_lab_test_bad_input_SOURCES = tests/unit/lab/test_bad_input.c $(BAD_FILES)
tests_unit_lab_test_bad_input_LDADD = $(TEST_LDADD) $(ZLIB_LIBS)
tests_unit_lab_test_mutations_SOURCES = tests/unit/lab/test_mutations.c $(BAD_FILES) tests/fuzz/mutate.c tests/fuzz/mutate.h
tests_unit_lab_test_mutations_LDADD = $(TEST_LDADD) $(ZLIB_LIBS)
EXTRA_DIST += \
	tests/cases/bad-input/cache.case tests/cases/bad-input/cli.case tests/cases/bad-input/eval.case \
	tests/cases/bad-input/gpt2.case tests/cases/bad-input/npy.case tests/cases/bad-input/numbers.case \
	tests/cases/bad-input/plugins.case tests/cases/bad-input/saes.case tests/cases/bad-input/safetensors.case \
	tests/cases/bad-input/spec.case

tests_unit_lab_test_archive_SOURCES = tests/unit/lab/test_archive.c tests/unit/report/fake-runs.c tests/unit/report/fake-runs.h
tests_unit_lab_test_index_SOURCES = tests/unit/lab/test_index.c tests/unit/report/fake-runs.c tests/unit/report/fake-runs.h
tests_unit_lab_test_index_LDADD = $(TEST_LDADD) $(SQLITE_LIBS)

check_PROGRAMS += tests/unit/lab/test_group
tests_unit_lab_test_group_SOURCES = tests/unit/lab/test_group.c $(BENCH)

check_PROGRAMS += tests/unit/lab/test_cache
tests_unit_lab_test_cache_SOURCES = tests/unit/lab/test_cache.c $(BENCH)

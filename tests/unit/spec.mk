# unit tests of spec: check_PROGRAMS += tests/unit/spec/test_x, one file each
check_PROGRAMS += tests/unit/spec/test_cases tests/unit/spec/test_fuzz tests/unit/spec/test_grid tests/unit/spec/test_node tests/unit/spec/test_option \
	tests/unit/spec/test_problem tests/unit/spec/test_spec
tests_unit_spec_test_fuzz_SOURCES = tests/unit/spec/test_fuzz.c tests/fuzz/fuzz_spec.c tests/fuzz/fuzz.h
EXTRA_DIST += tests/unit/spec/fake.h tests/cases/grid/blocks.case tests/cases/grid/command-line.case \
	tests/cases/grid/errors.case tests/cases/grid/losses.case tests/cases/grid/plugins.case
EXTRA_DIST += tests/cases/spec/extends.case tests/cases/spec/keys.case tests/cases/spec/overrides.case \
	tests/cases/spec/plugins.case tests/cases/spec/values.case tests/cases/spec/yaml.case

# unit tests of spec: check_PROGRAMS += tests/unit/spec/test_x, one file each
check_PROGRAMS += tests/unit/spec/test_cases
EXTRA_DIST += tests/unit/spec/fake.h
EXTRA_DIST += tests/cases/spec/extends.case tests/cases/spec/keys.case tests/cases/spec/overrides.case \
	tests/cases/spec/plugins.case tests/cases/spec/values.case tests/cases/spec/yaml.case

# unit tests of spec: check_PROGRAMS += tests/unit/spec/test_x, one file each
check_PROGRAMS += tests/unit/spec/test_cases
EXTRA_DIST += tests/unit/spec/fake.h

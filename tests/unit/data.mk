# unit tests of data: check_PROGRAMS += tests/unit/data/test_x, one file each
check_PROGRAMS += tests/unit/data/test_position tests/unit/data/test_taps
EXTRA_DIST += tests/unit/data/fake-data.h

# unit tests of base: check_PROGRAMS += tests/unit/base/test_x, one file each

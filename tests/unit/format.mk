# unit tests of format: check_PROGRAMS += tests/unit/format/test_x, one file each

# unit tests of spec: check_PROGRAMS += tests/unit/spec/test_x, one file each

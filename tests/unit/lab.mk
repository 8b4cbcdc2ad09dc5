# unit tests of lab: check_PROGRAMS += tests/unit/lab/test_x, one file each

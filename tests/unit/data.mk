# unit tests of data: check_PROGRAMS += tests/unit/data/test_x, one file each

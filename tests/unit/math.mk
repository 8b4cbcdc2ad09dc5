# unit tests of math: check_PROGRAMS += tests/unit/math/test_x, one file each

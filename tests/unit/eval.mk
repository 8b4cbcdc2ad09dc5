# unit tests of eval: check_PROGRAMS += tests/unit/eval/test_x, one file each

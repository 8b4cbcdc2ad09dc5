# unit tests of model: check_PROGRAMS += tests/unit/model/test_x, one file each

# unit tests of plugins: check_PROGRAMS += tests/unit/plugins/test_x, one file each

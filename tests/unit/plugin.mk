# unit tests of plugin: check_PROGRAMS += tests/unit/plugin/test_x, one file each

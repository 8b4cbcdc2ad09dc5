# unit tests of base: check_PROGRAMS += tests/unit/base/test_x, one file each
check_PROGRAMS += tests/unit/base/test_arena tests/unit/base/test_error tests/unit/base/test_fs tests/unit/base/test_lines tests/unit/base/test_rng \
	tests/unit/base/test_sizes tests/unit/base/test_table tests/unit/base/test_text

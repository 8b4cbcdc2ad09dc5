# unit tests of cli: check_PROGRAMS += tests/unit/cli/test_x, one file each
CLI_TEST_LDADD = libcli.la $(TEST_LDADD)
check_PROGRAMS += tests/unit/cli/test_args tests/unit/cli/test_progress
tests_unit_cli_test_args_LDADD = $(CLI_TEST_LDADD)
tests_unit_cli_test_progress_LDADD = $(CLI_TEST_LDADD)
check_PROGRAMS += tests/unit/cli/test_screen
tests_unit_cli_test_screen_LDADD = $(CLI_TEST_LDADD)

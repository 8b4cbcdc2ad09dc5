# unit tests of math: check_PROGRAMS += tests/unit/math/test_x, one file each
check_PROGRAMS += tests/unit/math/test_kernel tests/unit/math/test_pairs tests/unit/math/test_pool tests/unit/math/test_prefix tests/unit/math/test_product \
	tests/unit/math/test_quartet tests/unit/math/test_screen tests/unit/math/test_select tests/unit/math/test_shortlist tests/unit/math/test_sparse

# unit tests of format: check_PROGRAMS += tests/unit/format/test_x, one file each
check_PROGRAMS += tests/unit/format/test_csv tests/unit/format/test_dtype tests/unit/format/test_json tests/unit/format/test_npy \
	tests/unit/format/test_safetensors tests/unit/format/test_tfevents

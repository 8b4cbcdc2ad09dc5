# unit tests of format: check_PROGRAMS += tests/unit/format/test_x, one file each
check_PROGRAMS += tests/unit/format/test_csv tests/unit/format/test_dtype tests/unit/format/test_json tests/unit/format/test_npy \
	tests/unit/format/test_safetensors tests/unit/format/test_tfevents
check_PROGRAMS += tests/unit/format/test_tokenizer tests/unit/format/test_documents tests/unit/format/test_tokens
tests_unit_format_test_documents_LDADD = $(TEST_LDADD) $(ZLIB_LIBS) $(ZSTD_LIBS)

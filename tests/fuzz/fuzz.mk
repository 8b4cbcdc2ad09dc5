# Readers under arbitrary bytes: the deterministic beginning of it in `make check`; tests/fuzz/fuzz.h says how to go on.
FUZZ = tests/fuzz/smoke.c tests/fuzz/mutate.c tests/fuzz/mutate.h tests/fuzz/fuzz.c tests/fuzz/fuzz.h
check_PROGRAMS += tests/fuzz/smoke_safetensors tests/fuzz/smoke_npy tests/fuzz/smoke_tokenizer tests/fuzz/smoke_documents
tests_fuzz_smoke_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c $(FUZZ)
tests_fuzz_smoke_safetensors_LDADD = libformat.la libbase.la
tests_fuzz_smoke_npy_SOURCES = tests/fuzz/fuzz_npy.c $(FUZZ)
tests_fuzz_smoke_npy_LDADD = libformat.la libbase.la
tests_fuzz_smoke_tokenizer_SOURCES = tests/fuzz/fuzz_tokenizer.c $(FUZZ)
tests_fuzz_smoke_tokenizer_LDADD = libformat.la libbase.la
tests_fuzz_smoke_documents_SOURCES = tests/fuzz/fuzz_documents.c $(FUZZ)
tests_fuzz_smoke_documents_LDADD = libformat.la libbase.la
check_PROGRAMS += tests/fuzz/smoke_npz
tests_fuzz_smoke_npz_SOURCES = tests/fuzz/fuzz_npz.c tests/unit/zip-fixture.c tests/unit/zip-fixture.h $(FUZZ)
tests_fuzz_smoke_npz_LDADD = libformat.la libbase.la $(ZLIB_LIBS)

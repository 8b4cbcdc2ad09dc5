# unit tests of exchange: check_PROGRAMS += tests/unit/exchange/test_x, one file each
check_PROGRAMS += tests/unit/exchange/test_exchange
tests_unit_exchange_test_exchange_SOURCES = tests/unit/exchange/test_exchange.c tests/unit/zip-fixture.c tests/unit/zip-fixture.h
tests_unit_exchange_test_exchange_LDADD = $(TEST_LDADD) $(ZLIB_LIBS)

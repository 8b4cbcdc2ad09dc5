# unit tests of data: check_PROGRAMS += tests/unit/data/test_x, one file each
check_PROGRAMS += tests/unit/data/test_feed tests/unit/data/test_position tests/unit/data/test_taps
tests_unit_data_test_feed_SOURCES = tests/unit/data/test_feed.c $(BENCH)
tests_unit_data_test_feed_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pthread_create -Wl,--wrap=aligned_alloc
EXTRA_DIST += tests/unit/data/counted-stream.h tests/unit/data/fake-data.h

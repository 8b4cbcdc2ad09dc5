# Programs for measuring, not built by themselves: make tests/tools/random-gpt2
EXTRA_PROGRAMS = tests/tools/random-gpt2
tests_tools_random_gpt2_LDADD = libquasar.la
CLEANFILES += $(EXTRA_PROGRAMS)

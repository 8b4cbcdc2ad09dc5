# cli: main.c and one cmd-*.c per subcommand. Imports everything.
bin_PROGRAMS += quasar
quasar_SOURCES = framework/cli/main.c
quasar_LDADD = libquasar.la
quasar_LDFLAGS = $(AM_LDFLAGS)

# cli: main.c and one cmd-*.c per subcommand. Imports everything. All but main.c is a library, so that tests can link it.
noinst_LTLIBRARIES += libcli.la
libcli_la_SOURCES = \
	framework/cli/args.c framework/cli/args.h framework/cli/bench-print.c framework/cli/bench-print.h \
	framework/cli/bench-table.c framework/cli/bench-table.h framework/cli/cells.c framework/cli/cells.h \
	framework/cli/cmd-bench.c framework/cli/cmd-cache.c framework/cli/cmd-check.c framework/cli/cmd-compare.c \
	framework/cli/cmd-diff.c framework/cli/cmd-doctor.c framework/cli/cmd-eval.c framework/cli/cmd-export.c \
	framework/cli/cmd-gc.c framework/cli/cmd-help.c framework/cli/cmd-index.c framework/cli/cmd-inspect.c \
	framework/cli/cmd-latents.c framework/cli/cmd-plot.c framework/cli/cmd-plugins.c framework/cli/cmd-report.c \
	framework/cli/cmd-run.c framework/cli/cmd-show.c framework/cli/cmd-stability.c framework/cli/cmd-status.c \
	framework/cli/cmd-submit.c framework/cli/cmd-table.c framework/cli/cmd-tokenize.c framework/cli/cmd-version.c \
	framework/cli/cmd-watch.c framework/cli/command.c framework/cli/command.h framework/cli/forecast.c \
	framework/cli/forecast.h framework/cli/interrupt.c framework/cli/interrupt.h framework/cli/progress.c framework/cli/progress.h framework/cli/results.c \
	framework/cli/results.h framework/cli/runs.c framework/cli/runs.h framework/cli/screen.c framework/cli/screen.h
libcli_la_LIBADD = libquasar.la

bin_PROGRAMS += quasar
quasar_SOURCES = framework/cli/main.c
quasar_LDADD = libcli.la
quasar_LDFLAGS = $(AM_LDFLAGS)

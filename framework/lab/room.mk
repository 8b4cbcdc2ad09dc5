# lab: cells on disk: run, store, manifest. Imports everything but report and cli.
libquasar_la_SOURCES += \
	framework/lab/archive.c framework/lab/archive.h framework/lab/bench.c framework/lab/bench.h framework/lab/cache-plan.c \
	framework/lab/cache-shards.c \
	framework/lab/cache.c framework/lab/cache.h framework/lab/cell.c framework/lab/cell.h framework/lab/convert.c \
	framework/lab/convert.h framework/lab/describe.c framework/lab/describe.h framework/lab/diff.c framework/lab/diff.h \
	framework/lab/forecast.c framework/lab/forecast.h framework/lab/group.c framework/lab/group.h framework/lab/index.c \
	framework/lab/index.h framework/lab/judge-find.c framework/lab/judge-parts.h framework/lab/judge-spec.c \
	framework/lab/judge.c framework/lab/judge.h framework/lab/kept.c framework/lab/kept.h framework/lab/leftovers.c framework/lab/leftovers.h framework/lab/loaded.c \
	framework/lab/loaded.h framework/lab/manifest.c framework/lab/manifest.h \
	framework/lab/origin.c framework/lab/origin.h framework/lab/plan.c framework/lab/plan.h \
	framework/lab/profile.c framework/lab/profile.h framework/lab/run.c framework/lab/run.h framework/lab/saebench.c framework/lab/saebench.h framework/lab/store.c \
	framework/lab/store.h framework/lab/survey.c framework/lab/survey.h

# The commit that the program was built from, for manifests: written anew at every make, touched only when it changed.
BUILT_SOURCES += framework/lab/git-commit.h
CLEANFILES += framework/lab/git-commit.h
nodist_libquasar_la_SOURCES = framework/lab/git-commit.h
framework/lab/git-commit.h: FORCE
	@$(MKDIR_P) framework/lab; \
	commit=`test -e $(srcdir)/.git && cd $(srcdir) && git describe --always --dirty 2>/dev/null || echo release`; \
	echo "#define QSR_GIT_COMMIT \"$$commit\"" > $@.tmp; \
	if cmp -s $@.tmp $@; then rm -f $@.tmp; else mv $@.tmp $@; fi
FORCE:
.PHONY: FORCE

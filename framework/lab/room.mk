# lab: cells on disk: run, store, manifest. Imports everything but report and cli.
libquasar_la_SOURCES += \
	framework/lab/manifest.c framework/lab/manifest.h framework/lab/run.c framework/lab/run.h \
	framework/lab/store.c framework/lab/store.h

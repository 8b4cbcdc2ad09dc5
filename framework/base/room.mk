# base: arena, error, log, text, random numbers, files, sizes. No SAE, no YAML, no BLAS. Imports nothing of ours.
libbase_la_SOURCES += \
	framework/base/arena.c framework/base/arena.h framework/base/clock.c framework/base/clock.h \
	framework/base/error.c framework/base/error.h framework/base/fs.c framework/base/fs.h \
	framework/base/log.c framework/base/log.h framework/base/paths.c framework/base/paths.h framework/base/prefetch.h framework/base/rng.c framework/base/rng.h \
	framework/base/lines.c framework/base/lines.h \
	framework/base/sizes.c framework/base/sizes.h framework/base/table.c framework/base/table.h \
	framework/base/text.c framework/base/text.h

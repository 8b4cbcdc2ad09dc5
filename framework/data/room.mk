# data: datasets as units, the order of training rows. Imports base, math, spec, format, plugin.
libquasar_la_SOURCES += \
	framework/data/cursor.c framework/data/cursor.h framework/data/cursor-parts.h framework/data/dataset.c framework/data/dataset.h \
	framework/data/key.c framework/data/mask.c framework/data/position.c framework/data/feed.c framework/data/feed.h \
	framework/data/sample.c framework/data/window.c

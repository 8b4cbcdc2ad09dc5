# plugin: from a file to instances, and the suite that tests both. Imports base, math, spec (option tables).
libquasar_la_SOURCES += \
	framework/plugin/check.h \
	framework/plugin/descriptor.c framework/plugin/descriptor.h \
	framework/plugin/host.c framework/plugin/host.h \
	framework/plugin/instance.c framework/plugin/instance.h \
	framework/plugin/loader.c framework/plugin/loader.h \
	framework/plugin/registry.c framework/plugin/registry.h

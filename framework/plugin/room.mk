# plugin: from a file to instances, and the suite that tests both. Imports base, math, spec (option tables).
libquasar_la_SOURCES += \
	framework/plugin/loader.h framework/plugin/registry.h framework/plugin/host.h framework/plugin/instance.h \
	framework/plugin/check.h

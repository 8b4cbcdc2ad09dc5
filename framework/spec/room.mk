# spec: YAML specs, typed by option tables, with the place of every value; see framework/spec/spec.h.
libquasar_la_SOURCES += \
	framework/spec/axis.c framework/spec/axis.h \
	framework/spec/dump.c \
	framework/spec/experiment.c framework/spec/experiment.h \
	framework/spec/extends.c \
	framework/spec/grid.c framework/spec/grid.h \
	framework/spec/load.h \
	framework/spec/node.c framework/spec/node.h \
	framework/spec/option-help.c \
	framework/spec/option-lint.c \
	framework/spec/option.c framework/spec/option.h \
	framework/spec/override.c \
	framework/spec/problem.c framework/spec/problem.h \
	framework/spec/resolve.c \
	framework/spec/spec.c framework/spec/spec.h \
	framework/spec/substitute.c framework/spec/substitute.h \
	framework/spec/utf8.c framework/spec/utf8.h \
	framework/spec/yaml.c framework/spec/yaml.h

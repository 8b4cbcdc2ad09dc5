# plugin: from a file to instances, and the suite that tests both. Imports base, math, spec (option tables).
libquasar_la_SOURCES += \
	framework/plugin/check-activation.c framework/plugin/check-batch.c framework/plugin/check-batch.h \
	framework/plugin/check-dataset.c framework/plugin/check-gradient.c framework/plugin/check-gradient.h \
	framework/plugin/check-identity.c framework/plugin/check-lifecycle.c framework/plugin/check-loss.c \
	framework/plugin/check-parts.h framework/plugin/check-splice.c framework/plugin/check-state.c framework/plugin/check-tokens.c framework/plugin/check-tools.c \
	framework/plugin/check-world.c framework/plugin/check-world.h framework/plugin/check.c framework/plugin/check.h \
	framework/plugin/descriptor.c framework/plugin/descriptor.h framework/plugin/elf.c framework/plugin/elf.h \
	framework/plugin/extension.c framework/plugin/extension.h \
	framework/plugin/host.c framework/plugin/host.h \
	framework/plugin/instance.c framework/plugin/instance.h \
	framework/plugin/loader.c framework/plugin/loader.h \
	framework/plugin/registry.c framework/plugin/registry.h

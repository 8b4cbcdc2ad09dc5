# exchange: SAEs in the formats of other tools, read, described and written. Imports base, math, spec, format, plugin, model.
libquasar_la_SOURCES += \
	framework/exchange/examine.c framework/exchange/examine.h framework/exchange/fold.c framework/exchange/fold.h \
	framework/exchange/formats.h framework/exchange/gemma-scope.c framework/exchange/pickle.c framework/exchange/pretrained.c \
	framework/exchange/pretrained.h framework/exchange/probe.c framework/exchange/probe.h framework/exchange/rule.c \
	framework/exchange/rule.h framework/exchange/saelens.c framework/exchange/sparsify.c framework/exchange/tensor-file.c \
	framework/exchange/tensor-file.h framework/exchange/write.c framework/exchange/write.h

# model: weights, normalisation, codes, encode and decode. Imports base, math, spec, format, plugin.
libquasar_la_SOURCES += \
	framework/model/choose.c framework/model/choose.h framework/model/code.c framework/model/code.h framework/model/normalise.c framework/model/normalise.h \
	framework/model/params.c framework/model/params.h framework/model/sae.c framework/model/sae.h framework/model/sieve.c framework/model/sieve.h \
	framework/model/sift.c framework/model/sift.h

# eval: metrics, AFA diagnostics, latents, coherence, matching, statistics. Imports base, math, spec, format, plugin, data, model.
libquasar_la_SOURCES += \
	framework/eval/afa.c framework/eval/afa.h framework/eval/coherence.c framework/eval/coherence.h \
	framework/eval/contexts.c framework/eval/contexts.h framework/eval/evaluate.c framework/eval/evaluate.h \
	framework/eval/latents.c framework/eval/latents.h framework/eval/match.c framework/eval/match.h framework/eval/metric.c \
	framework/eval/metric.h framework/eval/splice.c framework/eval/splice.h framework/eval/statistics.c \
	framework/eval/statistics.h framework/eval/tokens-csv.c framework/eval/tokens-csv.h

# eval: metrics, AFA diagnostics, coherence, matching, statistics. Imports base, math, format, plugin, data, model.
libquasar_la_SOURCES += \
	framework/eval/afa.c framework/eval/afa.h framework/eval/coherence.c framework/eval/coherence.h \
	framework/eval/evaluate.c framework/eval/evaluate.h framework/eval/match.c framework/eval/match.h \
	framework/eval/metric.c framework/eval/metric.h framework/eval/statistics.c framework/eval/statistics.h \
	framework/eval/tokens-csv.c framework/eval/tokens-csv.h

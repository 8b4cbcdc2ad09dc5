# report: what runs came to: tables, comparisons, stability over seeds, exports. Imports everything but cli.
libquasar_la_SOURCES += \
	framework/report/compare.c framework/report/compare-text.c framework/report/compare.h framework/report/frame.c framework/report/frame.h \
	framework/report/overlay.c framework/report/overlay.h framework/report/sheet.c framework/report/sheet.h \
	framework/report/latent-table.c framework/report/latent-table.h framework/report/stability.c framework/report/stability.h \
	framework/report/table.c framework/report/table.h framework/report/tensorboard.c framework/report/tensorboard.h \
	framework/report/contexts.c framework/report/contexts.h framework/report/density.c framework/report/density.h \
	framework/report/evaluations.c framework/report/evaluations.h \
	framework/report/figure.c framework/report/figure.h framework/report/figures.c framework/report/figures.h \
	framework/report/figure-afa.c framework/report/figure-curves.c framework/report/figure-dots.c framework/report/figure-histogram.c \
	framework/report/figure-pareto.c framework/report/figure-violin.c framework/report/figure-zf.c \
	framework/report/gnuplot.c framework/report/gnuplot.h framework/report/history.c framework/report/history.h \
	framework/report/html.c framework/report/html.h framework/report/page.c framework/report/page.h \
	framework/report/page-cells.c framework/report/page-figures.c framework/report/page-latents.c framework/report/page-parts.h \
	framework/report/page-style.c framework/report/plots.c framework/report/plots.h \
	framework/report/study.c framework/report/study.h framework/report/svg.c framework/report/svg.h \
	framework/report/tokens.c framework/report/tokens.h framework/report/watch.c framework/report/watch.h

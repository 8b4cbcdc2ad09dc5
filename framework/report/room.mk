# report: what runs came to: tables, comparisons, stability over seeds, exports. Imports everything but cli.
libquasar_la_SOURCES += \
	framework/report/compare.c framework/report/compare-text.c framework/report/compare.h framework/report/frame.c framework/report/frame.h \
	framework/report/overlay.c framework/report/overlay.h framework/report/sheet.c framework/report/sheet.h \
	framework/report/stability.c framework/report/stability.h \
	framework/report/table.c framework/report/table.h framework/report/tensorboard.c framework/report/tensorboard.h

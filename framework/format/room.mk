# format: tensor files and JSON, read without trust. Imports base alone; may be linked into plugins of this tree.
libformat_la_SOURCES += \
	framework/format/csv.c framework/format/csv.h framework/format/dtype.c framework/format/dtype.h framework/format/json.c framework/format/json.h \
	framework/format/npy.c framework/format/npy.h framework/format/safetensors.c framework/format/safetensors.h \
	framework/format/tfevents.c framework/format/tfevents.h

# format: tensor files and JSON, read without trust. Imports base alone; may be linked into plugins of this tree.
libformat_la_SOURCES += \
	framework/format/cache.c framework/format/cache.h \
	framework/format/csv.c framework/format/csv.h framework/format/dtype.c framework/format/dtype.h framework/format/json.c framework/format/json.h \
	framework/format/npy.c framework/format/npy.h framework/format/npz.c framework/format/npz.h framework/format/safetensors.c framework/format/safetensors.h \
	framework/format/tfevents.c framework/format/tfevents.h
# text: PCRE2 is split.c's, zlib gzip.c's, libzstd zstd.c's
libformat_la_SOURCES += \
	framework/format/bpe.c framework/format/bpe.h framework/format/bytelevel.c framework/format/bytelevel.h \
	framework/format/documents.c framework/format/documents.h framework/format/merges.c framework/format/merges.h \
	framework/format/split.c framework/format/split.h framework/format/tokenize.c framework/format/tokenize.h \
	framework/format/tokenizer.c framework/format/tokenizer.h framework/format/tokens.c framework/format/tokens.h \
	framework/format/tokens-out.c framework/format/tokens-out.h framework/format/vocabulary.c framework/format/vocabulary.h \
	framework/format/codec.h framework/format/gzip.c framework/format/zstd.c

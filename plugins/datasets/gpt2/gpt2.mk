# gpt2: a dataset plugin of several files. rows-body.c is compiled once per instruction set, like framework/math's kernels.
datasets_LTLIBRARIES += plugins/datasets/gpt2.la
plugins_datasets_gpt2_la_SOURCES = \
	plugins/datasets/exclude.c plugins/datasets/exclude.h \
	plugins/datasets/gpt2/attention.c plugins/datasets/gpt2/attention.h plugins/datasets/gpt2/config.c \
	plugins/datasets/gpt2/config.h plugins/datasets/gpt2/forward.c plugins/datasets/gpt2/forward.h \
	plugins/datasets/gpt2/gpt2.c plugins/datasets/gpt2/head.c plugins/datasets/gpt2/head.h plugins/datasets/gpt2/model.c \
	plugins/datasets/gpt2/model.h plugins/datasets/gpt2/pass.c plugins/datasets/gpt2/pass.h plugins/datasets/gpt2/splice.c \
	plugins/datasets/gpt2/splice.h plugins/datasets/gpt2/text.c plugins/datasets/gpt2/text.h plugins/datasets/gpt2/tokens.c plugins/datasets/gpt2/tokens.h \
	plugins/datasets/gpt2/weights.c plugins/datasets/gpt2/weights.h
plugins_datasets_gpt2_la_CFLAGS = $(PLUGIN_CFLAGS) -I$(srcdir)/plugins/datasets
plugins_datasets_gpt2_la_LDFLAGS = $(MODULE_FLAGS)
plugins_datasets_gpt2_la_LIBADD = libgpt2-rows.la libformat.la libbase.la

noinst_LTLIBRARIES += libgpt2-rows.la libgpt2-rows-portable.la
libgpt2_rows_la_SOURCES = plugins/datasets/gpt2/rows.c plugins/datasets/gpt2/rows.h
libgpt2_rows_la_LIBADD = libgpt2-rows-portable.la
libgpt2_rows_portable_la_SOURCES = plugins/datasets/gpt2/rows-body.c
libgpt2_rows_portable_la_CFLAGS = $(PLUGIN_CFLAGS) -Wno-psabi -DGPT2_ROWS=portable
if HAVE_AVX2
noinst_LTLIBRARIES += libgpt2-rows-avx2.la
libgpt2_rows_avx2_la_SOURCES = plugins/datasets/gpt2/rows-body.c
libgpt2_rows_avx2_la_CFLAGS = $(PLUGIN_CFLAGS) -mavx2 -mfma -Wno-psabi -DGPT2_ROWS=avx2
libgpt2_rows_la_LIBADD += libgpt2-rows-avx2.la
endif
if HAVE_AVX512
noinst_LTLIBRARIES += libgpt2-rows-avx512.la
libgpt2_rows_avx512_la_SOURCES = plugins/datasets/gpt2/rows-body.c
libgpt2_rows_avx512_la_CFLAGS = $(PLUGIN_CFLAGS) -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma \
	-mprefer-vector-width=512 -Wno-psabi -DGPT2_ROWS=avx512
libgpt2_rows_la_LIBADD += libgpt2-rows-avx512.la
endif

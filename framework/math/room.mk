# math: pool, BLAS, rows, selection, kernels. Imports base/. KERNEL_BODIES are compiled once per instruction set.
libquasar_la_SOURCES += \
	framework/math/blas.c framework/math/blas.h framework/math/compress.h framework/math/kernel.c framework/math/kernel.h framework/math/lanes.h \
	framework/math/pairs.c framework/math/pairs.h framework/math/pool.c framework/math/pool.h framework/math/prefix.c framework/math/prefix.h framework/math/product.c framework/math/product.h framework/math/quartet.c framework/math/quartet.h \
	framework/math/rows.c framework/math/rows.h framework/math/screen.c framework/math/screen.h framework/math/select.c framework/math/select.h \
	framework/math/shortlist.c framework/math/shortlist.h framework/math/sparse.c framework/math/sparse.h framework/math/turn.h

KERNEL_BODIES = framework/math/kernel-body.c framework/math/pairs-body.c framework/math/prefix-body.c framework/math/select-body.c framework/math/shortlist-body.c \
	framework/math/quartet-body.c framework/math/sparse-body.c
noinst_LTLIBRARIES += libkernel-portable.la
libkernel_portable_la_SOURCES = $(KERNEL_BODIES)
libkernel_portable_la_CFLAGS = $(AM_CFLAGS) -O3 -ffp-contract=fast -Wno-psabi -DQSR_KERNELS=portable
libquasar_la_LIBADD += libkernel-portable.la
if HAVE_AVX2
noinst_LTLIBRARIES += libkernel-avx2.la
libkernel_avx2_la_SOURCES = $(KERNEL_BODIES) framework/math/product-body.c
libkernel_avx2_la_CFLAGS = $(AM_CFLAGS) -O3 -mavx2 -mfma -ffp-contract=fast -Wno-psabi -DQSR_KERNELS=avx2
libquasar_la_LIBADD += libkernel-avx2.la
endif
if HAVE_AVX512
noinst_LTLIBRARIES += libkernel-avx512.la
libkernel_avx512_la_SOURCES = $(KERNEL_BODIES) framework/math/product-body.c
libkernel_avx512_la_CFLAGS = $(AM_CFLAGS) -O3 -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma -mprefer-vector-width=512 \
	-ffp-contract=fast -Wno-psabi -DQSR_KERNELS=avx512
libquasar_la_LIBADD += libkernel-avx512.la
endif
if HAVE_AVX512BF16
noinst_LTLIBRARIES += libkernel-avx512bf16.la
libkernel_avx512bf16_la_SOURCES = framework/math/screen-body.c
libkernel_avx512bf16_la_CFLAGS = $(AM_CFLAGS) -O3 -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma -mavx512bf16 \
	-mprefer-vector-width=512 -Wno-psabi -DQSR_KERNELS=bf16
libquasar_la_LIBADD += libkernel-avx512bf16.la
endif
if HAVE_AVX512VNNI
noinst_LTLIBRARIES += libkernel-avx512vnni.la
libkernel_avx512vnni_la_SOURCES = framework/math/screen-body.c
libkernel_avx512vnni_la_CFLAGS = $(AM_CFLAGS) -O3 -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma -mavx512vnni \
	-mprefer-vector-width=512 -Wno-psabi -DQSR_KERNELS=int8
libquasar_la_LIBADD += libkernel-avx512vnni.la
endif

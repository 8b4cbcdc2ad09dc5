# plugins: each one file (a big one: one folder), built as a module with one exported symbol.
MODULE_FLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^qsr_plugin_entry$$'
activationsdir = $(pkglibdir)/activations
lossesdir = $(pkglibdir)/losses
datasetsdir = $(pkglibdir)/datasets
activations_LTLIBRARIES =
losses_LTLIBRARIES =
datasets_LTLIBRARIES =

# -O3: their loops are the vectorisable kind; floating point stays exact (AM_CFLAGS sets -ffp-contract=off)
PLUGIN_CFLAGS = $(AM_CFLAGS) -O3

activations_LTLIBRARIES += plugins/activations/relu.la
plugins_activations_relu_la_SOURCES = plugins/activations/relu.c
plugins_activations_relu_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_activations_relu_la_LDFLAGS = $(MODULE_FLAGS)

activations_LTLIBRARIES += plugins/activations/topk.la
plugins_activations_topk_la_SOURCES = plugins/activations/topk.c
plugins_activations_topk_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_activations_topk_la_LDFLAGS = $(MODULE_FLAGS)

activations_LTLIBRARIES += plugins/activations/batchtopk.la
plugins_activations_batchtopk_la_SOURCES = plugins/activations/batchtopk.c
plugins_activations_batchtopk_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_activations_batchtopk_la_LDFLAGS = $(MODULE_FLAGS)

activations_LTLIBRARIES += plugins/activations/topafa.la
plugins_activations_topafa_la_SOURCES = plugins/activations/topafa.c
plugins_activations_topafa_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_activations_topafa_la_LDFLAGS = $(MODULE_FLAGS)

activations_LTLIBRARIES += plugins/activations/jumprelu.la
plugins_activations_jumprelu_la_SOURCES = plugins/activations/jumprelu.c
plugins_activations_jumprelu_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_activations_jumprelu_la_LDFLAGS = $(MODULE_FLAGS)

losses_LTLIBRARIES += plugins/losses/mse.la
plugins_losses_mse_la_SOURCES = plugins/losses/mse.c
plugins_losses_mse_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_losses_mse_la_LDFLAGS = $(MODULE_FLAGS)

losses_LTLIBRARIES += plugins/losses/l1.la
plugins_losses_l1_la_SOURCES = plugins/losses/l1.c
plugins_losses_l1_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_losses_l1_la_LDFLAGS = $(MODULE_FLAGS)

losses_LTLIBRARIES += plugins/losses/l0.la
plugins_losses_l0_la_SOURCES = plugins/losses/l0.c
plugins_losses_l0_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_losses_l0_la_LDFLAGS = $(MODULE_FLAGS)

losses_LTLIBRARIES += plugins/losses/afa.la
plugins_losses_afa_la_SOURCES = plugins/losses/afa.c
plugins_losses_afa_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_losses_afa_la_LDFLAGS = $(MODULE_FLAGS)

losses_LTLIBRARIES += plugins/losses/auxk.la
plugins_losses_auxk_la_SOURCES = plugins/losses/auxk.c
plugins_losses_auxk_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_losses_auxk_la_LDFLAGS = $(MODULE_FLAGS)

# Datasets may use the static base and format rooms; their symbols stay inside the module.
datasets_LTLIBRARIES += plugins/datasets/activations.la
plugins_datasets_activations_la_SOURCES = plugins/datasets/activations.c plugins/datasets/cached.c \
	plugins/datasets/cached.h plugins/datasets/exclude.c plugins/datasets/exclude.h
plugins_datasets_activations_la_CFLAGS = $(PLUGIN_CFLAGS) -I$(srcdir)/plugins/datasets
plugins_datasets_activations_la_LDFLAGS = $(MODULE_FLAGS)
plugins_datasets_activations_la_LIBADD = libformat.la libbase.la

datasets_LTLIBRARIES += plugins/datasets/synthetic.la
plugins_datasets_synthetic_la_SOURCES = plugins/datasets/synthetic.c
plugins_datasets_synthetic_la_CFLAGS = $(PLUGIN_CFLAGS)
plugins_datasets_synthetic_la_LDFLAGS = $(MODULE_FLAGS)
plugins_datasets_synthetic_la_LIBADD = libbase.la

include plugins/datasets/gpt2/gpt2.mk

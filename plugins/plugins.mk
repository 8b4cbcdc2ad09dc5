# plugins: each one file (a big one: one folder), built as a module with one exported symbol.
MODULE_FLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -export-symbols-regex '^qsr_plugin_entry$$'
activationsdir = $(pkglibdir)/activations
lossesdir = $(pkglibdir)/losses
datasetsdir = $(pkglibdir)/datasets
activations_LTLIBRARIES =
losses_LTLIBRARIES =
datasets_LTLIBRARIES =

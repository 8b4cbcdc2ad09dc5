# docs: man page, completion, documents.
dist_man1_MANS += docs/quasar.1
bashcompletiondir = $(datadir)/bash-completion/completions
EXTRA_DIST += \
	docs/ARCHITECTURE.md docs/GPT2.md docs/LATENTS.md docs/PERFORMANCE.md docs/PLUGINS.md docs/REPORT.md docs/SAES.md \
	docs/SPEC.md docs/quasar.bash docs/report.png
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)'
	$(INSTALL_DATA) '$(srcdir)/docs/quasar.bash' '$(DESTDIR)$(bashcompletiondir)/quasar'
uninstall-local:
	rm -f '$(DESTDIR)$(bashcompletiondir)/quasar'

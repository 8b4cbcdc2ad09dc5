# docs: man page, completion, documents.
dist_man1_MANS += docs/quasar.1
bashcompletiondir = $(datadir)/bash-completion/completions
EXTRA_DIST += docs/quasar.bash docs/ARCHITECTURE.md docs/GPT2.md docs/LATENTS.md docs/PLUGINS.md docs/PERFORMANCE.md docs/REPORT.md docs/report.png docs/SPEC.md
EXTRA_DIST += docs/quasar.bash docs/ARCHITECTURE.md docs/GPT2.md docs/LATENTS.md docs/PLUGINS.md docs/PERFORMANCE.md docs/REPORT.md docs/SAES.md docs/SPEC.md
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)'
	$(INSTALL_DATA) '$(srcdir)/docs/quasar.bash' '$(DESTDIR)$(bashcompletiondir)/quasar'
uninstall-local:
	rm -f '$(DESTDIR)$(bashcompletiondir)/quasar'

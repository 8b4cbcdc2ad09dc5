# outside: what plugin authors do with an installed Quasar. `make installcheck` after `make install`.
EXTRA_DIST += tests/outside/topr.c tests/outside/topr.yaml tests/outside/header_c.c tests/outside/header_cxx.cc \
	tests/outside/installcheck.sh tests/outside/listing.sh
TESTS += tests/outside/listing.sh
OUTSIDE_CXX = c++

installcheck-local:
	@DESTDIR='$(DESTDIR)' bindir='$(bindir)' pkgconfigdir='$(pkgconfigdir)' pluginsdir='$(pkglibdir)' \
	  SOURCE="$$(cd '$(srcdir)/tests/outside' && pwd)" CC='$(CC)' CXX='$(OUTSIDE_CXX)' $(SHELL) '$(srcdir)/tests/outside/installcheck.sh'
.PHONY: installcheck-local

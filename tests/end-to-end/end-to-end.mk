# end-to-end tests: shell scripts around build/quasar; lib.sh holds what they share.
END_TO_END = \
	tests/end-to-end/bad-usage.sh tests/end-to-end/bench.sh tests/end-to-end/cache.sh tests/end-to-end/check.sh tests/end-to-end/completion.sh tests/end-to-end/examples.sh tests/end-to-end/grid.sh tests/end-to-end/failed-cell.sh \
	tests/end-to-end/company.sh tests/end-to-end/disk.sh tests/end-to-end/io.sh tests/end-to-end/kill.sh tests/end-to-end/resume.sh tests/end-to-end/status.sh tests/end-to-end/submit.sh \
	tests/end-to-end/help.sh tests/end-to-end/man.sh tests/end-to-end/misspelt-key.sh tests/end-to-end/readme.sh \
	tests/end-to-end/report.sh tests/end-to-end/rooms.sh tests/end-to-end/run.sh tests/end-to-end/stability.sh tests/end-to-end/latents.sh
	tests/end-to-end/report.sh tests/end-to-end/text.sh tests/end-to-end/rooms.sh tests/end-to-end/run.sh tests/end-to-end/stability.sh
	tests/end-to-end/help.sh tests/end-to-end/man.sh tests/end-to-end/misspelt-key.sh tests/end-to-end/page.sh tests/end-to-end/readme.sh \
	tests/end-to-end/report.sh tests/end-to-end/rooms.sh tests/end-to-end/run.sh tests/end-to-end/stability.sh
	tests/end-to-end/bad-usage.sh tests/end-to-end/bench.sh tests/end-to-end/check.sh tests/end-to-end/company.sh \
	tests/end-to-end/completion.sh tests/end-to-end/disk.sh tests/end-to-end/examples.sh tests/end-to-end/failed-cell.sh \
	tests/end-to-end/grid.sh tests/end-to-end/help.sh tests/end-to-end/io.sh tests/end-to-end/kill.sh \
	tests/end-to-end/latents.sh tests/end-to-end/man.sh tests/end-to-end/misspelt-key.sh tests/end-to-end/page.sh \
	tests/end-to-end/readme.sh tests/end-to-end/report.sh tests/end-to-end/resume.sh tests/end-to-end/rooms.sh \
	tests/end-to-end/run.sh tests/end-to-end/saes.sh tests/end-to-end/stability.sh tests/end-to-end/status.sh \
	tests/end-to-end/submit.sh tests/end-to-end/text.sh
dist_check_SCRIPTS = $(END_TO_END)
EXTRA_DIST += tests/end-to-end/lib.sh
TESTS += $(END_TO_END)

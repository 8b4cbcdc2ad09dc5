# unit tests of report: check_PROGRAMS += tests/unit/report/test_x, one file each
FAKE_RUNS = tests/unit/report/fake-runs.c tests/unit/report/fake-runs.h
check_PROGRAMS += tests/unit/report/test_compare tests/unit/report/test_figures tests/unit/report/test_html tests/unit/report/test_overlay tests/unit/report/test_sheet \
	tests/unit/report/test_table tests/unit/report/test_tensorboard tests/unit/report/test_tokens
tests_unit_report_test_compare_SOURCES = tests/unit/report/test_compare.c $(FAKE_RUNS)
tests_unit_report_test_table_SOURCES = tests/unit/report/test_table.c $(FAKE_RUNS)
tests_unit_report_test_tensorboard_SOURCES = tests/unit/report/test_tensorboard.c $(FAKE_RUNS)
tests_unit_report_test_figures_SOURCES = tests/unit/report/test_figures.c $(FAKE_RUNS)
EXTRA_DIST += tests/cases/report/figures.runs tests/cases/report/tokens.csv \
	tests/cases/report/figure-afa.gp tests/cases/report/figure-afa.tsv tests/cases/report/figure-curves.gp \
	tests/cases/report/figure-curves.tsv tests/cases/report/figure-density.gp tests/cases/report/figure-density.tsv \
	tests/cases/report/figure-l0.gp tests/cases/report/figure-l0.tsv tests/cases/report/figure-norms.gp \
	tests/cases/report/figure-norms.tsv tests/cases/report/figure-pareto.gp tests/cases/report/figure-pareto.tsv \
	tests/cases/report/figure-violin.gp tests/cases/report/figure-violin.tsv tests/cases/report/figure-zf.gp tests/cases/report/figure-zf.tsv
EXTRA_DIST += tests/cases/report/grid.runs tests/cases/report/published.csv tests/cases/report/table.txt tests/cases/report/table.md \
	tests/cases/report/table.tex tests/cases/report/table.csv tests/cases/report/table.json tests/cases/report/compare.txt \
	tests/cases/report/matched.txt
EXTRA_DIST += tests/golden/paper/gpt2_layer6_runs.csv tests/golden/paper/gpt2_layer7_runs.csv

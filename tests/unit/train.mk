# unit tests of train, data, model, eval/evaluate and lab that go through real learners, and the plugins they need.
BENCH = tests/unit/bench.c tests/unit/bench.h

FIXTURE_FLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /anything -export-symbols-regex '^qsr_plugin_entry$$'
check_LTLIBRARIES += tests/fixtures/datasets/counted.la tests/fixtures/losses/prefixes.la
tests_fixtures_datasets_counted_la_SOURCES = tests/fixtures/datasets/counted.c
tests_fixtures_datasets_counted_la_LDFLAGS = $(FIXTURE_FLAGS)
tests_fixtures_losses_prefixes_la_SOURCES = tests/fixtures/losses/prefixes.c
tests_fixtures_losses_prefixes_la_LDFLAGS = $(FIXTURE_FLAGS)

check_PROGRAMS += tests/unit/train/test_gradient
tests_unit_train_test_gradient_SOURCES = tests/unit/train/test_gradient.c tests/unit/train/plain.c tests/unit/train/plain.h $(BENCH)
check_PROGRAMS += tests/unit/train/test_laws
tests_unit_train_test_laws_SOURCES = tests/unit/train/test_laws.c $(BENCH)
check_PROGRAMS += tests/unit/train/test_update
tests_unit_train_test_update_SOURCES = tests/unit/train/test_update.c $(BENCH)
check_PROGRAMS += tests/unit/train/test_prune tests/unit/train/test_start
tests_unit_train_test_prune_SOURCES = tests/unit/train/test_prune.c $(BENCH)
tests_unit_train_test_start_SOURCES = tests/unit/train/test_start.c $(BENCH)

check_PROGRAMS += tests/unit/data/test_cursor tests/unit/data/test_dataset tests/unit/data/test_mask
tests_unit_data_test_cursor_SOURCES = tests/unit/data/test_cursor.c $(BENCH)
tests_unit_data_test_dataset_SOURCES = tests/unit/data/test_dataset.c $(BENCH)
tests_unit_data_test_mask_SOURCES = tests/unit/data/test_mask.c $(BENCH)

check_PROGRAMS += tests/unit/model/test_choose tests/unit/model/test_code tests/unit/model/test_normalise tests/unit/model/test_sift \
	tests/unit/model/test_params
tests_unit_model_test_params_SOURCES = tests/unit/model/test_params.c $(BENCH)

check_PROGRAMS += tests/unit/lab/test_determinism
tests_unit_lab_test_determinism_SOURCES = tests/unit/lab/test_determinism.c $(BENCH)
check_PROGRAMS += tests/unit/eval/test_evaluate tests/unit/eval/test_latents
tests_unit_eval_test_evaluate_SOURCES = tests/unit/eval/test_evaluate.c $(BENCH)
tests_unit_eval_test_latents_SOURCES = tests/unit/eval/test_latents.c $(BENCH)
check_PROGRAMS += tests/unit/eval/test_splice
tests_unit_eval_test_splice_SOURCES = tests/unit/eval/test_splice.c $(BENCH)
check_PROGRAMS += tests/unit/lab/test_run
tests_unit_lab_test_run_SOURCES = tests/unit/lab/test_run.c $(BENCH)

check_PROGRAMS += tests/unit/train/test_promises
tests_unit_train_test_promises_SOURCES = tests/unit/train/test_promises.c $(BENCH)

check_PROGRAMS += tests/unit/train/test_outlook
tests_unit_train_test_outlook_SOURCES = tests/unit/train/test_outlook.c $(BENCH)

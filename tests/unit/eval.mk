# unit tests of eval: check_PROGRAMS += tests/unit/eval/test_x, one file each
check_PROGRAMS += tests/unit/eval/test_afa tests/unit/eval/test_coherence tests/unit/eval/test_match \
	tests/unit/eval/test_metric tests/unit/eval/test_statistics tests/unit/eval/test_tokens_csv
EXTRA_DIST += tests/golden/inputs/init.safetensors tests/golden/paper/gpt2_tokens.csv

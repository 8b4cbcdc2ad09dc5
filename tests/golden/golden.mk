# golden trajectories: data of the published code and of an independent implementation (README.md tells how they were made).
if TESTS_ENABLED
check_PROGRAMS += tests/golden/test_trajectories
endif
EXTRA_DIST += tests/golden/README.md tests/golden/gpt2/encodings.json tests/golden/inputs/init_jumprelu.safetensors \
	tests/golden/inputs/x.npy \
	tests/golden/batchtopk/final.safetensors tests/golden/batchtopk/metrics.csv tests/golden/batchtopk/spec.yaml \
	tests/golden/defaults_batchtopk/final.safetensors tests/golden/defaults_batchtopk/metrics.csv \
	tests/golden/defaults_batchtopk/spec.yaml tests/golden/defaults_jumprelu/final.safetensors \
	tests/golden/defaults_jumprelu/metrics.csv tests/golden/defaults_jumprelu/spec.yaml \
	tests/golden/defaults_topafa/final.safetensors tests/golden/defaults_topafa/metrics.csv \
	tests/golden/defaults_topafa/spec.yaml tests/golden/defaults_topk/final.safetensors \
	tests/golden/defaults_topk/metrics.csv tests/golden/defaults_topk/spec.yaml \
	tests/golden/jumprelu/final.safetensors tests/golden/jumprelu/grads_step0.safetensors \
	tests/golden/jumprelu/metrics.csv tests/golden/jumprelu/spec.yaml \
	tests/golden/relu/final.safetensors tests/golden/relu/grads_step0.safetensors tests/golden/relu/metrics.csv \
	tests/golden/relu/spec.yaml tests/golden/topafa/final.safetensors tests/golden/topafa/grads_step0.safetensors \
	tests/golden/topafa/metrics.csv tests/golden/topafa/spec.yaml tests/golden/topk/final.safetensors \
	tests/golden/topk/grads_step0.safetensors tests/golden/topk/metrics.csv tests/golden/topk/spec.yaml \
	tests/golden/topk_afa/final.safetensors tests/golden/topk_afa/metrics.csv tests/golden/topk_afa/spec.yaml

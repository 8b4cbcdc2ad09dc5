# experiments: specs, presets and small data; installed under $(pkgdatadir) in the same places, so that relative paths hold.
dist_pkgdata_DATA = experiments/quickstart.yaml
presetsdir = $(pkgdatadir)/presets
dist_presets_DATA = experiments/presets/released.yaml
paperdir = $(pkgdatadir)/paper
dist_paper_DATA = experiments/paper/gpt2-small.yaml experiments/paper/tiny-gpt2.yaml

# One commented spec per plugin; tests/end-to-end/examples.sh looks for each plugin's.
example_activationsdir = $(pkgdatadir)/plugins/activations
dist_example_activations_DATA = \
	experiments/plugins/activations/batchtopk.yaml experiments/plugins/activations/jumprelu.yaml \
	experiments/plugins/activations/relu.yaml experiments/plugins/activations/topafa.yaml \
	experiments/plugins/activations/topk.yaml
example_lossesdir = $(pkgdatadir)/plugins/losses
dist_example_losses_DATA = \
	experiments/plugins/losses/afa.yaml experiments/plugins/losses/auxk.yaml experiments/plugins/losses/l0.yaml \
	experiments/plugins/losses/l1.yaml experiments/plugins/losses/mse.yaml
example_datasetsdir = $(pkgdatadir)/plugins/datasets
dist_example_datasets_DATA = \
	experiments/plugins/datasets/activations.yaml experiments/plugins/datasets/gpt2.yaml \
	experiments/plugins/datasets/synthetic.yaml

example_datadir = $(pkgdatadir)/data
dist_example_data_DATA = experiments/data/hidden-states.npy

# the tiny GPT-2 of the quickstart and of tests; SOURCES says where its texts come from
modeldatadir = $(pkgdatadir)/data
dist_modeldata_DATA = experiments/data/SOURCES
tinygpt2dir = $(pkgdatadir)/data/tiny-gpt2
dist_tinygpt2_DATA = \
	experiments/data/tiny-gpt2/SOURCES.md experiments/data/tiny-gpt2/config.json experiments/data/tiny-gpt2/merges.txt \
	experiments/data/tiny-gpt2/model.safetensors experiments/data/tiny-gpt2/tokens.npy experiments/data/tiny-gpt2/vocab.json

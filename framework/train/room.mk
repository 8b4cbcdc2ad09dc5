# train: blocks, losses' views, gradients, Adam, the step. Imports base, math, spec, format, plugin, data, model.
libquasar_la_SOURCES += \
	framework/train/adam.c framework/train/adam.h framework/train/batch.c framework/train/batch.h \
	framework/train/block.c framework/train/block.h framework/train/checkpoint.c framework/train/checkpoint.h framework/train/gradient.c framework/train/gradient-add.c framework/train/gradient.h \
	framework/train/latent-order.c framework/train/latent-order.h framework/train/learner.c framework/train/learner.h framework/train/outlook.c framework/train/outlook.h framework/train/phase.c framework/train/phase.h framework/train/prune.c framework/train/prune.h \
	framework/train/schedule.c framework/train/schedule.h framework/train/start.c framework/train/start.h framework/train/together.c framework/train/together.h framework/train/view.c framework/train/view.h

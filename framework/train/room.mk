# train: see framework/train; lists its sources below.

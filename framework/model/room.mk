# model: see framework/model; lists its sources below.

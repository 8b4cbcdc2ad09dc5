# eval: see framework/eval; lists its sources below.

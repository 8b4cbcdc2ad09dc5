# lab: see framework/lab; lists its sources below.

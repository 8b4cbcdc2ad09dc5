# format: see framework/format; lists its sources below.

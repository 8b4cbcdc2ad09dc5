# math: see framework/math; lists its sources below.

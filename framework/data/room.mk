# data: see framework/data; lists its sources below.

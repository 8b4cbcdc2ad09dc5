# spec: see framework/spec; lists its sources below.

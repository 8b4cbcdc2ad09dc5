# plugin: see framework/plugin; lists its sources below.

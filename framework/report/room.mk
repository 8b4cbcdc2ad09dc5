# report: see framework/report; lists its sources below.

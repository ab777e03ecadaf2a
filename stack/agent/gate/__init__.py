"""The judgement on a release: what is seen of it, against what must be there and what was there before."""

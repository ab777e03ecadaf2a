"""A change of what drives: staging, the candidate and its cutover, probation and commit, the way back, and recovery."""

"""Is this robot set up as releases need it: what is examined, and each line of it."""

"""Documents, digests, signatures and files. Standard library only: the agent packs this package into its zipapp."""

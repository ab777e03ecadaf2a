"""What outlives the agent: its journal, the store of releases, what was revoked, and leases."""

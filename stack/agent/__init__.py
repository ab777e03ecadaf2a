"""The agent changes the release of one robot, and changes it back. Standard library and `model_registry.core` only: it is packed as one zipapp."""

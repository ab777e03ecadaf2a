"""Stands in for a release in tests of the agent: same commands, no model, no ROS."""

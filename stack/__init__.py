"""What runs on a robot: policy, engine, supervisor, monitor, simulator and agent."""

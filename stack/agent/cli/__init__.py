"""The command line: what may be typed, what a client asks the agent, and what people read."""

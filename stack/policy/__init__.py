"""The policy node: sensors and a command in, action chunks out."""

"""What the site says about this robot: agent.toml, its hook and its maintenance windows."""

"""What answers on agent.sock: the server, its verbs, and the status."""

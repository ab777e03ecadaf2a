"""From somebody else's checkpoint to what `homeport model pack` takes. One folder for each kind of checkpoint."""

"""What proves Homeport. A package in so many words: other packages install one that is called `tests` too."""

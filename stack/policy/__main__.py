"""`python -m stack.policy --slot a [--root DIR]`: one slot."""

from stack.policy.node import main

if __name__ == "__main__":
    main()

"""`python -m stack.engine`: the agent's child process for the stages BUILD and PROVE."""

from stack.engine.cli import main

if __name__ == "__main__":
    main()

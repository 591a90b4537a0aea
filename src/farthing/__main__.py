"""`python -m farthing`: the command line of the Python that it is typed with."""

from farthing.cli import main

if __name__ == "__main__":
    main()

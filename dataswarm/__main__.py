"""`python -m dataswarm` is the same as `dataswarm`."""

from dataswarm.cli import main

if __name__ == "__main__":
    main()

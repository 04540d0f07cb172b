"""`python -m fileroom` is the `fileroom` command."""

from fileroom.cli.main import main

if __name__ == "__main__":
    main()

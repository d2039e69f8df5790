"""`python -m facesearch`."""

from facesearch.cli import console

if __name__ == "__main__":
    console()

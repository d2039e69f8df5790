"""`python -m facesearch`."""

from facesearch.cli import run

if __name__ == "__main__":
    run()

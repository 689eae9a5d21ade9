"""`python -m zslbench`, and the command `zslbench`."""

from zslbench import interruption


def main() -> None:
    """Runs the command line; signals are obeyed from before it is imported, which takes a moment."""
    interruption.install()
    from zslbench.cli import main as command

    command()


if __name__ == "__main__":
    main()

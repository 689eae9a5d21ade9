"""`python -m zslbench`, and the command `zslbench`."""

import sys

from zslbench import interruption


def main() -> None:
    """Runs the command line; signals are obeyed from before it is imported, which takes a moment."""
    try:
        interruption.install()
        from zslbench.cli import main as command

        command()
    except interruption.Interrupted:
        interruption.tell()
        sys.exit(interruption.status())
    finally:
        interruption.leave()


if __name__ == "__main__":
    main()

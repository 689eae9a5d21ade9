"""`python -m zslbench`, and the command `zslbench`."""

import os
import sys

from zslbench import interruption


def main() -> None:
    """Runs the command line; signals are obeyed from before it is imported, which takes a moment."""
    _fill_closed_streams()
    try:
        interruption.install()
        from zslbench.cli import main as command

        command()
    except interruption.Interrupted:
        interruption.tell()
        sys.exit(interruption.status())
    finally:
        interruption.leave()
        sys.stdout = sys.stderr  # what a library prints at exit is no result


def _fill_closed_streams() -> None:
    """Has closed standard streams lead nowhere; else the next file that is opened gets what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one


if __name__ == "__main__":
    main()

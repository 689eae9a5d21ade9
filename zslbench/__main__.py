"""`python -m zslbench`."""

from zslbench.cli import main

main()

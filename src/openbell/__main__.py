"""`python -m openbell`."""

from openbell.cli import main

main()

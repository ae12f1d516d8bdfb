"""`python -m openbell.reference_server`."""

from openbell.reference_server.command import main

if __name__ == "__main__":
    main()

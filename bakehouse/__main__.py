"""`python -m bakehouse` is the same program as `bakehouse`."""

from bakehouse.cli import main

if __name__ == "__main__":
    main()

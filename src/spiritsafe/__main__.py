"""`python -m spiritsafe`."""

from spiritsafe.cli.main import main

main()

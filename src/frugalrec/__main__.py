"""python -m frugalrec"""

from frugalrec.cli import main

main()

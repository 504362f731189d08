"""``python -m pneumo_monai`` is the command ``pneumo-monai``."""

from pneumo_monai.cli import main

main()

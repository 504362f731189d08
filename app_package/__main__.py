"""``python -m app_package -i FOLDER -o FOLDER``: the MAP's command."""

import sys

from pneumo_monai import logs
from pneumo_monai.errors import PneumoMonaiError

if __name__ == "__main__":
    logs.configure("map")
    from app_package.app import run

    try:
        sys.exit(0 if run(sys.argv) else 1)
    except PneumoMonaiError as error:
        sys.exit(str(error))

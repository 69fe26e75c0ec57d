"""`python -m bakehouse.machines FOLDER` writes the template for this machine's Packer."""

import shutil
import sys
from pathlib import Path

from bakehouse.machines import template

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    print(template.readable(folder, template.installed()))

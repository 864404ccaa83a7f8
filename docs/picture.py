"""Make the README's picture from a real run: `python docs/picture.py docs/pictures/demo.svg [demo options' fault]`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from dataswarm.demo.play import DEFAULT_FAULT, Options, main

if __name__ == "__main__":
    console = Console(record=True, width=118, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    status = main(Options(fault=(sys.argv[2:] or [DEFAULT_FAULT])[0], once=True, plain=True), console)
    drawn = console.export_svg(title="dataswarm demo")
    # The reader's own monospace font will do; a picture fetches nothing from elsewhere.
    drawn = re.sub(r"@font-face \{[^}]*\}", "", drawn)
    Path(sys.argv[1]).write_text(drawn, encoding="utf-8")
    sys.exit(status)

"""Evaluates every PAC file of a directory for every URL in its `urls.txt`, and prints the answers as JSON: a text, or
null without one."""

import json
import os
import pathlib
import sys
from urllib.parse import urlsplit

import pacparser

directory = pathlib.Path(sys.argv[1])
urls = (directory / "urls.txt").read_text().split()
answers = {}
# The library writes its complaints to standard error.
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
for file in sorted(directory.glob("*.pac")):
    answers[file.name] = found = []
    pacparser.init()
    try:
        pacparser.parse_pac_file(str(file))
        is_loaded = True
    except Exception:
        is_loaded = False
    for url in urls:
        try:
            answer = pacparser.find_proxy(url, urlsplit(url).hostname) if is_loaded else None
        except Exception:
            answer = None
        found.append(None if answer in (None, "null", "undefined") else answer)
    pacparser.cleanup()
print(json.dumps(answers))

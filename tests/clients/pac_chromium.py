"""Evaluates PAC files of a directory for every URL in its `urls.txt` in a headless Chromium, and prints the lists of
proxies as JSON: a text, or null if the browser did not ask.

The files are named on the command line, since each one takes a start of the browser. Chromium logs what each call
returned, so no proxy is needed: it finds no host at all, and every request fails at once."""

import base64
import html
import json
import pathlib
import subprocess
import sys
import tempfile

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=HttpsUpgrades",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--dump-dom",
]


def answers(pac, urls):
    """Returns the list of proxies for each URL."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        page, log = scratch / "page.html", scratch / "log.json"
        # The page counts as loaded once every image has failed.
        page.write_text("".join(f'<img src="{html.escape(url)}">' for url in urls))
        script = base64.b64encode(pac.read_bytes()).decode()
        own = [
            f"--user-data-dir={scratch / 'profile'}",
            f"--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{script}",
            f"--log-net-log={log}",
            page.as_uri(),
        ]
        quiet = subprocess.DEVNULL
        subprocess.run(["chromium", *FLAGS, *own], stdout=quiet, stderr=quiet, timeout=60, check=True)
        document = json.loads(log.read_text())
    names = {number: name for name, number in document["constants"]["logEventTypes"].items()}
    asked, found = {}, {}
    for event in document["events"]:
        source, facts = event["source"]["id"], event.get("params", {})
        if "url" in facts:
            asked.setdefault(source, facts["url"])
        if names[event["type"]] == "PROXY_RESOLUTION_SERVICE_RESOLVED_PROXY_LIST" and source in asked:
            # Without a list, the browser goes direct.
            found[asked[source]] = facts.get("proxy_info", "DIRECT")
    return [found.get(url) for url in urls]


directory = pathlib.Path(sys.argv[1])
urls = (directory / "urls.txt").read_text().split()
print(json.dumps({name: answers(directory / name, urls) for name in sys.argv[2:]}))

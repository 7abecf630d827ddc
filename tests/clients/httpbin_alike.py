"""Drives a local httpbin with requests, without a proxy and then with HTTP_PROXY: httpbin_alike.py PROXY.

The answers have to be the same: status, body, and all fields but those that tell the moment or the connection.
"""

import json
import os
import sys

import requests
import urllib3.filepost
from httpbin import app
from pytest_httpbin.serve import Server

DIGEST = object()
CASES = [
    ("GET", "/get?a=b&a=c&d=%20%2F", {}),
    ("GET", "/headers", {"headers": {"X-One": "1", "x-two": "2, 3"}}),
    ("GET", "/user-agent", {}),
    ("GET", "/encoding/utf8", {}),
    ("GET", "/gzip", {}),
    ("GET", "/deflate", {}),
    ("GET", "/bytes/70000?seed=1", {}),
    ("GET", "/stream/5", {}),
    ("GET", "/stream-bytes/50000?seed=1", {}),
    ("GET", "/range/1000", {"headers": {"Range": "bytes=10-19"}}),
    ("GET", "/cookies/set?a=b", {}),
    ("GET", "/redirect/3", {}),
    ("GET", "/absolute-redirect/2", {}),
    ("GET", "/relative-redirect/2", {"allow_redirects": False}),
    ("GET", "/basic-auth/user/pass", {"auth": ("user", "pass")}),
    ("GET", "/basic-auth/user/pass", {"auth": ("user", "wrong")}),
    ("GET", "/hidden-basic-auth/user/pass", {}),
    ("GET", "/digest-auth/auth/user/pass/MD5/never", {"auth": DIGEST}),
    ("GET", "/cache", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/etag/x", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/response-headers?X-A=1&X-A=2&X-B=", {}),
    ("HEAD", "/get", {}),
    ("OPTIONS", "/get", {}),
    ("POST", "/post", {"data": {"a": ["1", "2"], "b": "\u00fc"}}),
    ("POST", "/post", {"json": {"a": [1, None]}}),
    ("POST", "/post", {"files": {"file": ("name.bin", bytes(range(256)) * 300)}}),
    ("POST", "/post", {"data": b""}),
    ("PUT", "/put", {"data": b"x" * 100_000}),
    ("PATCH", "/patch", {"data": b"x"}),
    ("DELETE", "/delete", {}),
    ("DELETE", "/delete", {"data": b"why"}),
    *[("GET", f"/status/{status}", {"allow_redirects": False}) for status in (200, 204, 301, 304, 400, 401, 404, 418, 500, 503)],
]
# What differs from one run to the next, or belongs to one connection, as the framing does; bodies are compared whole.
OWN = {"date", "connection", "content-length", "transfer-encoding", "set-cookie", "www-authenticate"}


def answers(base):
    session = requests.Session()
    # httpbin would show it, and no proxy passes it on.
    del session.headers["Connection"]
    for method, path, options in CASES:
        if options.get("auth") is DIGEST:
            # It keeps what it was told; so there is one for each run.
            options = {"auth": requests.auth.HTTPDigestAuth("user", "pass")}
        answer = session.request(method, base + path, timeout=30, **options)
        fields = sorted((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in OWN)
        yield {
            "case": f"{method} {path}",
            "status": [*(past.status_code for past in answer.history), answer.status_code],
            "reason": answer.reason,
            "fields": fields,
            "cookies": dict(session.cookies),
            "body": answer.content.hex(),
        }


# Random otherwise, and shown by httpbin.
urllib3.filepost.choose_boundary = lambda: "boundary"
server = Server(application=app)
server.start()
try:
    os.environ.pop("NO_PROXY", None)
    os.environ.pop("no_proxy", None)
    direct = list(answers(server.url))
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = sys.argv[1]
    proxied = list(answers(server.url))
finally:
    server.stop()
wrong = [(a, b) for a, b in zip(direct, proxied, strict=True) if a != b]
for pair in wrong:
    print(json.dumps(pair, indent=1), file=sys.stderr)
print(f"{len(direct)} answers, {len(wrong)} differ")
sys.exit(bool(wrong))

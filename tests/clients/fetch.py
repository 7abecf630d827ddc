"""Makes requests with requests: fetch.py PROXY AUTHORITY_FILE METHOD URL [BODY_FILE], the last answer's body on stdout.

A GET is made twice, for connections that stay. A body goes in chunks where the URL ends in `?chunked`.
"""

import sys

import requests

proxy, authority, method, url, *body = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.proxies = {"http": proxy, "https": proxy}
session.verify = authority
data = open(body[0], "rb") if body else None
if data and url.endswith("?chunked"):
    data = iter(lambda file=data: file.read(10_000), b"")
for _ in range(2 if method == "GET" else 1):
    answer = session.request(method, url, data=data, timeout=30)
    answer.raise_for_status()
sys.stdout.buffer.write(answer.content)

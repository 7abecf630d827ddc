"""Makes one request with requests: fetch.py PROXY AUTHORITY_FILE METHOD URL [BODY_FILE], the answer's body on stdout."""

import sys

import requests

proxy, authority, method, url, *body = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.proxies = {"http": proxy, "https": proxy}
session.verify = authority
data = open(body[0], "rb") if body else None
answer = session.request(method, url, data=data, timeout=30)
answer.raise_for_status()
sys.stdout.buffer.write(answer.content)

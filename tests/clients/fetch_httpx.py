"""As fetch.py, with httpx."""

import ssl
import sys

import httpx

proxy, authority, method, url, *body = sys.argv[1:]
content = open(body[0], "rb") if body else None
if content and not url.endswith("?chunked"):
    content = content.read()
context = ssl.create_default_context(cafile=authority)
with httpx.Client(proxy=proxy, verify=context, trust_env=False, timeout=30) as client:
    for _ in range(2 if method == "GET" else 1):
        if content and url.endswith("?chunked"):
            content = iter(lambda file=content: file.read(10_000), b"")
        answer = client.request(method, url, content=content)
        answer.raise_for_status()
sys.stdout.buffer.write(answer.content)

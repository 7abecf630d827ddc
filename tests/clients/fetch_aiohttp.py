"""As fetch.py, with aiohttp."""

import asyncio
import ssl
import sys

import aiohttp

proxy, authority, method, url, *body = sys.argv[1:]


async def chunks(file):
    while piece := file.read(10_000):
        yield piece


async def main():
    context = ssl.create_default_context(cafile=authority)
    data = open(body[0], "rb") if body else None
    if data and url.endswith("?chunked"):
        data = chunks(data)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        for _ in range(2 if method == "GET" else 1):
            async with session.request(method, url, data=data, proxy=proxy, ssl=context) as answer:
                content = await answer.read()
    sys.stdout.buffer.write(content)


asyncio.run(main())

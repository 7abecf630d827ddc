"""Echoes bytes through a SOCKS5 proxy: echo_socks.py LIBRARY PROXY_HOST:PORT TARGET_HOST:PORT COUNT.

LIBRARY is `pysocks` or `python-socks`. Names are passed on unresolved. Ends its direction when all bytes are back: some
SOCKS proxies close both directions with the first.
"""

import os
import socket
import sys
import threading

library, proxy, target, count = sys.argv[1:]
proxy_host, proxy_port = proxy.rsplit(":", 1)
target_host, target_port = target.rsplit(":", 1)

if library == "pysocks":
    import socks

    connection = socks.socksocket()
    connection.set_proxy(socks.SOCKS5, proxy_host, int(proxy_port), rdns=True)
    connection.connect((target_host, int(target_port)))
else:
    from python_socks.sync import Proxy

    connection = Proxy.from_url(f"socks5://{proxy}", rdns=True).connect(target_host, int(target_port))

connection.settimeout(60)
sent, received = os.urandom(int(count)), b""
sender = threading.Thread(target=connection.sendall, args=(sent,))
sender.start()
while len(received) < len(sent):
    part = connection.recv(1 << 16)
    if not part:
        break
    received += part
sender.join()
connection.shutdown(socket.SHUT_WR)
is_over = connection.recv(1) == b""
sys.exit(0 if received == sent and is_over else f"{len(received)} of {len(sent)} bytes, or other ones, came back")

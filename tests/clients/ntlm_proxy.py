"""A proxy with TLS that checks NTLM strictly: ntlm_proxy.py CERTIFICATE KEY BOUND_TO USERS [--alter].

Prints its port, and a line for each message 3: `accepted USER` or `refused: REASON`. BOUND_TO is the certificate that the
answers must be bound to. USERS has lines `DOMAIN:USER:PASSWORD`. With --alter, the challenge on the wire is not the one
that the MIC is checked with, as if someone between the two had changed it.
"""

import base64
import os
import socket
import socketserver
import ssl
import sys
import threading

import spnego
from cryptography import x509
from cryptography.hazmat.primitives.hashes import Hash
from cryptography.hazmat.primitives.serialization import Encoding
from spnego._ntlm_raw.messages import Authenticate, AvFlags, AvId, NTClientChallengeV2
from spnego.channel_bindings import GssChannelBindings

certificate, key, bound_to, users = sys.argv[1:5]
alters = sys.argv[5:] == ["--alter"]
os.environ["NTLM_USER_FILE"] = users

# The offset of eight reserved bytes in a challenge (MS-NLMP section 2.2.1.2), which clients ignore.
RESERVED = 32


def end_point_bindings(path):
    """Returns the bindings `tls-server-end-point` (RFC 5929 section 4.1) to a certificate."""
    with open(path, "rb") as file:
        read = x509.load_pem_x509_certificate(file.read())
    digest = Hash(read.signature_hash_algorithm)
    digest.update(read.public_bytes(Encoding.DER))
    return GssChannelBindings(application_data=b"tls-server-end-point:" + digest.finalize())


def demand_proofs(message):
    """Raises an error if message 3 leaves out what spnego checks only if it is there."""
    response = Authenticate.unpack(message).nt_challenge_response
    if len(response) <= 24:
        raise ValueError("the response is not of NTLMv2")
    pairs = NTClientChallengeV2.unpack(response[16:]).av_pairs
    if not pairs.get(AvId.flags, 0) & AvFlags.mic:
        raise ValueError("there is no MIC")
    if pairs.get(AvId.channel_bindings, bytes(16)) == bytes(16):
        raise ValueError("there are no channel bindings")


class Client(socketserver.BaseRequestHandler):
    """One connection, which one sequence of messages logs on."""

    def handle(self):
        self.request = context.wrap_socket(self.request, server_side=True)
        acceptor = None
        while head := self.read_head():
            target = head.split(b" ")[1].decode()
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            kind, _, sent = fields.get(b"Proxy-Authorization", b"").partition(b" ")
            if kind != b"NTLM":
                self.challenge("NTLM")
                continue
            message = base64.b64decode(sent)
            if acceptor is None:
                acceptor = spnego.server(protocol="ntlm", channel_bindings=end_point_bindings(bound_to))
                challenge = bytearray(acceptor.step(message))
                challenge[RESERVED] ^= alters
                self.challenge("NTLM " + base64.b64encode(challenge).decode())
                continue
            try:
                acceptor.step(message)
                demand_proofs(message)
            except Exception as error:
                print(f"refused: {error}".replace("\n", " "), flush=True)
                acceptor = None
                self.challenge("NTLM")
                continue
            print("accepted", acceptor.client_principal, flush=True)
            return self.tunnel(target)

    def read_head(self):
        """Reads to the end of a request's head. Returns nothing at the end of the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.request.recv(1)
            if not byte:
                return b""
            head += byte
        return head[:-2]

    def challenge(self, value):
        self.request.sendall(
            f"HTTP/1.1 407 No\r\nProxy-Authenticate: {value}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    def tunnel(self, target):
        host, port = target.rsplit(":", 1)
        origin = socket.create_connection((host, int(port)))
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def copy(source, sink):
            while part := source.recv(1 << 16):
                sink.sendall(part)

        threading.Thread(target=copy, args=(origin, self.request), daemon=True).start()
        copy(self.request, origin)
        origin.close()


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Ignores connections that end early."""


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
with Proxy(("127.0.0.1", 0), Client) as proxy:
    print(proxy.server_address[1], flush=True)
    proxy.serve_forever()

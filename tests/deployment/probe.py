"""Ask a server one question from another host: python probe.py HOST PORT CA METHOD PATH BYTES [HEADER=VALUE ...]."""

from __future__ import annotations

import http.client
import ssl
import sys


def main() -> None:
    """Print the status of the answer, or the kind of what went wrong."""
    host, port, authority, method, path, size, *headers = sys.argv[1:]
    named = dict(header.split("=", 1) for header in headers)
    try:
        if authority == "plain":
            link: http.client.HTTPConnection = http.client.HTTPConnection(host, int(port), timeout=10)
        else:
            context = ssl.create_default_context(cafile=authority)
            link = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
        named["content-length"] = size
        link.putrequest(method, path)
        for name, value in named.items():
            link.putheader(name, value)
        link.endheaders(b"x" * min(int(size), 1000))
        print(link.getresponse().status)
    except Exception as error:
        print(type(error).__name__)


if __name__ == "__main__":
    main()

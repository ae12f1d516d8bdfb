"""A small HTTP server in a process of its own, which does one scripted thing wrong; prints what it saw at the end.

`python stub.py --stall AFTER SECONDS` answers nothing between those seconds after its first request, and everything
afterwards. What the control asks for is not counted. `--answer STATUS` answers all with a status; `--close` closes
each connection; `--silent` never answers.
"""

import argparse
import asyncio
import json
import sys
import time


class Stub:
    def __init__(self, options):
        self.options, self.seen, self.first = options, 0, None

    @property
    def stall(self):
        if self.options.stall is None or self.first is None:
            return 0.0, 0.0
        after, seconds = self.options.stall
        return self.first + after, self.first + after + seconds

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
                await reader.readexactly(int(length or 0))
                aside = b"openbell-no-such" in head or b"/control" in head.split(b"\r\n")[0]
                self.seen += not aside
                self.first = self.first or (None if aside else time.monotonic())
                if self.options.close:
                    break
                if self.options.silent:
                    await asyncio.sleep(3600)
                begin, end = self.stall
                if begin <= time.monotonic() < end:
                    await asyncio.sleep(end - time.monotonic())
                writer.write(self.reply(404 if b"openbell-no-such" in head else self.options.answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def reply(self, status):
        content = b'{"items": [], "id": "one"}'
        lines = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nX-Id: {self.seen}\r\n"
        return lines.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(content), content)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stall", nargs=2, type=float)
    parser.add_argument("--answer", type=int, default=200)
    parser.add_argument("--close", action="store_true")
    parser.add_argument("--silent", action="store_true")
    stub = Stub(parser.parse_args())
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, backlog=2000)
    print(json.dumps({"ready": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"seen": stub.seen, "stall": stub.stall}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""A loopback server of many OpenAI-compatible endpoints that fail, hang and break off at random.

Run as a program: `python chaos_server.py SEED`; it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "chaos",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
LONGEST = 30.0


def reply(status: int, body: bytes, *headers: bytes, kind: bytes = b"application/json") -> bytes:
    """One whole response."""
    head = [b"HTTP/1.1 %d X" % status, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


def chunks(whole: bool) -> bytes:
    """A stream of four chunks, or one that breaks off."""
    deltas = [{"role": "assistant", "content": ""}, {"content": "h"}, {"content": "i"}, {}]
    lines = []
    for index, delta in enumerate(deltas):
        finish = "stop" if index == 3 else None
        event = {"model": "chaos", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        lines.append(b"data: " + json.dumps(event).encode() + b"\n\n")
    return b"".join(lines) + b"data: [DONE]\n\n" if whole else b"".join(lines[:2])


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random) -> None:
    """One connection, for as long as it is used."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        while True:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONGEST)
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = json.loads(await asyncio.wait_for(reader.readexactly(length), LONGEST))
            fate = rng.random()
            await asyncio.sleep(rng.random() * 0.004)
            if fate < 0.01:  # hangs until the client goes
                await asyncio.wait_for(reader.read(1), LONGEST)
                break
            if fate < 0.02:
                break
            if fate < 0.05:
                writer.write(reply(500, b'{"error": {"message": "chaos"}}'))
            elif fate < 0.06:
                writer.write(reply(429, b'{"error": {"message": "slower"}}', b"retry-after-ms: 50"))
            elif body.get("stream"):
                whole = fate > 0.08
                writer.write(reply(200, chunks(whole), kind=b"text/event-stream"))
            else:
                writer.write(reply(200, json.dumps(ANSWER).encode()))
            await writer.drain()
    writer.close()


async def main(seed: int) -> None:
    """Serve until standard input ends."""
    rng = random.Random(seed)
    server = await asyncio.start_server(lambda r, w: serve(r, w, rng), "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""Published tables that a user's machine downloads: where they are, and the digests that they must have."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.request

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.scratch import scratch_folder
from netdyno.profiler.formats import import_table
from netdyno.profiler.table import LookupTable

NOTE10_URL = (
    "https://raw.githubusercontent.com/mit-han-lab/once-for-all/698a5c10b434172056a565b340c46ce11df18629/"
    "tutorial/checkpoints/latency_table@note10/"
)
TIMEOUT_S = 30
"""Seconds of silence."""
WHOLE_S = 120
"""Seconds for a file, however steadily it trickles."""
LARGEST_BYTES = 4 * 1024 * 1024
NOTE10 = {
    160: "a2671a45e9400542679ed03de946b45d6a35010f9ab21834af3e7ba8341d36d1",
    164: "146c34f116ea2dd6b0a421e3b9b3b1a106ba2817c928e7c66a0b58703946f7ea",
    168: "08c833755d446cb65a6224e0fed7ef71be29709bfd2aa12009d4b645e37b4ce4",
    172: "dead1205668fec983c8d7d8445d2dc3afe30a617917218becc90a8b3b8e72a57",
    176: "34223ae037d5719a5f33261bdfd9341f590a2999edf520f174309605dc06307c",
    180: "a4c43390a41c6affec5c0d2f927cd671a7d99341dbcb0178876794d9683d8ef6",
    184: "94e0b62a291cc8d77a980478edc96d4ab4b6fe9b0209bc87d296bd2812ccd3d3",
    188: "2f33a119bf5d4218fd390b785d3d03fd52b3522c77f58b751ff38f01a249fbd0",
    192: "0ff5ca0649e56ad34a42d6a8a6f20adb5121c8d12d135299397b310472db79e2",
    196: "80217a43dc40c8ce45b54c4cd60d58a79ee091015035f0d4388a09c192074bab",
    200: "4bb6703197777ac01483cbe6340979dc8090ed6471c3f47d4e08749e523d4c53",
    204: "129a4ee3f46f2b732f93c43dc04540c864adcc68e5f495ab0b183dc748fead43",
    208: "41aa63af766a8298354e6aa5ae69d512ac68656a6e7d0a4fa5dc725c8d438633",
    212: "cacb0d9f262e1e029c39a639acb856b16d16cbd7db365056ee7bc55bbb41d417",
    216: "bbb64c0be7b420139d92a79757923e7b4c5d8d61730a90995d1ab51f6f718939",
    220: "75b0954b2fa678b5b2422b3edbc51983609a9a441d77fe4bb68888da8bb8984e",
    224: "c13a9bcb3f4becae844bce4897129c4e42975984c1029cbd5acb48c970136530",
}
"""SHA-256 of each file by its input size."""


def fetch_table(name: str, url: str = NOTE10_URL) -> LookupTable:
    """Download the files of a published table, check their digests, and import them.

    Raises:
        UnknownName: no such table.
        InputError: a file cannot be had, or is not the published one.
    """
    if name != "ofa-note10":
        raise UnknownName("published table", name, ["ofa-note10"])
    with scratch_folder() as scratch:
        folder = scratch / name
        folder.mkdir()
        for size, digest in NOTE10.items():
            file = f"{size}_lookup_table.yaml"
            (folder / file).write_bytes(_download(url + file, digest))
        return import_table(folder, "ofa-yaml")


def _download(url: str, digest: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 (a fixed https address)
            content = _read_until(answer, time.monotonic() + WHOLE_S)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{url}: cannot be fetched: {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"{url}: not the published file: its sha256 is another")
    return content


def _read_until(answer: http.client.HTTPResponse, end: float) -> bytes:
    """The answer until ``end``, as long as any such file; of more there is a byte too many."""
    content = b""
    while len(content) <= LARGEST_BYTES:
        if time.monotonic() > end:
            raise OSError(f"it takes longer than {WHOLE_S} s")
        part = answer.read1(LARGEST_BYTES + 1 - len(content))
        if not part:
            break
        content += part
    return content

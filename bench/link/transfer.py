"""Computes the time that a link adds to a prediction in the cloud: `python -m bench.link.transfer --help`.

    link = slow start + 8 x bytes x OVERHEAD / bandwidth + round trip

Cloud-only is faster when the edge takes longer for a prediction than the cloud by more than that. The calculation uses
no result of a paper. Slow start: on a connection that was idle for longer than its retransmission timeout, TCP sends 10
segments, waits a round trip for the first acknowledgement, and doubles what it sends per round trip until the link is
always busy. Source: RFC 6928, section 2 (10 segments); RFC 5681, sections 3.1 (doubling) and 4.1 (after an idle time).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from bench.link.proxy import SEGMENT_BYTES

FIRST_SEGMENTS = 10
OVERHEAD = 1.04
"""Number of bytes on the link per byte of the image; the headers of IP, TCP and TLS cause the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The time that a link adds to a prediction in the cloud, divided into its parts.

    Attributes:
        rounds: Number of round trips during TCP's slow start.
        slow_start_s: Seconds of the round trips of slow start.
        sent_bytes: Number of bytes of the image that are sent during slow start.
        rest_s: Seconds that the link's bandwidth needs for the bytes after slow start.
        round_trip_s: Seconds that the last byte and its response are in transit: one round trip.
    """

    rounds: int
    slow_start_s: float
    sent_bytes: float
    rest_s: float
    round_trip_s: float

    @property
    def total_s(self) -> float:
        """Seconds that the link adds to a prediction in the cloud."""
        return self.slow_start_s + self.rest_s + self.round_trip_s


def transfer(size_bytes: float, mbit_s: float, round_trip_s: float) -> Transfer:
    """Compute the time to send an image to the cloud and to get its prediction back.

    The connection is open but was idle, so TCP begins with slow start.

    Args:
        size_bytes: Size of the image, bytes.
        mbit_s: Bandwidth from the edge to the cloud, Mbit/s.
        round_trip_s: Seconds of a round trip.
    """
    rate = mbit_s * 1e6 / 8 / OVERHEAD
    sent, window, rounds = 0.0, FIRST_SEGMENTS * SEGMENT_BYTES, 0
    while sent + window < size_bytes and window < rate * round_trip_s:
        sent += window
        rounds += 1
        window *= 2
    return Transfer(
        rounds=rounds,
        slow_start_s=rounds * round_trip_s,
        sent_bytes=sent,
        rest_s=(size_bytes - sent) / rate,
        round_trip_s=round_trip_s,
    )


def transfer_s(size_bytes: float, mbit_s: float, round_trip_s: float) -> float:
    """Return the seconds from sending an image until its response arrives, without the time of the prediction.

    Args:
        size_bytes: Size of the image, bytes.
        mbit_s: Bandwidth from the edge to the cloud, Mbit/s.
        round_trip_s: Seconds of a round trip.
    """
    return transfer(size_bytes, mbit_s, round_trip_s).total_s


def decide(found: Transfer, *, edge_s: float, cloud_s: float, carried: float) -> str:
    """Return a text that says whether the edge or cloud-only predicts faster, with the parts of the calculation.

    Args:
        found: The time that the link adds.
        edge_s: Seconds that the edge takes for a prediction.
        cloud_s: Seconds that the cloud takes for the same prediction.
        carried: Images per second that the link's bandwidth can carry.
    """
    over_s = edge_s - cloud_s - found.total_s
    faster = "cloud-only" if over_s > 0 else "the edge"
    lines = [
        f"slow start   {found.slow_start_s * 1000:6.0f} ms   {found.rounds} round trips, {found.sent_bytes:,.0f} bytes",
        f"the rest     {found.rest_s * 1000:6.0f} ms",
        f"round trip   {found.round_trip_s * 1000:6.0f} ms",
        f"link adds    {found.total_s * 1000:6.0f} ms",
        f"E - C        {(edge_s - cloud_s) * 1000:6.0f} ms",
        f"{faster} is faster, by {abs(over_s) * 1000:.0f} ms",
        (
            f"the link carries {carried:.1f} images a second; with more images, the delay of "
            "cloud-only grows without limit"
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print whether the edge or cloud-only predicts faster over the link that the arguments describe."""
    parser = argparse.ArgumentParser(description="Compute whether edge or cloud-only predicts faster over a link.")
    parser.add_argument("--image-kb", type=float, required=True, help="size of an image, in thousand bytes")
    parser.add_argument("--mbit-s", type=float, required=True, help="bandwidth from the edge to the cloud, Mbit/s")
    parser.add_argument(
        "--round-trip-ms", type=float, required=True, help=("round trip between the two, as ping measures it")
    )
    parser.add_argument(
        "--edge-ms", type=float, required=True, help=("E: milliseconds that the edge takes for a prediction")
    )
    parser.add_argument(
        "--cloud-ms", type=float, required=True, help=("C: milliseconds that the cloud takes for a prediction")
    )
    options = parser.parse_args()
    size_bytes = options.image_kb * 1000
    found = transfer(size_bytes, options.mbit_s, options.round_trip_ms / 1000)
    carried = options.mbit_s * 1e6 / 8 / OVERHEAD / size_bytes
    sys.stdout.write(decide(found, edge_s=options.edge_ms / 1000, cloud_s=options.cloud_ms / 1000, carried=carried))


if __name__ == "__main__":
    main()

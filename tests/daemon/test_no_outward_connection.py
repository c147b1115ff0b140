"""A running service asks no name server and opens no outward connection: no packet leaves its host."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bright_strip import write_running_strip

pytestmark = [pytest.mark.service, pytest.mark.heavy]

ROOT = Path(__file__).parents[2]
WATCHED_S = 20
"""Longer than the first questions of ONNX Runtime's telemetry take, which came eight times a minute."""

WATCH = """
set -e
ip link set lo up
ip link add out type veth peer name far
sysctl -q -w net.ipv6.conf.out.disable_ipv6=1 net.ipv6.conf.far.disable_ipv6=1
ip link set far up
ip link set out up
ip address add 198.51.100.2/24 dev out
ip neighbour add 198.51.100.1 lladdr 02:00:00:00:00:01 dev out
ip route add default via 198.51.100.1
sent() { cat /sys/class/net/out/statistics/tx_packets; }
mount -t sysfs sysfs /sys
mount --bind "$2" /etc/resolv.conf
before=$(sent)
timeout -s INT "$3" "$1" -m linewatch.cli run "$4" || true
behind=$(sent)
"$1" -c 'import socket; socket.getaddrinfo("plant.example", 80)' 2>/dev/null || true
echo "$((behind - before)) $(($(sent) - behind))"
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None,
    reason="a network of one's own needs root, ip and unshare",
)
def test_no_packet_leaves_the_host(tmp_path: Path) -> None:
    """In a network of its own, where whatever leaves is counted. The question behind it shows that it is."""
    config = write_running_strip(tmp_path, length_m=1_000.0)
    (tmp_path / "resolv.conf").write_text("nameserver 203.0.113.53\noptions timeout:1 attempts:1\n")
    command = ["unshare", "--net", "--mount", "bash", "-c", WATCH, "watch", sys.executable]
    watched = subprocess.run(
        [*command, str(tmp_path / "resolv.conf"), str(WATCHED_S), str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )
    assert '"event": "running"' in watched.stderr
    by_the_service, by_a_question = map(int, watched.stdout.split()[-2:])
    assert by_a_question > 0, watched.stderr
    assert by_the_service == 0

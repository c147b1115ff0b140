"""The TCP ports that a configuration binds, and who has them now."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.doctor.finding import HostFinding, fault, fine, note
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.processor import text
from linewatch.socket_owners import is_listened, listener


@dataclass(frozen=True, slots=True)
class PortFacts:
    """holder: the process that listens there; None: this user may not see it, or nobody listens. program: its name."""

    setting: str
    port: int
    in_use: bool
    holder: int | None = None
    program: str = ""


def look_at_ports(needs: HostNeeds) -> tuple[PortFacts, ...]:
    """Return who has the ports of a configuration."""
    found = []
    for setting, port in needs.ports:
        holder = listener(port)
        program = text(Path(f"/proc/{holder}/comm")) if holder is not None else ""
        found.append(PortFacts(setting, port, is_listened(port), holder, program))
    return tuple(found)


def judge_ports(facts: tuple[PortFacts, ...], needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge who has the ports: nobody, or the running process of this configuration."""
    for one in facts:
        subject = f"port {one.port} ({one.setting})"
        if not one.in_use:
            if needs.process is None:
                yield fine(subject, "free")
            else:
                yield note(
                    subject,
                    f"process {needs.process} runs this configuration, and nobody listens there",
                    "no client reaches it; it is starting, waits for a camera or reads another address",
                    f"journalctl -u {needs.service} -n 50",
                )
        elif one.holder is not None and one.holder == needs.process:
            yield fine(subject, f"held by process {one.holder}, which runs this configuration")
        elif one.holder is None and needs.process is not None:
            yield fine(subject, f"in use, as by process {needs.process}; only its user or root may see")
        else:
            who = f"process {one.holder} ({one.program})" if one.holder is not None else "another user's process"
            mend = f"sudo ss -ltnp 'sport = :{one.port}' names it"
            if one.holder is not None:
                mend = f"see what it is (ps -fp {one.holder}); end it, or choose another port"
            yield fault(subject, f"in use by {who}", "linewatch cannot start, or clients talk to something else", mend)

"""Look at the whole host, and judge it."""

from linewatch.daemon.wall_clock import synchronised
from linewatch.doctor.calibrations import judge_calibrations, look_at_calibrations
from linewatch.doctor.certificates import judge_certificates, look_at_certificates
from linewatch.doctor.clock import judge_clock
from linewatch.doctor.disks import judge_disk, look_at_disk
from linewatch.doctor.finding import HostFinding
from linewatch.doctor.gpu import judge_gpus, look_at_gpus
from linewatch.doctor.keys import judge_keys, look_at_keys
from linewatch.doctor.limits import judge_limits, look_at_limits
from linewatch.doctor.memory import judge_memory, look_at_memory
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.network import judge_network, look_at_network
from linewatch.doctor.packages import judge_packages, look_at_packages
from linewatch.doctor.permissions import judge_ownership, look_at_ownership
from linewatch.doctor.ports import judge_ports, look_at_ports
from linewatch.doctor.processor import judge_processor, look_at_processor


def examined(needs: HostNeeds) -> tuple[HostFinding, ...]:
    """Return what was found of this host. Relative paths of the configuration count from the present folder."""
    return (
        *judge_packages(look_at_packages()),
        *judge_processor(look_at_processor(needs.process), needs),
        *judge_memory(look_at_memory(needs.process), needs),
        *judge_gpus(*look_at_gpus(), needs),
        *judge_network(look_at_network(needs.genicam.camera if needs.genicam else None), needs),
        *(finding for folder in needs.folders for finding in judge_disk(look_at_disk(folder), needs)),
        *judge_clock(synchronised()),
        *judge_limits(look_at_limits(needs), needs),
        *judge_ownership(look_at_ownership(needs), needs),
        *judge_ports(look_at_ports(needs), needs),
        *judge_keys(*look_at_keys(needs)),
        *judge_certificates(*look_at_certificates(needs)),
        *judge_calibrations(look_at_calibrations(needs), needs),
    )

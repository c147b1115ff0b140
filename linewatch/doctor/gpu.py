"""The GPU and its driver, as nvidia-smi tells them."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from linewatch.doctor.finding import HostFinding, fault, fine, note, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.inference.backends.tensorrt.gpu import KERNEL_DRIVER

_ASKED = ("name", "driver_version", "memory.total", "memory.used", "temperature.gpu", "persistence_mode")
_PATIENCE_S = 10.0
_HOT_C = 85


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU. A figure that it does not tell is None."""

    name: str
    driver: str
    total_mb: int | None
    used_mb: int | None
    temperature_c: int | None
    persistent: bool | None


def look_at_gpus() -> tuple[tuple[GpuFacts, ...], str]:
    """Return the GPUs, and why there are none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except FileNotFoundError:
        driver = "the NVIDIA driver is loaded" if KERNEL_DRIVER.exists() else "no NVIDIA driver is loaded"
        return (), f"nvidia-smi is not installed, and {driver}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"nvidia-smi does not answer ({type(error).__name__})"
    if said.returncode:
        return (), f"nvidia-smi: {' '.join((said.stdout + said.stderr).split())[:300]}"
    return read_gpus(said.stdout), "nvidia-smi lists none"


def read_gpus(said: str) -> tuple[GpuFacts, ...]:
    """Return the GPUs that nvidia-smi told, one a line."""
    found = []
    for line in said.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(_ASKED):
            total, used, temperature = (int(word) if word.isdecimal() else None for word in words[2:5])
            persistent = {"Enabled": True, "Disabled": False}.get(words[5])
            found.append(GpuFacts(words[0], words[1], total, used, temperature, persistent))
    return tuple(found)


def judge_gpus(gpus: tuple[GpuFacts, ...], why_none: str, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge the GPUs; without one, only a configuration for TensorRT is at fault."""
    if not gpus:
        if needs.backend == "tensorrt":
            yield fault(
                "GPU",
                f"none ({why_none}), but [inference] backend = 'tensorrt'",
                "the fallback inspects on the CPU, or nothing does where [inference] fallback is empty",
                "install the driver and restart (nvidia-smi lists the GPU), or set [inference] backend = 'onnxruntime'",
            )
        else:
            yield fine("GPU", f"none: {why_none}")
        return
    for gpu in gpus:
        memory = "" if gpu.total_mb is None or gpu.used_mb is None else f", {gpu.used_mb} of {gpu.total_mb} MB used"
        warmth = "" if gpu.temperature_c is None else f", {gpu.temperature_c} °C"
        found = f"{gpu.name}, driver {gpu.driver}{memory}{warmth}"
        if gpu.temperature_c is not None and gpu.temperature_c >= _HOT_C:
            yield warning(
                "GPU",
                found,
                "a hot GPU slows itself down: tiles come late, lines are missed (overload)",
                "clean its fans and filters, and cool the cabinet; nvidia-smi -q -d PERFORMANCE tells what slows it",
            )
        elif needs.backend == "tensorrt" and gpu.persistent is False:
            yield note(
                "GPU",
                f"{found}; persistence mode is off",
                "the driver is unloaded when no program uses the GPU, and the service then starts seconds later",
                "sudo nvidia-smi -pm 1",
            )
        elif needs.backend and needs.backend != "tensorrt":
            yield note(
                "GPU",
                f"{found}; not used, [inference] backend = {needs.backend!r}",
                "nothing; a GPU inspects more tiles a second",
                "docs/operating.md, TensorRT",
            )
        else:
            yield fine("GPU", found)

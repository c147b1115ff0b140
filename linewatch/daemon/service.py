"""One camera's service: opens everything in order, hands the work to the runner, closes everything in reverse."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from linewatch.capture.admission import Admission
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.edges import find_edges
from linewatch.capture.ring import FrameRing
from linewatch.config.service import ServiceSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Frame
from linewatch.contracts.ports import Backend, Camera
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.verdict import Decided
from linewatch.daemon.capturing import Capturing
from linewatch.daemon.outlet import Outlet
from linewatch.daemon.runner import Runner, Work
from linewatch.daemon.tally import Tally
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.inference.backends import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import load_engines
from linewatch.inference.host import available_cores
from linewatch.inference.pool import EnginePool

"""Structured logs: JSON lines for the journal of the host, coloured text on a terminal. One event per state change."""

import logging
import sys
from collections.abc import Mapping
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

FORMER_NAMES: Final[Mapping[str, str]] = {
    "acknowledge_finished": "acknowledge",
    "allow_list_read": "allow_list",
    "coil_data_dropped": "coil_data_forgotten",
    "coil_expired": "coil expired",
    "coil_file_not_moved": "coil_file_stays",
    "coil_folder_failed": "coil_folder",
    "coil_folder_recovered": "coil_folder",
    "coil_order_skipped": "coil_order_left_out",
    "encoder_implausible": "encoder_not_believed",
    "encoder_plausible_again": "encoder_believed_again",
    "engine_recovered": "engine_well_again",
    "history_closed": "history closed",
    "history_opened": "history open",
    "history_write_failed": "history not written",
    "image_archive_closed": "pictures closed",
    "image_folder_swept": "pictures swept",
    "image_storing_resumed": "pictures stored again",
    "image_storing_stopped": "pictures stopped",
    "inspection_resumed": "inspecting_again",
    "messages_lost": "messages lost",
    "more_commands_refused": "commands_in_vain",
    "non_image_files_skipped": "folder_strays_skipped",
    "service_not_answering": "service does not answer, asking again",
    "shedding_ended": "nothing_shed",
    "snapshot_unavailable": "no_snapshot",
    "stages_recovered": "stages_tick_again",
    "synchronised": "in_step_with_the_service",
    "timestamp_implausible": "time_not_believed",
}
"""Renamed events, by their new names. For one version their lines have the former name as `formerly`."""


def configure_logs(level: Literal["debug", "info", "warning", "error"]) -> None:
    """Log to stderr from now on. Call once, at the start of the process."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_former_name,
            *(
                [structlog.dev.ConsoleRenderer()]
                if sys.stderr.isatty()
                else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
            ),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def add_former_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the former name of an event that was renamed, for scripts that still wait for that one."""
    if (former := FORMER_NAMES.get(event["event"])) is not None:
        event["formerly"] = former
    return event

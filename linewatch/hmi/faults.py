"""What the service's warnings and errors mean, and what to do, in plain words, by the name of the event in its log."""

from collections.abc import Mapping
from typing import Final

from linewatch.hmi.texts import N_

_CABLE: Final = N_("Check the camera's cable, power and network; the service opens it again by itself.")
_CAMERA: Final = N_("Check that the right camera is connected, and its calibration.")
_CALIBRATE: Final = N_("Calibrate the camera again: linewatch calibrate.")
_DISK: Final = N_("Check the disk of the journal: room, permissions, cable. The strip is inspected meanwhile.")
_JOURNAL: Final = N_("Nothing to do if it came after a power cut; if it comes again, check the disk.")
_LIGHT: Final = N_("Look at the newest picture: light, dirt on the lens, strip in view.")
_LOAD: Final = N_("If it lasts, give the service more cores, or have the line run slower.")
_ENGINE: Final = N_("Load another engine, or roll back on the page Engines.")
_REFERENCE: Final = N_("Make its reference tiles: linewatch engines --add-reference.")
_BACKEND: Final = N_("Check the GPU and its driver; the engines run on the fallback meanwhile.")
_ENCODER: Final = N_("Check the encoder, its coupling and its settings; positions continue by line rate.")
_CLOCK: Final = N_("Check the time synchronisation (NTP or PTP) of this host.")
_COILDATA: Final = N_("Correct the file or the setting in Level 2; the default settings apply meanwhile.")
_ORDER: Final = N_("Send the order again, with a place that is still to come.")
_NETWORK: Final = N_("Check the network between the hosts and whether the other service runs.")
_KEYS: Final = N_("If this client may connect, allow its key: linewatch keys allow. Otherwise find out who it is.")
_NOTHING: Final = N_("Nothing to do.")
_REPORT: Final = N_("Send a support bundle to the maker: linewatch support-bundle.")
_SOURCE: Final = N_("Check the recording or folder that the service reads.")
_CANARY: Final = N_(
    "Check light, engine and settings: known defects are not found. Do not trust a clean strip until it is over."
)
_RULES: Final = N_("Correct the file (linewatch check), then reload again; the former rules hold meanwhile.")
_RESTART: Final = N_("If it comes again, restart the service and send a support bundle.")

FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "backend_lost": (N_("The engines' backend failed."), _BACKEND),
    "backend_unavailable": (N_("A backend of the engines cannot be used."), _BACKEND),
    "batch_not_counted": (N_("The engines' times cannot be measured."), _REPORT),
    "batch_not_recycled": (N_("A buffer of the engines was not reused."), _REPORT),
    "blind": (N_("Strip passes and none of it can be inspected."), _LIGHT),
    "calibration_doubtful": (N_("The cameras' calibrations do not fit each other."), _CALIBRATE),
    "calibration_holds": (
        N_("Another calibration is in the folder; the present one stays in force until a restart."),
        _CALIBRATE,
    ),
    "calibration_not_recorded": (N_("The recording has no calibration with it."), _CALIBRATE),
    "calibration_refused": (N_("The camera's calibration cannot be used; the strip is not inspected."), _CALIBRATE),
    "calibration_unreadable": (N_("The folder of calibrations cannot be read; the present one stays in force."), _DISK),
    "camera_absent": (N_("The camera is not there."), _CABLE),
    "camera_failed": (N_("The camera's driver failed."), _CABLE),
    "camera_hangs": (N_("The camera does not answer."), _CABLE),
    "camera_journal_replaced": (N_("The journal of a camera's service was replaced."), _NOTHING),
    "camera_lines_lost": (N_("The camera lost lines on the way to the host."), _NETWORK),
    "camera_lost": (N_("The camera was lost."), _CABLE),
    "camera_not_answering": (N_("The service of a camera does not answer."), _NETWORK),
    "camera_not_followed": (N_("A camera's messages cannot be followed."), _RESTART),
    "camera_replaced": (N_("Another camera answers than before."), _CAMERA),
    "camera_still_away": (N_("The camera is still away."), _CABLE),
    "canary_lost": (N_("Known defects are not found."), _CANARY),
    "change_between_frames_failed": (N_("A change of engines or rules failed."), _RESTART),
    "clock_stepped": (N_("The clock of this host was set."), _CLOCK),
    "coil_command_not_taken": (N_("A camera's service did not take a command about a coil."), _ORDER),
    "coil_data_dropped": (N_("Data of older coils were dropped: there are too many."), _NOTHING),
    "coil_file_not_moved": (N_("A file with coil data cannot be moved away."), _COILDATA),
    "coil_file_rejected": (N_("A file with coil data is not usable."), _COILDATA),
    "coil_folder_failed": (N_("The folder of coil data cannot be read."), _NETWORK),
    "coil_not_resumed": (N_("The coil of before the restart could not be continued."), _NOTHING),
    "coil_order_skipped": (N_("An order about a coil was left out."), _ORDER),
    "coil_orders_unreadable": (N_("Orders about coils cannot be read from disk."), _DISK),
    "coil_start_dropped": (N_("The start of a coil was dropped."), _ORDER),
    "coil_start_late": (N_("The start of a coil came too late for its place."), _ORDER),
    "connection_closed": (N_("A client was disconnected: it sent or held too much."), _KEYS),
    "encoder_implausible": (N_("The encoder's counts are not plausible."), _ENCODER),
    "engine_failing": (N_("An engine fails on frames."), _ENGINE),
    "engine_refused": (N_("An engine cannot be used."), _ENGINE),
    "engine_withdrawn": (N_("A promoted engine failed; the one before it runs again."), _ENGINE),
    "engine_without_reference": (N_("An engine has no reference tiles, so it cannot be tried out."), _REFERENCE),
    "frame_not_decided": (N_("A frame could not be decided; it counts as not inspected."), _REPORT),
    "frame_not_predicted": (N_("A frame could not be inspected; it counts as not inspected."), _REPORT),
    "grab_not_whole": (N_("The camera delivered incomplete pictures."), _NETWORK),
    "handshake_failed": (N_("A client could not connect: no keys, wrong keys, or not ZeroMQ."), _KEYS),
    "heard_log_unreadable": (N_("What the cameras said before the restart cannot be read."), _DISK),
    "images_without_time": (N_("Pictures have no time in their names."), _SOURCE),
    "journal_damaged": (N_("A part of the journal is damaged and was left out."), _JOURNAL),
    "journal_failed": (N_("The journal failed."), _DISK),
    "journal_file_set_aside": (N_("A damaged file of the journal was set aside."), _JOURNAL),
    "journal_lost": (N_("Decisions do not reach the journal's disk."), _DISK),
    "journal_not_written": (N_("Decisions could not be written to the journal."), _DISK),
    "journal_recovered": (N_("The journal was cut off and has been recovered."), _JOURNAL),
    "journal_side_file_failed": (N_("A file beside the journal cannot be written."), _DISK),
    "journal_side_line_lost": (N_("A line of a file beside the journal was lost."), _DISK),
    "journal_unreadable": (N_("The journal cannot be read."), _DISK),
    "key_expired": (N_("The last day of a key is over."), _KEYS),
    "key_not_allowed": (N_("A key file in the list of clients is not usable."), _KEYS),
    "key_refused": (N_("A client with an unknown key was refused."), _KEYS),
    "lines_missed": (N_("Strip passes without being inspected."), _LIGHT),
    "log_lines_dropped": (N_("Lines of the log could not be written."), _DISK),
    "messages_lost": (N_("Messages of a camera's service were lost."), _NETWORK),
    "more_pictures_not_inspected": (N_("More pictures cannot be inspected."), _SOURCE),
    "normal_left_out": (N_("What is known of normal strip belongs to another engine, and is left out."), _ENGINE),
    "not_joined": (N_("A message of a camera could not be joined."), _REPORT),
    "not_published": (N_("A decision could not be told as it was; its strip counts as not inspected."), _REPORT),
    "not_published_again": (N_("More decisions could not be told as they were."), _REPORT),
    "picture_not_inspected": (N_("A picture cannot be inspected."), _SOURCE),
    "picture_not_measured": (N_("The health of the picture cannot be measured."), _REPORT),
    "pictures_came_too_late": (N_("Pictures came too late for their place."), _SOURCE),
    "pictures_missing": (N_("Pictures are missing in the folder."), _SOURCE),
    "recipe_engine_refused": (N_("An engine that a recipe names cannot be used."), _ENGINE),
    "recording_incomplete": (N_("The recording is incomplete."), _SOURCE),
    "reader_ended": (N_("A process that reads cameras ended; it is started again."), _RESTART),
    "request_refused": (N_("A client's request was refused."), _KEYS),
    "restart_needed": (
        N_("Settings in the file differ from those in force."),
        N_("Restart the process when the line stands, so that they hold."),
    ),
    "restart_gap": (N_("Strip passed unseen while the service was restarted."), _NOTHING),
    "rules_refused": (N_("The rules that were to be read again have a fault."), _RULES),
    "shedding": (N_("Work is left out to keep up with the line."), _LOAD),
    "socket_buffer_small": (N_("The network buffer for the camera is small; lines may be lost."), _NETWORK),
    "stage_failed": (N_("A stage of the service failed."), _RESTART),
    "stage_silent": (N_("A stage of the service does not answer in time."), _LOAD),
    "start_waits": (N_("The start waits for something slow."), _DISK),
    "strip_state_unreadable": (N_("The joined strip's state cannot be read."), _DISK),
    "timestamp_implausible": (N_("Time stamps of the source are not plausible."), _CLOCK),
    "video_ends_early": (N_("The video ends early."), _SOURCE),
    "video_frame_not_inspected": (N_("A picture of the video cannot be inspected."), _SOURCE),
    "video_frames_lost": (N_("Pictures of the video are lost."), _SOURCE),
    "video_frames_not_inspected": (N_("Pictures of the video cannot be inspected."), _SOURCE),
    "video_length_not_credible": (N_("The video tells a length that it cannot have."), _SOURCE),
    "video_length_unknown": (N_("The video does not tell its length."), _NOTHING),
    "video_streams_left_out": (N_("The video has more streams than one; the others are left out."), _NOTHING),
    "video_times_irregular": (N_("The video's times are irregular."), _SOURCE),
}

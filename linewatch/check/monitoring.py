"""The endpoint for Prometheus, tried."""

from linewatch.check.attempts import bind_address
from linewatch.check.trials import Trials
from linewatch.config.monitoring import MonitoringSettings
from linewatch.monitoring.endpoint import read_token
from linewatch.server_certificate import read_server_certificate


def check_monitoring(settings: MonitoringSettings, trials: Trials, owner: int | None) -> None:
    """Try the address, the certificate and the token. owner: the process that runs this configuration already."""
    with_port = f"{settings.address}, port {settings.port}"
    trials.attempt("monitoring", "port", with_port, lambda: bind_address(settings.address, settings.port, owner))
    certificate, key, token = settings.certificate_file, settings.key_file, settings.token_file
    if certificate is not None and key is not None:
        trials.attempt(
            "monitoring",
            "certificate_file",
            certificate,
            lambda: f"fits its key; {read_server_certificate(certificate, key)}",
            reads=certificate,
        )
    if token is not None:
        trials.attempt(
            "monitoring",
            "token_file",
            token,
            lambda: f"holds a token of {len(read_token(token))} characters",
            reads=token,
        )

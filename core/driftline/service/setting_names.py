"""Variables that look like settings of Driftline's and are none: mostly a slip of the pen."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from driftline.names import EDGE_SERVICES
from driftline.service.setting_checks import PREFIX, variable

OF_DOORS = ("port", "host", "hosts", "connections", "head_timeout", "body_timeout")
"""Settings that services of one process may each have of their own, as DRIFTLINE_<SERVICE>_<SETTING>."""
OTHERS = frozenset(
    map(
        variable,
        (
            "secrets",
            "service",
            "join_url",
            "join_token",
            "join_labels",
            *EDGE_SERVICES,
            *(f"{s}_{name}" for s in EDGE_SERVICES for name in OF_DOORS),
        ),
    )
)
"""No settings of a kind: the folder of secrets, the service of an image, how a device joins its fleet, where the
command finds the services, and what single services of one process have of their own."""
OF_SERVICES = frozenset(
    map(
        variable,
        (
            *(
                "body_limit",
                "rows_limit",
                "mqtt_host",
                "mqtt_port",
                "mqtt_username",
                "mqtt_password",
                "mqtt_tls",
                "mqtt_ca_file",
                "mqtt_cert_file",
                "mqtt_key_file",
                "mqtt_version",
            ),
            *("source_brokers", "source_security_protocol", "source_sasl_mechanism", "source_sasl_username"),
            *("source_sasl_password", "source_ca_file", "source_cert_file", "source_key_file"),
            *("mqtt_group", "mqtt_name", "refusals_listed", "rate", "rate_burst"),
            *("trusted_keys", "trusted_keys_file", "allow_unsigned", "model_limit", "edge", "cache", "keep_every"),
            *("page_points", "page_services", "page_token", "page_watchers", "cors", "embed", "metrics_by_key"),
            *("trainer", "sinks"),
            *("fleet_key", "credential_days", "rollout_poll", "definitions_stages", "definitions_hold"),
            *("data_dir", "signing_key", "signing_key_file", "versions_kept", "jobs_remembered", "retrain_interval"),
            *("retrains_per_day", "trainer_name", "trainer_lease", "training_rows"),
            *("train_on", "train_at_once", "train_device"),
            *("window_bytes", "history_bytes", "unpacking_memory", "unpacking_seconds"),
            *("file_rows", "file_row_groups", "file_columns", "file_unpacked", "file_keys", "file_key_length"),
            *("labels", "heartbeat_every", "device_key_file", "spool", "spool_limit", "backlog_rate"),
            *("days_every", "days_after", "days_unpacked", "days_kept"),
            *("fleet_limit", "fleet_metrics", "store_relist"),
            *("file_line", "bus", "data", "retention_hours", "sync_every"),
        ),
    )
)
"""What single services add to the common settings. All may share one environment, so one's variable is no slip at
another; the core imports no service, and a test keeps this list whole."""


def slips(names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A line for each of `names` that begins as ours do and is not `known`, with the nearest one that is."""
    all_known = {name.removeprefix(PREFIX) for name in (*map(variable, known), *OTHERS, *OF_SERVICES)}
    for name in sorted(names):
        meant = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and meant not in all_known:
            nearest = get_close_matches(meant, all_known, n=1, cutoff=0.7)
            remedy = f"did you mean {variable(nearest[0])}?" if nearest else "it is none of Driftline's settings"
            yield f"{name} is passed over: {remedy}"

"""A local S3 server with events, for running the services as processes: MiniStack, its data kept in a folder."""

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import stamina

from driftline.store.s3 import session
from driftline_cli import processes

REGION = "us-east-1"
QUEUES = {"inference": "models/", "trainer": "windows/"}
"""By service the keys whose events its queue brings."""


def credentials(folder: Path) -> dict[str, str]:
    """Credentials of this folder's server, made at random when it is used first, as AWS's own variables."""
    path = folder / "credentials"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(10)}\n{secrets.token_hex(20)}\n")
    access, secret = path.read_text().split()
    return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}


def start(folder: Path, port: int, tls: tuple[Path, Path] | None = None) -> int:
    """Starts the server on 127.0.0.1:`port` and returns its process id when it answers.

    tls: the files of a certificate and its key, with which it speaks HTTPS.
    """
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder.absolute() / "s3"),
        "LOG_LEVEL": "WARNING",
    }
    if tls is not None:
        environment |= {"USE_SSL": "1", "MINISTACK_SSL_CERT": str(tls[0]), "MINISTACK_SSL_KEY": str(tls[1])}
    pid = processes.start(folder, "s3", [sys.executable, "-m", "ministack"], environment)
    _answers(port)
    return pid


@stamina.retry(on=OSError, attempts=None, timeout=60, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1)
def _answers(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


def _client(service: str, folder: Path, port: int, scheme: str = "http") -> Any:
    keys = credentials(folder)
    return session().create_client(
        service,
        region_name=REGION,
        endpoint_url=f"{scheme}://127.0.0.1:{port}",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )


async def prepare(folder: Path, port: int, bucket: str, scheme: str = "http") -> dict[str, str]:
    """Makes the bucket, and for each service a queue of the events that it waits for. Returns the queues' URLs."""
    async with _client("s3", folder, port, scheme) as s3, _client("sqs", folder, port, scheme) as sqs:
        await s3.create_bucket(Bucket=bucket)
        urls, notifications = {}, []
        for service, prefix in QUEUES.items():
            urls[service] = (await sqs.create_queue(QueueName=f"{bucket}-{service}"))["QueueUrl"]
            attributes = await sqs.get_queue_attributes(QueueUrl=urls[service], AttributeNames=["QueueArn"])
            notifications.append(
                {
                    "QueueArn": attributes["Attributes"]["QueueArn"],
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
                }
            )
        await s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": notifications}
        )
    return urls

"""The bus on Apache Kafka: the only package that imports aiokafka.

`bus` is what `driftline.bus.port.Bus` asks for; it is made of a group's `subscription`, of `checkpoints` that are
transactions, of the `producer`, of the `topics` themselves, and of how all of them make a `connection`.
"""

from driftline.bus.kafka.bus import KafkaBus
from driftline.bus.kafka.keeping import least_disk
from driftline.bus.kafka_settings import KafkaSettings

__all__ = ["KafkaBus", "KafkaSettings", "least_disk"]

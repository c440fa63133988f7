#!/bin/bash
# What apache/kafka's image does: KAFKA_SOME_NAME becomes some.name, the folder is formatted once, the broker starts.
set -euo pipefail
config=/tmp/server.properties
env | grep '^KAFKA_' | grep -v '^KAFKA_HEAP_OPTS=' | while IFS='=' read -r name value; do
  name=${name#KAFKA_}; echo "$(echo "${name,,}" | tr _ .)=$value"
done > "$config"
heap=${KAFKA_HEAP_OPTS:--Xmx384m}
[ -e /var/lib/kafka/data/meta.properties ] ||
  java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$config"
exec java $heap -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.Kafka "$config"

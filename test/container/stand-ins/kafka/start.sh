set -eu
touch /opt/kafka/config/server.properties
java -cp '/opt/kafka/libs/*' kafka.docker.KafkaDockerWrapper setup --default-configs-dir=/etc/kafka \
  --mounted-configs-dir=/mnt/shared/config --final-configs-dir=/opt/kafka/config
exec java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' kafka.Kafka /opt/kafka/config/server.properties

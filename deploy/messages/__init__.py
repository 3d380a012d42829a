"""Results told to other programs at once: messages over MQTT or to a webhook, from the outbox of the result store."""

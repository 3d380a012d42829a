"""Results told to other programs at once: over MQTT, OPC UA or to a webhook, from the result store's outbox."""

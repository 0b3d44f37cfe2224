"""MQTT brokers and links that misbehave, and listeners beside them."""

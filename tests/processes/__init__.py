"""Programs that tests start as processes of their own: agents, functions, relays, receivers, brokers."""

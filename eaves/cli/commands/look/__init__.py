"""Commands that show what runs: functions, events, queues, the ledger of a relay, logs."""

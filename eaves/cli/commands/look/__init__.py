"""Commands that show the state of functions, events, queues, the ledger of a relay, and logs."""

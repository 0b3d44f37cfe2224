"""Live views: commands that print events, log lines or the status until Ctrl-C ends them.

    loop           calls a step again and again; Ctrl-C and a closed stdout end it with exit code 0
    event_filter   the event types that `--type` selects
    event_lines    one line of text for one event
    event_stream   reads new events from a history file, and counts those that were missed
    event_printer  prints predictions in a thread of its own, so that a slow terminal delays no delivery
    items          values as JSON lines or YAML documents
    frames         a view that is printed again and again, on a terminal in the same place
    log_text       a log line for people
    log_lines      finds the new lines of a log, for platforms that can only show the end of a log

The views keep no state outside their process: `eaves up` may be stopped and started while a view runs.
"""

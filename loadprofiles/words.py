"""How an arrival can end: well, throttled, or in one of these ways (or with a status, or a word of the client's)."""

OK, THROTTLED = "ok", "throttled"
UNANSWERED, NEVER_STARTED, SILENT = "unanswered", "never_started", "no_request"

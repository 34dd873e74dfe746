"""Models that are paid by the call: what is asked, how the reply is read, what it costs."""

"""People with a work list: cases, the sheets they come on, and the answers that come back."""

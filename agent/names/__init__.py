"""The resolver for guarded processes. In: their DNS messages, with who asks. Out: answers or refusals, on record first."""

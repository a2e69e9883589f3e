"""In: one DNS message. Out: the question in it, or the answer to one, without what does not belong to it. No I/O, no clock."""

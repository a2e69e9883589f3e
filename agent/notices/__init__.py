"""Notices about requests for approval: their shapes, their signatures, the process that POSTs them."""

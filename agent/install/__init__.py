"""hostguard as a part of a host: unit, slice, user, folders, starting configuration.

In: a root folder (``/``, or that of an image). Out: what was written, what was left alone, a manifest from which all of it can be
removed again. Nothing here touches the kernel, and nothing is ever overwritten that a person may have edited.
"""

"""What agents could do, what they did, and who answered for it, over a period; from the log and today's configuration.

`gather` reads, `facts` are what it finds, `html` and `csv` are two ways to write them.
"""

"""A process or a token in, who that is out."""

"""Who vouches for agents: tokens are verified in a process of their own, what follows from them is decided here."""

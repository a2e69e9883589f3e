"""The process that holds secrets. In: who logs in where, what servers ask. Out: answers, certificates; never a secret."""

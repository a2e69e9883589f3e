"""This host's certificate authority. In: the resources' names. Out: short-lived certificates for them, who has to trust whom."""

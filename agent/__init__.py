"""The daemon that ties the rooms together: the gate, the loop, the control API and the command line."""

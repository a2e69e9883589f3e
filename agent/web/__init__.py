"""The page where people see what waits: a caged process that speaks HTTP with browsers, and the supervisor's side of it."""

"""The page where people see what waits for them: a caged process that speaks HTTP with browsers, and the supervisor's side of it."""

"""The PostgreSQL frontend/backend protocol: messages, the conversation, typed values and refusals."""

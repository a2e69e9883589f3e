"""Who, and an operation in; a decision with its reasons and its disclosure plan out; never any bytes of a wire protocol."""

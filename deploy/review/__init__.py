"""The review page: on it people say of a line's images whether they are good."""

"""Operations: the step engine, and one file an operation that opens with its list of steps."""

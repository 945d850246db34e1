"""A request answered: from memory, from Redis, or by the origin."""

"""How clouds that do not know the clients trust Atoll: credentials, their tokens, the key they are under."""

"""The shared words of Driftline: messages, topics, stream definitions, features, the bus, the store and the service shell."""
